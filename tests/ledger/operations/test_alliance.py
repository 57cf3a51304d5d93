"""Who belongs to the community: applications, admissions, leaving, being put out and coming back, transfers; motions of managers."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.election import elect
from bflcd.ledger.operations.application import apply_operations, check_operation, is_pending, is_settled, select_operations
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.operations.motion import MOTIONS_EACH, motions_each
from bflcd.ledger.operations.registry import KINDS, kind_of
from bflcd.ledger.quorum import faults
from bflcd.ledger.roles import may_train, offering, seed_of, trainers
from bflcd.ledger.state import MAX_APPLICANTS, MAX_MOTIONS, NEVER, Account, State, account_of, member_of, members_of
from bflcd.ledger.transition import check_conservation
from bflcd.params import Terms
from bflcd.types import MAX_COMMITTEE, Amount, Digest, NodeId, Round, View
from bflcd.wire.alliance import Admit, Application, Kick, Leave, Refuse, Return, Transfer
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Prepare
from bflcd.wire.operation import Operation
from tests.helpers.ledger import BALANCE, make_community, make_identities, place_of

START = make_community(10, 4, 6)
STATE = START.state
KEYS = [START.keys[node] for node in START.members]
MANAGERS, PLAIN = KEYS[:4], KEYS[4:]
STRANGERS = [one for one in make_identities(16) if one.node_id not in START.keys]
MEMBER, STRANGER = PLAIN[0], STRANGERS[0]


def signed(body: Any, author: Identity) -> Operation:
    kind = next(name for name, kind in KINDS.items() if kind.bodies == (type(body),))
    return Operation(kind, (seal(body, author).envelope,))


def next_number(state: State, author: Identity) -> int:
    account = account_of(state, author.node_id)
    return 1 if account is None else account.operations + 1


def says(state: State, author: Identity, body: type, **fields: Any) -> Operation:
    """What a member signs now, in its turn."""
    return signed(body(chain=state.chain, round=state.round, number=next_number(state, author), **fields), author)


def applies(state: State, who: Identity = STRANGER, **fields: Any) -> Operation:
    return signed(Application(**{"chain": state.chain, "round": state.round, "note": ""} | fields), who)


def after(state: State, *operations: Operation) -> State:
    """The ledger when blocks have carried them, one each."""
    for operation in operations:
        state = replace(apply_operations(state, [operation]), round=Round(state.round + 1))
    return state


def all_say(state: State, managers: list[Identity], body: type, **fields: Any) -> State:
    for manager in managers:
        state = after(state, says(state, manager, body, **fields))
    return state


def account(state: State, who: Identity) -> Account:
    found = account_of(state, who.node_id)
    assert found is not None
    return found


def is_in(state: State, who: Identity) -> bool:
    return member_of(state, who.node_id) is not None


def kicked(state: State = STATE, who: Identity = MEMBER) -> State:
    return all_say(state, MANAGERS[:3], Kick, node=who.node_id, reason="it copies")


# -- joining ------------------------------------------------------------------------------------------------------------------


def test_a_stranger_applies_and_one_manager_admits_it() -> None:
    """Given the terms by default, when a stranger has applied and one manager admits it, then it may train in the next round."""
    asked = after(STATE, applies(STATE, note="a ward's machine"))
    assert [(one.node, one.note) for one in asked.applicants] == [(STRANGER.node_id, "a ward's machine")]
    assert not is_in(asked, STRANGER)
    admitted = after(asked, says(asked, MANAGERS[0], Admit, node=STRANGER.node_id))
    assert (admitted.applicants, is_in(admitted, STRANGER)) == ((), True)
    assert may_train(START.params, admitted, STRANGER.node_id)
    assert STRANGER.node_id in offering(admitted), "it is waited for from the first round in which it shows up"
    assert [one.node for one in admitted.accounts] == sorted(one.node for one in admitted.accounts)
    check_conservation(admitted)


def test_managers_admit_unasked() -> None:
    assert is_in(after(STATE, says(STATE, MANAGERS[0], Admit, node=STRANGER.node_id)), STRANGER)


def test_as_many_managers_admit_as_the_terms_say() -> None:
    state = replace(STATE, terms=Terms(admission=2))
    once = after(state, says(state, MANAGERS[0], Admit, node=STRANGER.node_id))
    assert not is_in(once, STRANGER)
    assert [one.approvals for one in once.motions] == [(MANAGERS[0].node_id,)]
    with pytest.raises(PeerError, match="is for it already, 1 more are needed"):
        check_operation(once, says(once, MANAGERS[0], Admit, node=STRANGER.node_id))
    twice = after(once, says(once, MANAGERS[1], Admit, node=STRANGER.node_id))
    assert (is_in(twice, STRANGER), twice.motions) == (True, ())


def test_terms_that_ask_for_more_managers_than_there_are_ask_for_all() -> None:
    state = replace(STATE, terms=Terms(admission=9))
    assert is_in(all_say(state, MANAGERS, Admit, node=STRANGER.node_id), STRANGER)


def test_who_was_refused_hears_why_and_applies_again_when_its_time_is_over() -> None:
    state = after(replace(STATE, terms=Terms(application_rounds=8)), applies(STATE))
    state = after(state, says(state, MANAGERS[0], Refuse, node=STRANGER.node_id, reason="unknown to us"))
    (told,) = state.applicants
    assert (told.refused_round, told.reason) == (1, "unknown to us")
    with pytest.raises(PeerError, match="was refused in round 1: unknown to us"):
        check_operation(state, applies(state))
    later = replace(apply_operations(replace(state, round=Round(7)), ()), round=Round(8))
    assert later.applicants == ()
    check_operation(later, applies(later))
    with pytest.raises(PeerError, match="it is of round 0, we are in round 8"):
        check_operation(later, applies(STATE))
    assert is_in(after(state, says(state, MANAGERS[1], Admit, node=STRANGER.node_id)), STRANGER), "managers may change their mind"


def test_an_application_counts_from_its_block_however_old_it_is_by_its_own_word() -> None:
    """Given an application of the oldest round that is taken, then it stands as long as any other, and so does its refusal."""
    start = replace(STATE, round=Round(20), terms=Terms(application_rounds=8))
    state = after(start, applies(start, round=Round(13)))
    assert [one.round for one in state.applicants] == [20]
    state = after(state, says(state, MANAGERS[0], Refuse, node=STRANGER.node_id, reason=""))
    for age in range(22, 28):
        assert [one.refused_round for one in state.applicants] == [21], f"in round {age}"
        with pytest.raises(PeerError, match="was refused in round 21"):
            check_operation(state, applies(state))
        state = replace(apply_operations(state, ()), round=Round(age + 1))
    assert state.applicants == ()
    with pytest.raises(PeerError, match="it is of round 13"):
        check_operation(state, applies(state, round=Round(13)))
    check_operation(state, applies(state))


def test_applications_have_room_and_a_time_of_their_own() -> None:
    names = [Identity(bytes([250, number]) + bytes(30)) for number in range(MAX_APPLICANTS + 1)]
    state = replace(STATE, terms=Terms(application_rounds=100))
    for who in names[:-1]:
        state = after(state, applies(state, who))
    with pytest.raises(PeerError, match=f"{MAX_APPLICANTS} applications wait"):
        check_operation(state, applies(state, names[-1]))
    check_operation(state, applies(state, names[0]))  # the same again, half its time later
    with pytest.raises(PeerError, match="has applied in round 60, which is known still"):
        check_operation(state, applies(state, names[60]))
    assert is_in(after(state, says(state, MANAGERS[0], Admit, node=names[-1].node_id)), names[-1])


# -- going --------------------------------------------------------------------------------------------------------------------


def test_who_leaves_is_nobody_from_the_next_round_on_and_keeps_what_it_has() -> None:
    state = after(STATE, says(STATE, MEMBER, Leave))
    assert not is_in(state, MEMBER)
    assert (account(state, MEMBER).balance, account(state, MEMBER).left_round) == (BALANCE, 0)
    assert MEMBER.node_id not in trainers(START.params, state) | offering(state)
    assert not may_train(START.params, state, MEMBER.node_id)
    assert MEMBER.node_id not in {one.node for one in members_of(state)}
    with pytest.raises(PeerError, match="is no member"):
        check_operation(state, says(state, MEMBER, Transfer, to=KEYS[0].node_id, amount=Amount(1)))


def test_who_has_left_comes_back_by_a_managers_word_with_what_it_had() -> None:
    state = after(STATE, says(STATE, MEMBER, Transfer, to=KEYS[0].node_id, amount=Amount(1)))
    state = after(state, says(state, MEMBER, Leave))
    with pytest.raises(PeerError, match="it is older than when"):
        check_operation(state, applies(STATE, MEMBER))
    state = after(state, applies(state, MEMBER))
    state = after(state, says(state, MANAGERS[0], Admit, node=MEMBER.node_id))
    assert is_in(state, MEMBER)
    assert (account(state, MEMBER).balance, account(state, MEMBER).operations) == (BALANCE - 1, 2)


def test_a_quorum_of_managers_puts_a_member_out_and_takes_it_back() -> None:
    state = STATE
    for count, manager in enumerate(MANAGERS[:3]):
        assert is_in(state, MEMBER), f"{count} of 3 managers are for it"
        state = after(state, says(state, manager, Kick, node=MEMBER.node_id, reason="it copies"))
    assert (is_in(state, MEMBER), account(state, MEMBER).kicked_round, state.motions) == (False, 2, ())
    for refused, why in (
        (applies(state, MEMBER), "was put out"),
        (says(state, MANAGERS[0], Admit, node=MEMBER.node_id), "a return"),
    ):
        with pytest.raises(PeerError, match=why):
            check_operation(state, refused)
    assert is_in(all_say(state, MANAGERS[1:], Return, node=MEMBER.node_id), MEMBER)


def test_who_has_left_can_still_be_kept_out() -> None:
    state = kicked(after(STATE, says(STATE, MEMBER, Leave)))
    with pytest.raises(PeerError, match="was put out"):
        check_operation(state, applies(state, MEMBER))


def test_another_reason_is_another_motion() -> None:
    state = after(STATE, says(STATE, MANAGERS[0], Kick, node=MEMBER.node_id, reason="it copies"))
    state = after(state, says(state, MANAGERS[1], Kick, node=MEMBER.node_id, reason="it flips"))
    assert [one.approvals for one in state.motions] == [(MANAGERS[0].node_id,), (MANAGERS[1].node_id,)]


def test_nobody_elects_who_is_gone() -> None:
    seat = NodeId(STATE.committee[3])
    managers = tuple(node for node in STATE.managers if node != seat)
    state = after(replace(STATE, managers=managers), says(STATE, START.keys[seat], Leave))
    elected = elect(replace(START.params, committee_size=10), state, {}, frozenset(START.members), seed_of(state))
    assert set(elected.committee) == set(START.members) - {seat}, "the committee shrinks where there are too few"


def test_motions_run_out_and_each_manager_has_some() -> None:
    state = replace(STATE, terms=Terms(motion_rounds=10))
    for number in range(MOTIONS_EACH):
        state = after(state, says(state, MANAGERS[0], Kick, node=PLAIN[number].node_id, reason=""))
    with pytest.raises(PeerError, match=f"has {MOTIONS_EACH} motions open, of {MOTIONS_EACH}"):
        check_operation(state, says(state, MANAGERS[0], Kick, node=PLAIN[5].node_id, reason=""))
    check_operation(state, says(state, MANAGERS[1], Kick, node=PLAIN[5].node_id, reason=""))
    assert len(apply_operations(replace(state, round=Round(8)), ()).motions) == MOTIONS_EACH
    assert [one.opened for one in apply_operations(replace(state, round=Round(9)), ()).motions] == [1, 2, 3]


def test_the_word_of_a_manager_that_lied_counts_no_more() -> None:
    """Given two of three managers that were for a motion, when they are punished, then a third one's word is not enough."""
    state = all_say(STATE, MANAGERS[:2], Kick, node=MEMBER.node_id, reason="")
    liars = {one.node_id for one in MANAGERS[:2]}
    accounts = tuple(replace(one, punished_round=1) if one.node in liars else one for one in state.accounts)
    assert is_in(all_say(replace(state, accounts=accounts), MANAGERS[2:3], Kick, node=MEMBER.node_id, reason=""), MEMBER)


