"""Vouchers: a manager admits beforehand whoever shows one, once; for how long, behind how many managers, and who may not come by it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.application import (
    apply_operations,
    check_operation,
    is_pending,
    is_settled,
    select_operations,
)
from bflcd.ledger.operations.motion import voucher_of
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.operations.vouching import MAX_VOUCHER_ROUNDS, VOUCHERS_EACH, vouchers_each
from bflcd.ledger.state import MAX_VOUCHERS, NEVER, State, Voucher, account_of, members_of
from bflcd.ledger.transition import check_conservation
from bflcd.params import Terms
from bflcd.types import MAX_COMMITTEE, Amount, NodeId, Round
from bflcd.wire.alliance import Admit, Join, Kick, Leave, Refuse, Return, Vouch
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import seal
from bflcd.wire.governance import Dismiss
from bflcd.wire.keys import Replace
from bflcd.wire.operation import Operation
from tests.helpers.ledger import make_community, make_identities
from tests.ledger.operations.test_alliance import after, all_say, applies, is_in, kicked, says
from tests.ledger.operations.test_keys import rotates

START = make_community(10, 4, 6)
STATE = START.state
KEYS = [START.keys[node] for node in START.members]
MANAGERS, PLAIN = KEYS[:4], KEYS[4:]
NEW = [one for one in make_identities(20) if one.node_id not in START.keys]
STRANGER, OTHER = NEW[:2]
VOUCHERS = [Identity(bytes([number]) + bytes(31)) for number in range(1, 12)]
VOUCHER = VOUCHERS[0]
TWO = replace(STATE, terms=Terms(admission=2))


def vouches(
    state: State, manager: Identity, voucher: Identity = VOUCHER, until: int = 500, *, opens: bool | None = None
) -> Operation:
    """As its node would: the first to vouch opens the voucher."""
    first = voucher_of(state, voucher.node_id) is None if opens is None else opens
    return says(state, manager, Vouch, node=voucher.node_id, until=Round(until), opens=first)


def joins(state: State, who: Identity = STRANGER, voucher: Identity = VOUCHER, round_: int | None = None) -> Operation:
    body = Join(state.chain, state.round if round_ is None else Round(round_), who.node_id, voucher.node_id)
    return Operation("join", (seal(body, who).envelope, seal(body, voucher).envelope))


def refusal(state: State, operation: Operation) -> str:
    """Why neither alone nor in a block it is taken; a refusal names its kind."""
    with pytest.raises(PeerError) as caught:
        check_operation(state, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    with pytest.raises(PeerError):
        apply_operations(state, [operation])
    kind, _, why = str(caught.value).removeprefix("bad_operation: ").partition(": ")
    assert kind == operation.kind
    return why


OPEN = after(STATE, vouches(STATE, MANAGERS[0]))


# -- one use ------------------------------------------------------------------------------------------------------------------


def test_a_voucher_admits_as_a_manager_does_and_is_gone() -> None:
    """Given a voucher of one manager, when a stranger joins by it, then the ledger is that in which the manager had admitted it,
    and has no voucher."""
    assert OPEN.vouchers == (Voucher(VOUCHER.node_id, Round(500), (MANAGERS[0].node_id,)),)
    joined = after(OPEN, joins(OPEN))
    assert is_in(joined, STRANGER)
    admitted = after(replace(OPEN, vouchers=()), says(OPEN, MANAGERS[1], Admit, node=STRANGER.node_id))
    assert account_of(joined, STRANGER.node_id) == account_of(admitted, STRANGER.node_id)
    assert joined.vouchers == ()
    check_conservation(joined)


def test_it_serves_one_node_whoever_else_has_it() -> None:
    """Given two who have one invitation, when both join in one round, then a leader chooses one, no block has both, and the other is
    refused for ever."""
    both = sorted((joins(OPEN), joins(OPEN, OTHER)), key=lambda one: one.author)
    (chosen,) = select_operations(OPEN, both)
    with pytest.raises(PeerError, match="it was used or withdrawn, or its time is over"):
        apply_operations(OPEN, both)
    after_it = after(OPEN, chosen)
    (late,) = (one for one in both if one is not chosen)
    assert "it was used or withdrawn" in refusal(after_it, late)
    assert (is_settled(after_it, chosen), is_pending(after_it, late)) == (True, False)


def test_who_stands_behind_it_too_late_does_not_open_it_again() -> None:
    """Given a manager that stands behind an open voucher, when its word is carried after the use, then it is refused, and so is a
    second one that opens it while it is open."""
    late = vouches(OPEN, MANAGERS[1])
    used = after(OPEN, joins(OPEN))
    assert "it was used or withdrawn" in refusal(used, late)
    assert not is_pending(used, late)
    assert "is open already" in refusal(OPEN, vouches(OPEN, MANAGERS[1], opens=True))
    assert len(after(OPEN, late).vouchers[0].approvals) == 2


def test_a_used_word_brings_nobody_back() -> None:
    """Given who joined by a voucher and left, when managers open the same voucher again, then its old word does not admit it again."""
    old = joins(OPEN)
    state = after(OPEN, old)
    state = after(state, says(state, STRANGER, Leave))
    state = after(state, vouches(state, MANAGERS[1]))
    assert "it is older than when" in refusal(state, old)
    back = after(state, joins(state))
    assert is_in(back, STRANGER)


def test_who_sees_a_join_can_not_take_its_voucher() -> None:
    """Given a join on its way, when another puts its own name in the place of the newcomer's, or the signature of the voucher under a
    word of its own, then it is refused whatever it is called."""
    seen, own = joins(OPEN), joins(OPEN, OTHER, VOUCHERS[1])
    mine = Join(OPEN.chain, OPEN.round, OTHER.node_id, VOUCHER.node_id)
    by_me = seal(mine, OTHER).envelope
    assert "signed different things" in refusal(OPEN, Operation("join", (by_me, seen.signed[1])))
    assert "not signed by the newcomer" in refusal(
        OPEN, Operation("join", (replace(seen.signed[0], author=OTHER.node_id), seen.signed[1]))
    )
    assert "not signed by the newcomer" in refusal(OPEN, Operation("join", (by_me, replace(by_me, author=OTHER.node_id))))
    assert "there is no voucher" in refusal(OPEN, own)
    for count in (1, 0):
        assert "1 messages, it has two" in refusal(OPEN, Operation("join", seen.signed[count : count + 1]))


# -- behind how many ----------------------------------------------------------------------------------------------------------


def test_as_many_managers_stand_behind_it_as_admit() -> None:
    state = after(TWO, vouches(TWO, MANAGERS[0]))
    assert "1 managers stand behind the voucher" in refusal(state, joins(state))
    assert "stands behind the voucher" in refusal(state, vouches(state, MANAGERS[0]))
    assert "holds through round 500, not 501" in refusal(state, vouches(state, MANAGERS[1], until=501))
    state = after(state, vouches(state, MANAGERS[1]))
    assert is_in(after(state, joins(state)), STRANGER)


def test_a_word_counts_while_its_manager_manages() -> None:
    """Given a voucher, when its manager is dismissed, or managers replace its key, then it is gone; when it rotates its key, then it
    holds; and when more have to admit meanwhile, one is not enough."""
    gone = all_say(OPEN, MANAGERS[1:], Dismiss, node=MANAGERS[0].node_id, reason="")
    assert gone.vouchers == ()
    assert "there is no voucher" in refusal(gone, joins(gone))
    lost = after(OPEN, applies(OPEN, OTHER))
    lost = all_say(lost, MANAGERS[1:], Replace, node=MANAGERS[0].node_id, by=OTHER.node_id)
    assert (OTHER.node_id in lost.managers, lost.vouchers) == (True, ())
    rotated = after(OPEN, rotates(OPEN, MANAGERS[0], OTHER))
    assert [one.approvals for one in rotated.vouchers] == [(OTHER.node_id,)]
    assert is_in(after(rotated, joins(rotated)), STRANGER)
    stricter = replace(OPEN, terms=Terms(admission=2))
    assert "1 managers stand behind the voucher" in refusal(stricter, joins(stricter))


def test_a_liars_word_admits_nobody_though_it_manages_alone() -> None:
    liar = MANAGERS[0].node_id
    accounts = tuple(replace(one, punished_round=0) if one.node == liar else one for one in OPEN.accounts)
    state = replace(OPEN, managers=(liar,), accounts=accounts)
    assert "0 managers stand behind the voucher" in refusal(state, joins(state))


# -- how long, how many -------------------------------------------------------------------------------------------------------


def test_it_holds_through_its_round_and_is_forgotten_then() -> None:
    short = after(STATE, vouches(STATE, MANAGERS[0], until=5))
    last = replace(short, round=Round(5))
    assert is_in(after(last, joins(last)), STRANGER)
    assert apply_operations(replace(short, round=Round(4)), ()).vouchers == short.vouchers
    over = apply_operations(last, ())
    assert over.vouchers == ()
    for until in (0, MAX_VOUCHER_ROUNDS + 1):
        assert f"holds through round {until}" in refusal(STATE, vouches(STATE, MANAGERS[0], until=until))
    check_operation(STATE, vouches(STATE, MANAGERS[0], until=MAX_VOUCHER_ROUNDS))
    assert "it is of round 3, we are in round 1" in refusal(OPEN, joins(OPEN, round_=3))


def test_managers_withdraw_it_by_refusing_its_key() -> None:
    withdrawn = after(OPEN, says(OPEN, MANAGERS[1], Refuse, node=VOUCHER.node_id, reason="it leaked"))
    assert withdrawn.vouchers == ()
    assert "it was used or withdrawn" in refusal(withdrawn, joins(withdrawn))
    once_more = says(withdrawn, MANAGERS[2], Refuse, node=VOUCHER.node_id, reason="it leaked")
    assert "nor is it a voucher" in refusal(withdrawn, once_more)
    assert (is_settled(OPEN, once_more), is_settled(withdrawn, once_more)) == (False, True)


def test_each_manager_stands_behind_its_share_and_the_ledger_has_room_for_all() -> None:
    state = STATE
    for voucher in VOUCHERS[:VOUCHERS_EACH]:
        state = after(state, vouches(state, MANAGERS[0], voucher))
    assert [one.key for one in state.vouchers] == sorted(one.key for one in state.vouchers)
    more = vouches(state, MANAGERS[0], VOUCHERS[VOUCHERS_EACH])
    assert f"stands behind {VOUCHERS_EACH} vouchers, of {VOUCHERS_EACH}" in refusal(state, more)
    check_operation(state, vouches(state, MANAGERS[1], VOUCHERS[VOUCHERS_EACH]))
    for count in (1, 4, 9, MAX_COMMITTEE):
        managers = tuple(sorted(NodeId(bytes([number]) * 32) for number in range(count)))
        assert count * vouchers_each(replace(STATE, managers=managers)) <= MAX_VOUCHERS
    full = tuple(Voucher(NodeId(bytes([number]) * 32), Round(9), (MANAGERS[1].node_id,)) for number in range(MAX_VOUCHERS))
    assert f"{MAX_VOUCHERS} vouchers are open" in refusal(replace(STATE, vouchers=full), vouches(STATE, MANAGERS[0]))


def test_only_a_manager_vouches_and_for_a_key_that_is_nobodys() -> None:
    assert "is no manager" in refusal(STATE, vouches(STATE, PLAIN[0]))
    assert "knows the key" in refusal(STATE, vouches(STATE, MANAGERS[0], PLAIN[0]))


# -- who comes ----------------------------------------------------------------------------------------------------------------


def test_who_may_not_be_admitted_does_not_come_by_a_voucher() -> None:
    member = PLAIN[0]
    out = after(kicked(STATE, member), vouches(kicked(STATE, member), MANAGERS[3]))
    assert "was put out in round 2: it takes a return" in refusal(out, joins(out, member))
    assert "is a member" in refusal(OPEN, joins(OPEN, member))
    moved = after(OPEN, rotates(OPEN, member, OTHER))
    assert "a key that was replaced" in refusal(moved, joins(moved, member))
    lied = tuple(replace(one, punished_round=0, left_round=0) if one.node == member.node_id else one for one in OPEN.accounts)
    assert "was punished in round 0, for ever" in refusal(replace(OPEN, accounts=lied), joins(OPEN, member))


def test_what_was_asked_and_said_of_it_before_is_over() -> None:
    """Given who has applied, was refused, and about whom a motion is open, when it joins by a voucher, then nothing of that is left."""
    state = after(OPEN, applies(OPEN, STRANGER))
    state = after(state, says(state, MANAGERS[1], Refuse, node=STRANGER.node_id, reason="no"))
    state = replace(state, terms=Terms(admission=2))
    state = after(state, says(state, MANAGERS[2], Admit, node=STRANGER.node_id))
    state = after(state, says(state, MANAGERS[2], Kick, node=PLAIN[0].node_id, reason=""))
    state = after(state, vouches(state, MANAGERS[1]))
    joined = after(state, joins(state))
    assert (is_in(joined, STRANGER), joined.applicants) == (True, ())
    assert [one.kind for one in joined.motions] == ["kick"]


def test_it_owes_what_the_terms_ask_for_as_any_newcomer() -> None:
    state = replace(OPEN, terms=Terms(entry_fee=Amount(5), deposit=Amount(9)))
    account = account_of(after(state, joins(state)), STRANGER.node_id)
    assert account is not None
    assert (account.balance, account.deposit, account.paid_round) == (0, 0, NEVER)


def test_people_read_what_each_does() -> None:
    for operation, words in ((vouches(STATE, MANAGERS[0]), "admits who has the voucher"), (joins(OPEN), "joins by the voucher")):
        told = kind_of(operation).describe(operation)
        assert words in told
        assert VOUCHER.node_id.hex()[:8] in told


# -- any history --------------------------------------------------------------------------------------------------------------

PEOPLE = [*MANAGERS, PLAIN[0], *NEW[:4]]
STEP = st.tuples(
    st.sampled_from(("vouch", "vouch", "join", "join", "join", "refuse", "leave", "dismiss", "rotate", "kick", "return", "wait")),
    st.sampled_from(PEOPLE),
    st.sampled_from(PEOPLE),
    st.sampled_from(VOUCHERS[:3]),
    st.integers(1, 9),
)


def drawn(state: State, kind: str, author: Identity, whom: Identity, voucher: Identity, rounds: int) -> list[Operation]:
    match kind:
        case "vouch":
            return [vouches(state, author, voucher, state.round + rounds)]
        case "join":
            return [joins(state, author, voucher)]
        case "refuse":
            return [says(state, author, Refuse, node=voucher.node_id, reason="")]
        case "leave":
            return [says(state, author, Leave)]
        case "dismiss":
            return [says(state, author, Dismiss, node=author.node_id, reason="")]
        case "rotate":
            return [rotates(state, author, whom)]
        case "kick" | "return":
            extra = {"reason": ""} if kind == "kick" else {}
            known = {one.node_id: one for one in PEOPLE}
            signers = [known[node] for node in state.managers if node in known]
            return [says(state, one, Kick if kind == "kick" else Return, node=whom.node_id, **extra) for one in signers]
    return []


@settings(max_examples=150, deadline=None)
@given(history=st.lists(STEP, max_size=40), admission=st.integers(1, 2))
def test_whatever_is_said_nobody_comes_but_by_a_voucher_that_was_open(
    history: list[tuple[str, Identity, Identity, Identity, int]], admission: int
) -> None:
    """Given any history in which managers admit by vouchers alone, then each joining takes one that enough managers stood behind, only
    managers stand behind those that are open, none is older than its round, and units are conserved."""
    state = replace(STATE, terms=Terms(admission=admission))
    for step in history:
        for operation in drawn(state, *step) or [None]:
            before, carried = state, operation
            try:
                state = after(state, *([] if operation is None else [operation]))
            except PeerError:
                carried = None
            if carried is None:
                state = replace(apply_operations(before, ()), round=Round(before.round + 1))
            check_conservation(state)
            assert decode(encode(state), State) == state
            _check(before, state, carried)


def _check(before: State, state: State, operation: Operation | None) -> None:
    assert [one.key for one in state.vouchers] == sorted({one.key for one in state.vouchers})
    for one in state.vouchers:
        assert set(one.approvals) <= set(state.managers)
        assert one.approvals
        assert one.until >= state.round
    came = {one.node for one in members_of(state)} - {one.node for one in members_of(before)}
    came -= {one.successor for one in state.accounts if one.successor is not None}
    if operation is not None and operation.kind == "join":
        (node,), used = came, {one.key: one for one in before.vouchers}[operation.signed[1].author]
        assert node == operation.author
        assert len(used.approvals) >= before.terms.admission
        assert used.key not in {one.key for one in state.vouchers}
    elif operation is None or operation.kind != "return":
        assert not came


# -- a hostile reader -----------------------------------------------------------------------------------------------------------


def test_a_word_that_came_too_late_for_a_voucher_does_not_stand_behind_one_opened_anew() -> None:
    """Given two managers behind a voucher, a third whose word for it is carried too late, and its use, when one manager opens the
    same key anew until the same round, then the late word, signed for the first, does not count for it: one alone admits nobody."""
    state = after(TWO, vouches(TWO, MANAGERS[0]))
    late = vouches(state, MANAGERS[2])
    state = after(state, vouches(state, MANAGERS[1]))
    state = after(state, joins(state))
    assert is_in(state, STRANGER)
    assert not is_pending(state, late)
    state = after(state, vouches(state, MANAGERS[0]))
    assert not is_pending(state, late)
    with pytest.raises(PeerError):
        apply_operations(state, [late])


def test_a_word_that_came_too_late_for_a_withdrawn_voucher_does_not_stand_behind_one_opened_anew() -> None:
    """The same where a quorum has withdrawn the voucher, and nobody has used it."""
    state = after(TWO, vouches(TWO, MANAGERS[0]))
    late = vouches(state, MANAGERS[2])
    for manager in MANAGERS[1::2]:
        state = after(state, says(state, manager, Refuse, node=VOUCHER.node_id, reason=""))
    assert state.vouchers == ()
    state = after(state, vouches(state, MANAGERS[0]))
    with pytest.raises(PeerError):
        apply_operations(state, [late])
