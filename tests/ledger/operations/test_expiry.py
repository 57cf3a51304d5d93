"""Operations run out: what no block has carried in time, none carries any more, whoever kept it."""

from dataclasses import replace

import pytest

from bflcd.errors import PeerError
from bflcd.ledger.operations.application import (
    apply_operations,
    check_operation,
    expires,
    has_expired,
    is_pending,
    is_settled,
    select_operations,
)
from bflcd.ledger.operations.base import OPERATION_ROUNDS
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.state import State, account_of
from bflcd.params import Terms
from bflcd.types import Amount, Round
from bflcd.wire.alliance import Transfer
from bflcd.wire.operation import Operation
from tests.ledger.operations.test_alliance import BALANCE, KEYS, MEMBER, STATE, applies, says, signed
from tests.ledger.operations.test_application import lie

LAST = OPERATION_ROUNDS


def gives(number: int = 1, amount: int = 1, round_: int = 0) -> Operation:
    return signed(Transfer(STATE.chain, Round(round_), number, KEYS[0].node_id, Amount(amount)), MEMBER)


def in_round(round_: int, state: State = STATE) -> State:
    return replace(state, round=Round(round_))


@pytest.mark.parametrize("operation", [gives(), says(STATE, MEMBER, Transfer, to=KEYS[1].node_id, amount=Amount(2))])
def test_the_hundredth_round_may_carry_an_operation_and_no_later_one(operation: Operation) -> None:
    check_operation(in_round(LAST), operation)
    assert select_operations(in_round(LAST), [operation]) == (operation,)
    late = in_round(LAST + 1)
    with pytest.raises(PeerError, match=f"transfer: it ran out with round {LAST}, we are in round {LAST + 1}"):
        check_operation(late, operation)
    with pytest.raises(PeerError, match="it ran out"):
        apply_operations(late, [operation])
    assert select_operations(late, [operation]) == ()
    assert not is_pending(late, operation)
    assert not is_settled(late, operation), "nothing has happened"


def test_what_waits_for_its_turn_runs_out_too() -> None:
    assert is_pending(in_round(LAST), gives(number=3))
    assert not is_pending(in_round(LAST + 1), gives(number=3))


def test_an_application_runs_out_however_long_one_is_remembered() -> None:
    state = replace(STATE, terms=Terms(application_rounds=10 * LAST))
    check_operation(in_round(LAST, state), applies(STATE))
    with pytest.raises(PeerError, match="apply: it ran out"):
        check_operation(in_round(LAST + 1, state), applies(STATE))


def test_evidence_never_runs_out() -> None:
    assert expires(lie(0)) is None
    assert not has_expired(in_round(10**6), lie(0))
    check_operation(in_round(10**6), lie(0))
    assert [kind.name for kind in KINDS.values() if kind.limits.rounds is None] == ["evidence"], "all else does"


def test_after_it_has_run_out_its_author_signs_another_with_the_same_number() -> None:
    """Given a transfer that was dropped since there was too little, when it has run out and there is enough, then another one of its
    number is carried, and the first by no block."""
    first, late = gives(amount=BALANCE), in_round(LAST + 1)
    second = gives(amount=1, round_=LAST + 1)
    after = apply_operations(late, select_operations(late, [first, second]))
    assert account_of(after, MEMBER.node_id).balance == BALANCE - 1  # type: ignore[union-attr]
    for operation in (first, second):
        assert not is_pending(after, operation)


@pytest.mark.parametrize("carried", [0, 1])
def test_of_two_operations_of_one_number_one_is_carried_at_most(carried: int) -> None:
    """Given an author whose node has forgotten its first operation and signs another, whichever comes into a block: never both."""
    both = (gives(amount=1), gives(amount=5))
    assert len(select_operations(STATE, both)) == 1
    after = apply_operations(STATE, [both[carried]])
    assert all(is_settled(after, one) and not is_pending(after, one) for one in both)
    with pytest.raises(PeerError, match="whose next is number 2"):
        apply_operations(after, [both[1 - carried]])
    with pytest.raises(PeerError, match="two of them are in one place"):
        apply_operations(STATE, both)