def test_a_managers_word_that_no_block_carried_is_over_once_its_node_has_gone() -> None:
    """Given two managers that admit a node, of whom one comes too late, when the node has left, then whoever kept the late word can't
    bring the node back by it; nor can who kept a word for the return of who was put out once more."""
    late = says(STATE, MANAGERS[1], Admit, node=STRANGER.node_id)
    state = after(STATE, says(STATE, MANAGERS[0], Admit, node=STRANGER.node_id))
    state = after(state, says(state, STRANGER, Leave))
    with pytest.raises(PeerError, match=r"it is older than when [0-9a-f]+ left, in round 1"):
        check_operation(state, late)
    check_operation(state, says(state, MANAGERS[1], Admit, node=STRANGER.node_id))
    state = kicked()
    late = says(state, MANAGERS[3], Return, node=MEMBER.node_id)
    state = kicked(all_say(state, MANAGERS[:3], Return, node=MEMBER.node_id))
    with pytest.raises(PeerError, match=r"it is older than when [0-9a-f]+ was put out, in round 8"):
        check_operation(state, late)


def test_no_third_of_the_managers_takes_the_room_of_all_motions() -> None:
    """Given as many managers as a ledger may have, when a third of them has opened all that they may, then another still can."""
    for count in (*range(1, len(KEYS) + 1), MAX_COMMITTEE):
        managers = tuple(sorted(NodeId(bytes([number]) * 32) for number in range(count)))
        assert faults(count) * motions_each(replace(STATE, managers=managers)) < MAX_MOTIONS
    state = replace(STATE, managers=tuple(sorted(START.members[:9])))
    author = START.keys[state.managers[0]]
    for target in STRANGERS[:3]:
        state = after(replace(state, terms=Terms(admission=2)), says(state, author, Admit, node=target.node_id))
    with pytest.raises(PeerError, match="has 3 motions open, of 3 that each may have"):
        check_operation(state, says(state, author, Admit, node=STRANGERS[3].node_id))


