"""A block's operations: limits, order, numbers, whose go first, and that a leader's choice stays valid whatever a round's learning does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.application import (
    apply_operations,
    check_operation,
    is_pending,
    is_settled,
    select_operations,
)
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.state import State, account_of, with_accounts
from bflcd.types import Amount, Digest, NodeId, Round, View
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Prepare
from bflcd.wire.operation import MAX_OPERATIONS, Operation
from tests.helpers.dues import Dues, DuesKind, dues, dues_registered
from tests.helpers.ledger import BALANCE, make_community, make_identities, place_of

START = make_community(10, 4, 6)
STATE, CHAIN = START.state, START.state.chain
KEYS = [START.keys[node] for node in START.members]
STRANGER = next(identity for identity in make_identities(11) if identity.node_id not in START.keys)
LIMITS = DuesKind.limits


@pytest.fixture(autouse=True)
def _dues() -> Iterator[None]:
    with dues_registered():
        yield


def lie(member: int, number: int = 1) -> Operation:
    """Evidence against a member."""
    bodies = (Prepare(**place_of(START) | {"view": View(number)}, digest=Digest(bytes([n]) * 32), proposal=CHAIN) for n in (1, 2))
    return evidence_of(*(seal(body, KEYS[member]).envelope for body in bodies))


def counted(state: State, node: NodeId) -> int:
    account = account_of(state, node)
    assert account is not None
    return account.operations


def held(state: State) -> int:
    """All units that there are."""
    return state.pool + state.burnt + sum(account.balance for account in state.accounts)


def signed(number: int, amount: int, copies: int = 1) -> Operation:
    envelope = seal(Dues(CHAIN, number, Amount(amount)), KEYS[0]).envelope
    return Operation("dues", (envelope,) * copies)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (replace(dues(KEYS[0], CHAIN), kind="gift"), "no kind 'gift', only admit, apply, "),
        (dues(KEYS[0], Digest(bytes(32))), "dues: it is of chain 00000000"),
        (dues(STRANGER, CHAIN), "is no member"),
        (dues(KEYS[0], CHAIN, 2), "whose next is number 1"),
        (dues(KEYS[0], CHAIN, amount=0), "dues: nothing to burn"),
        (signed(1, 1, copies=2), "dues: more than one message"),
    ],
)
def test_a_refused_operation_says_its_kind_and_why(operation: Operation, reason: str) -> None:
    with pytest.raises(PeerError, match=reason) as caught:
        check_operation(STATE, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    with pytest.raises(PeerError, match=reason):
        apply_operations(STATE, (operation,))


def test_a_message_of_another_kind_is_refused() -> None:
    with pytest.raises(PeerError):
        check_operation(STATE, replace(lie(0), kind="dues"))


def test_an_operation_larger_than_its_kind_allows_is_refused() -> None:
    with replace_limits(max_bytes=10), pytest.raises(PeerError, match="at most 10 are allowed"):
        check_operation(STATE, dues(KEYS[0], CHAIN))


@contextmanager
def replace_limits(**changes: int) -> Iterator[None]:
    """The kind with other limits."""
    with patch.object(DuesKind, "limits", replace(LIMITS, **changes)):
        yield


def test_every_body_has_its_chain_where_gossip_reads_it() -> None:
    for kind in KINDS.values():
        for body in kind.bodies:
            names = [field.name for field in fields(body)]  # type: ignore[arg-type]
            assert names[0] == "chain"
            assert len(names) <= 13
            assert number_of(body) < 128


def test_the_numbers_of_an_author_are_applied_in_turn_each_once() -> None:
    state = apply_operations(STATE, (dues(KEYS[0], CHAIN, 1), dues(KEYS[0], CHAIN, 2)))
    assert counted(state, START.members[0]) == 2
    assert is_settled(state, dues(KEYS[0], CHAIN, 2))
    assert not is_settled(state, dues(KEYS[0], CHAIN, 3))
    for again in (1, 2, 4):
        with pytest.raises(PeerError, match="whose next is number 3"):
            apply_operations(state, (dues(KEYS[0], CHAIN, again),))
    assert counted(apply_operations(state, (dues(KEYS[0], CHAIN, 3),)), START.members[0]) == 3


def test_what_waits_for_its_authors_earlier_ones_is_pending_up_to_a_limit() -> None:
    assert [is_pending(STATE, dues(KEYS[0], CHAIN, number)) for number in range(1, LIMITS.per_author + 2)] == [
        *[True] * LIMITS.per_author,
        False,
    ]
    assert not is_pending(STATE, dues(STRANGER, CHAIN, 2))
    assert not is_pending(STATE, dues(KEYS[0], Digest(bytes(32)), 2)), "of another chain, however early"


@pytest.mark.parametrize(
    "operations",
    [
        (dues(KEYS[1], CHAIN), dues(KEYS[0], CHAIN)),
        (dues(KEYS[0], CHAIN, 2), dues(KEYS[0], CHAIN, 1)),
        (dues(KEYS[0], CHAIN, 1), dues(KEYS[0], CHAIN, 1, amount=6)),
        (dues(KEYS[0], CHAIN, 1), dues(KEYS[0], CHAIN, 1)),
        (dues(KEYS[0], CHAIN, 1), lie(0)),
    ],
    ids=["authors", "numbers", "two in one place", "one twice", "an unnumbered one behind"],
)
def test_a_block_that_is_not_in_order_is_refused(operations: tuple[Operation, ...]) -> None:
    with pytest.raises(PeerError, match="not in order"):
        apply_operations(STATE, operations)


def test_a_block_has_room_for_so_many_of_a_kind() -> None:
    full = tuple(dues(key, CHAIN) for key in KEYS[: LIMITS.per_block])
    apply_operations(STATE, full)
    with pytest.raises(PeerError, match="dues: more than 3 in one block"):
        apply_operations(STATE, (*full, dues(KEYS[LIMITS.per_block], CHAIN)))


def test_a_block_has_room_for_so_many_of_all_kinds() -> None:
    big = make_community(MAX_OPERATIONS + 1, 4, 6)
    all_of_them = tuple(dues(big.keys[node], big.state.chain) for node in big.members)
    with replace_limits(per_block=2 * MAX_OPERATIONS):
        chosen = select_operations(big.state, all_of_them)
        assert len(chosen) == MAX_OPERATIONS
        apply_operations(big.state, chosen)
        with pytest.raises(PeerError, match=f"more than {MAX_OPERATIONS} in one block"):
            apply_operations(big.state, all_of_them)


def test_where_not_all_fit_the_rounds_seed_decides_whose_go_first() -> None:
    waiting = [dues(key, CHAIN) for key in KEYS]
    firsts = set()
    for round_ in range(40):
        chosen = select_operations(replace(STATE, round=Round(round_)), waiting)
        assert len(chosen) == LIMITS.per_block
        firsts |= {operation.author for operation in chosen}
    assert firsts == set(START.members), "nobody waits for ever"


def test_what_needs_another_that_does_not_fit_is_left_for_later() -> None:
    assert select_operations(STATE, [dues(KEYS[0], CHAIN, 2)]) == ()
    both = [dues(KEYS[0], CHAIN, 2), dues(KEYS[0], CHAIN, 1)]
    assert select_operations(STATE, both) == tuple(both[::-1])


member = st.integers(0, len(KEYS) - 1)
operations = st.one_of(
    st.builds(lambda m, n, a: dues(KEYS[m], CHAIN, n, a), member, st.integers(1, 5), st.integers(0, 3 * BALANCE)),
    st.builds(lie, member, st.integers(1, 2)),
)


@settings(max_examples=150, deadline=None)
@given(
    waiting=st.lists(operations, max_size=12),
    learnt=st.lists(st.tuples(st.integers(0, 2 * BALANCE), st.integers(-1, 9), st.integers(-1, 9)), min_size=10, max_size=10),
    order=st.randoms(use_true_random=False),
)
def test_whoever_holds_the_same_chooses_the_same_and_learning_invalidates_nothing(waiting, learnt, order) -> None:  # type: ignore[no-untyped-def]
    """Given any operations that wait, then the choice does not depend on their order, and applies after any round's rewards."""
    chosen = select_operations(STATE, waiting)
    shuffled = list(waiting)
    order.shuffle(shuffled)
    assert select_operations(STATE, shuffled) == chosen
    accounts = tuple(
        replace(account, balance=Amount(balance), packed_round=packed, seat_round=seat)
        for account, (balance, packed, seat) in zip(STATE.accounts, learnt, strict=True)
    )
    learned = replace(STATE, accounts=accounts)
    after = apply_operations(learned, chosen)
    assert held(after) == held(learned)
    assert not any(is_pending(after, operation) for operation in chosen), "no block carries one twice"


def test_who_has_left_signs_nothing_of_any_kind() -> None:
    gone = with_accounts(STATE, replace(account_of(STATE, KEYS[0].node_id), left_round=Round(0)))  # type: ignore[type-var]
    with pytest.raises(PeerError, match="is no member"):
        check_operation(gone, dues(KEYS[0], CHAIN))