def test_the_last_that_may_sit_stays_whatever_a_block_carries() -> None:
    """Given two members, when one leaves and the other is proved a liar, then a leader chooses only what leaves somebody a seat."""
    two = sorted((MANAGERS[0], MEMBER), key=lambda one: one.node_id)
    others = (replace(one, left_round=0) for one in STATE.accounts)
    kept = {one.node_id for one in two}
    accounts = tuple(old if old.node in kept else gone for old, gone in zip(STATE.accounts, others, strict=True))
    state = replace(STATE, accounts=accounts, managers=(START.members[-1],))
    place = place_of(START) | {"view": View(0)}
    lies = (Prepare(**place, digest=Digest(bytes([number]) * 32), proposal=Digest(bytes(32))) for number in (1, 2))  # type: ignore[arg-type]
    both = (says(state, two[0], Leave), evidence_of(*(seal(lie, two[1]).envelope for lie in lies)))
    assert select_operations(state, both) == both[:1]
    with pytest.raises(PeerError, match="it would leave nobody to hold a seat"):
        apply_operations(state, both)


def test_a_manager_that_manages_no_more_does_not_count() -> None:
    """Given five managers, of whom four are a quorum, when one that was for a motion manages no more, then three others are."""
    five = replace(STATE, managers=tuple(sorted((*STATE.managers, PLAIN[5].node_id))))
    state = all_say(five, [PLAIN[5], *MANAGERS[:2]], Kick, node=MEMBER.node_id, reason="")
    state = all_say(replace(state, managers=STATE.managers), [MANAGERS[2]], Kick, node=MEMBER.node_id, reason="")
    assert not is_in(state, MEMBER), "three of the four that are left"
    state = all_say(five, [PLAIN[5], MANAGERS[0]], Kick, node=MEMBER.node_id, reason="")
    state = all_say(replace(state, managers=STATE.managers), [MANAGERS[1]], Kick, node=MEMBER.node_id, reason="")
    assert is_in(state, MEMBER), "two of them"


def test_what_was_said_before_a_return_puts_nobody_out_again() -> None:
    """Given a member that was put out for one reason while two managers were for another, when a quorum takes it back, then a third
    manager alone can't put it out by agreeing to what the two had said before."""
    state = all_say(STATE, MANAGERS[:2], Kick, node=MEMBER.node_id, reason="it flips")
    state = all_say(state, MANAGERS[:1], Kick, node=PLAIN[1].node_id, reason="it flips")
    state = all_say(kicked(state), MANAGERS[:3], Return, node=MEMBER.node_id)
    assert [one.approvals for one in state.motions] == [(MANAGERS[0].node_id,)], "what is about others stands"
    assert is_in(after(state, says(state, MANAGERS[2], Kick, node=MEMBER.node_id, reason="it flips")), MEMBER)


def test_who_is_put_out_applies_no_more() -> None:
    """Given who has left, applied again and was put out, then it is no applicant, nor one once it is taken back."""
    state = after(STATE, says(STATE, MEMBER, Leave))
    state = kicked(after(state, applies(state, MEMBER)))
    assert state.applicants == ()
    assert is_in(all_say(state, MANAGERS[:3], Return, node=MEMBER.node_id), MEMBER)


# -- what is refused ----------------------------------------------------------------------------------------------------------

GONE = after(STATE, says(STATE, MEMBER, Leave))
PUNISHED = replace(
    STATE, accounts=tuple(replace(one, punished_round=0) if one.node == MEMBER.node_id else one for one in STATE.accounts)
)
LONELY = replace(
    STATE,
    managers=(MANAGERS[0].node_id,),
    accounts=tuple(
        replace(one, left_round=0) if one.node not in (MEMBER.node_id, MANAGERS[0].node_id) else one for one in STATE.accounts
    ),
)
NO_SEATS = replace(
    LONELY,
    accounts=tuple(replace(one, punished_round=0) if one.node == MANAGERS[0].node_id else one for one in LONELY.accounts),
)


@pytest.mark.parametrize(
    ("state", "operation", "why"),
    [
        (STATE, applies(STATE, MEMBER), "is a member"),
        (STATE, applies(STATE, round=Round(1)), "it is of round 1, we are in round 0"),
        (STATE, says(replace(STATE, round=Round(1)), MEMBER, Leave), "it is of round 1, we are in round 0"),
        (STATE, says(replace(STATE, round=Round(9)), MANAGERS[0], Admit, node=STRANGER.node_id), "it is of round 9, we are in"),
        (PUNISHED, applies(PUNISHED, MEMBER), "is a member"),
        (STATE, says(STATE, MEMBER, Admit, node=STRANGER.node_id), "is no manager"),
        (STATE, says(STATE, STRANGER, Admit, node=STRANGERS[1].node_id), "is no member"),
        (STATE, says(STATE, MANAGERS[0], Admit, node=MEMBER.node_id), "is a member"),
        (STATE, says(STATE, MANAGERS[0], Refuse, node=STRANGER.node_id, reason=""), "has not applied"),
        (STATE, says(STATE, MANAGERS[0], Kick, node=STRANGER.node_id, reason=""), "is no member"),
        (STATE, says(STATE, MANAGERS[0], Kick, node=MANAGERS[1].node_id, reason=""), "is a manager"),
        (STATE, says(STATE, MANAGERS[0], Return, node=MEMBER.node_id), "was not put out"),
        (STATE, says(STATE, MANAGERS[0], Leave), "is a manager"),
        (NO_SEATS, says(NO_SEATS, MEMBER, Leave), "nobody would be left"),
        (GONE, says(GONE, MEMBER, Leave), "is no member"),
        (STATE, says(STATE, MEMBER, Transfer, to=STRANGER.node_id, amount=Amount(1)), "is no member, or was punished"),
        (PUNISHED, says(PUNISHED, KEYS[0], Transfer, to=MEMBER.node_id, amount=Amount(1)), "is no member, or was punished"),
        (STATE, says(STATE, MEMBER, Transfer, to=MEMBER.node_id, amount=Amount(1)), "gives to itself"),
        (
            STATE,
            says(STATE, MEMBER, Transfer, to=KEYS[0].node_id, amount=Amount(BALANCE + 1)),
            f"has {BALANCE}, not {BALANCE + 1}",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(state: State, operation: Operation, why: str) -> None:
    with pytest.raises(PeerError, match=why) as caught:
        check_operation(state, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    assert str(caught.value).startswith(f"bad_operation: {operation.kind}: ")
    with pytest.raises(PeerError, match=why):
        apply_operations(state, [operation])


def test_what_has_happened_is_settled_and_blames_nobody() -> None:
    admitted = after(STATE, says(STATE, MANAGERS[0], Admit, node=STRANGER.node_id))
    for state, operation in (
        (admitted, applies(admitted)),
        (admitted, says(admitted, MANAGERS[1], Admit, node=STRANGER.node_id)),
        (GONE, says(GONE, MEMBER, Leave)),
        (kicked(), says(kicked(), MANAGERS[3], Kick, node=MEMBER.node_id, reason="it copies")),
        (STATE, says(STATE, MANAGERS[0], Return, node=MEMBER.node_id)),
        (STATE, says(STATE, MANAGERS[0], Refuse, node=STRANGER.node_id, reason="")),
    ):
        assert is_settled(state, operation), operation.kind
        assert not is_pending(state, operation), operation.kind


def test_people_read_what_each_does() -> None:
    told = [
        kind_of(one).describe(one)
        for one in (
            applies(STATE, note="a ward's machine"),
            says(STATE, MANAGERS[0], Admit, node=STRANGER.node_id),
            says(STATE, MANAGERS[0], Refuse, node=STRANGER.node_id, reason="unknown"),
            says(STATE, MANAGERS[0], Kick, node=MEMBER.node_id, reason="it copies"),
            says(STATE, MANAGERS[0], Return, node=MEMBER.node_id),
            says(STATE, MEMBER, Leave),
            says(STATE, MEMBER, Transfer, to=KEYS[0].node_id, amount=Amount(7)),
        )
    ]
    words = ["asks to become a member: a ward's machine", "admits", "refuses", "puts out", "back", "leaves", "gives 7 to"]
    assert all(word in text for word, text in zip(words, told, strict=True))


# -- any history --------------------------------------------------------------------------------------------------------------

PEOPLE = [*KEYS, *STRANGERS[:3]]
BODIES = (Admit, Refuse, Kick, Return, Leave, Transfer)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """Author, what (-1: an application), to whom, how much."""
    step = st.tuples(
        st.integers(0, len(PEOPLE) - 1),
        st.integers(-1, len(BODIES) - 1),
        st.integers(0, len(PEOPLE) - 1),
        st.integers(1, 2 * BALANCE),
    )
    return draw(st.lists(step, max_size=60))


def drawn(state: State, step: tuple[int, int, int, int]) -> Operation:
    author, what, whom, amount = PEOPLE[step[0]], step[1], PEOPLE[step[2]].node_id, Amount(step[3])
    if what < 0:
        return applies(state, author)
    body = BODIES[what]
    fields: dict[str, Any] = {} if body is Leave else {"to": whom, "amount": amount} if body is Transfer else {"node": whom}
    return says(state, author, body, **fields | ({"reason": ""} if body in (Refuse, Kick) else {}))


@settings(max_examples=150, deadline=None)
@given(history=histories(), admission=st.integers(1, 4))
def test_whatever_is_said_units_are_conserved_and_numbers_only_rise(
    history: list[tuple[int, int, int, int]], admission: int
) -> None:
    """Given any history, then what is refused changes nothing, and what is applied keeps the ledger's invariants."""
    state = replace(STATE, terms=Terms(admission=admission, motion_rounds=20, application_rounds=20))
    for step in history:
        operation, before = drawn(state, step), state
        try:
            check_operation(state, operation)
        except PeerError:
            with pytest.raises(PeerError):
                apply_operations(state, [operation])
            state = after(state)
            state = replace(apply_operations(state, ()), round=Round(before.round + 1))
            continue
        state = after(state, operation)
        check_conservation(state)
        assert set(state.managers) <= {one.node for one in members_of(state)}, "managers stay"
        assert {one.node for one in before.accounts} <= {one.node for one in state.accounts}, "no account is lost"
        for old in before.accounts:
            assert account_of(state, old.node).operations >= old.operations  # type: ignore[union-attr]
        assert all(one.punished_round == NEVER for one in state.accounts)
        assert not {one.node for one in state.applicants} & {one.node for one in members_of(state)}
        if kind_of(operation).number(operation) is not None:
            assert not is_pending(state, operation), "nothing is applied twice"
