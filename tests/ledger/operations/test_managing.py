"""Who manages: appointed and dismissed by a quorum, by oneself, by proof of a lie; and what is left of who managed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.application import apply_operations, check_operation, is_pending, is_settled, select_operations
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.operations.motion import manager_quorum, manages
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.quorum import quorum
from bflcd.ledger.state import NEVER, State, account_of, is_member, member_of, state_hash
from bflcd.ledger.transition import check_conservation
from bflcd.types import MAX_COMMITTEE, NodeId, Round, View
from bflcd.wire.alliance import Admit, Kick, Leave
from bflcd.wire.envelope import seal
from bflcd.wire.governance import Appoint, Dismiss
from bflcd.wire.messages import Prepare
from bflcd.wire.operation import Operation
from tests.helpers.ledger import place_of
from tests.ledger.operations.test_alliance import (
    GONE,
    KEYS,
    MANAGERS,
    MEMBER,
    PLAIN,
    PUNISHED,
    START,
    STATE,
    STRANGER,
    after,
    all_say,
    is_in,
    says,
)

NEW = PLAIN[1]


def named(*who: Identity) -> tuple[NodeId, ...]:
    return tuple(sorted(one.node_id for one in who))


def managed_by(*who: Identity) -> State:
    return replace(STATE, managers=named(*who))


def appointed(state: State = STATE, who: Identity = MEMBER, by: list[Identity] = MANAGERS[:3]) -> State:
    return all_say(state, by, Appoint, node=who.node_id)


def lies(who: Identity) -> Operation:
    """Evidence against a member."""
    bodies = (Prepare(**place_of(START) | {"view": View(0)}, digest=bytes([n]) * 32, proposal=bytes(32)) for n in (1, 2))  # type: ignore[arg-type]
    return evidence_of(*(seal(body, who).envelope for body in bodies))


# -- appointed ----------------------------------------------------------------------------------------------------------------


def test_a_quorum_of_managers_appoints_a_member_and_its_word_counts_from_then_on() -> None:
    state = STATE
    for count, manager in enumerate(MANAGERS[:3]):
        assert MEMBER.node_id not in state.managers, f"{count} of 3 managers are for it"
        state = after(state, says(state, manager, Appoint, node=MEMBER.node_id))
    assert (state.managers, state.motions) == (named(*MANAGERS, MEMBER), ())
    state = after(state, says(state, MEMBER, Admit, node=STRANGER.node_id))
    assert is_in(state, STRANGER)
    assert state_hash(state) != state_hash(replace(state, managers=STATE.managers)), "the header commits to who manages"


def test_the_quorum_is_that_of_the_managers_there_are() -> None:
    """Given four managers, when one more is appointed, then it takes four of five to appoint the next."""
    five = appointed()
    assert (manager_quorum(STATE), manager_quorum(five)) == (3, 4)
    three = appointed(five, NEW)
    assert NEW.node_id not in three.managers
    assert NEW.node_id in appointed(three, NEW, [MEMBER]).managers


def test_no_more_manage_than_a_motion_has_room_for() -> None:
    others = (NodeId(bytes([number]) * 32) for number in range(MAX_COMMITTEE - len(STATE.managers)))
    full = replace(STATE, managers=tuple(sorted({*STATE.managers, *others})))
    assert len(full.managers) == MAX_COMMITTEE
    with pytest.raises(PeerError, match=f"appoint: {MAX_COMMITTEE} members manage"):
        check_operation(full, says(full, MANAGERS[0], Appoint, node=MEMBER.node_id))


# -- dismissed ----------------------------------------------------------------------------------------------------------------


def test_a_quorum_dismisses_a_manager_that_is_a_member_still_and_may_leave() -> None:
    state = all_say(STATE, MANAGERS[:3], Dismiss, node=MANAGERS[3].node_id, reason="it sleeps")
    assert (state.managers, state.motions) == (named(*MANAGERS[:3]), ())
    assert is_in(state, MANAGERS[3])
    with pytest.raises(PeerError, match="is no manager"):
        check_operation(state, says(state, MANAGERS[3], Admit, node=STRANGER.node_id))
    assert not is_in(after(state, says(state, MANAGERS[3], Leave)), MANAGERS[3])


def test_a_manager_dismisses_itself_alone_and_can_then_leave() -> None:
    state = after(STATE, says(STATE, MANAGERS[0], Dismiss, node=MANAGERS[0].node_id, reason=""))
    assert state.managers == named(*MANAGERS[1:])
    assert not is_in(after(state, says(state, MANAGERS[0], Leave)), MANAGERS[0])


def test_it_does_so_with_as_many_motions_open_as_it_may_have() -> None:
    state = STATE
    for one in PLAIN[:4]:
        state = after(state, says(state, MANAGERS[0], Kick, node=one.node_id, reason=""))
    state = after(state, says(state, MANAGERS[0], Dismiss, node=MANAGERS[0].node_id, reason=""))
    assert (state.managers, state.motions) == (named(*MANAGERS[1:]), ()), "nobody is for its motions any more"


def test_the_last_manager_stays() -> None:
    state = managed_by(MANAGERS[0])
    with pytest.raises(PeerError, match=r"dismiss: [0-9a-f]+ is the last manager"):
        check_operation(state, says(state, MANAGERS[0], Dismiss, node=MANAGERS[0].node_id, reason=""))
    two = managed_by(*MANAGERS[:2])
    both = [says(two, one, Dismiss, node=one.node_id, reason="") for one in MANAGERS[:2]]
    assert len(select_operations(two, both)) == 1, "of two that go in one block a leader takes one"
    with pytest.raises(PeerError, match="is the last manager"):
        apply_operations(two, sorted(both, key=lambda one: one.author))


def test_the_word_of_who_was_dismissed_counts_no_more_not_even_when_it_is_appointed_again() -> None:
    """Given two of four managers that want a member out, when one of them is dismissed and appointed again, then it has to say so again."""
    state = all_say(STATE, MANAGERS[:2], Kick, node=NEW.node_id, reason="")
    state = all_say(state, MANAGERS[1:], Dismiss, node=MANAGERS[0].node_id, reason="")
    assert [one.approvals for one in state.motions] == [named(MANAGERS[1])]
    state = appointed(state, MANAGERS[0], MANAGERS[1:])
    assert state.managers == STATE.managers
    assert is_in(after(state, says(state, MANAGERS[2], Kick, node=NEW.node_id, reason="")), NEW)
    state = all_say(state, [MANAGERS[2], MANAGERS[0]], Kick, node=NEW.node_id, reason="")
    assert not is_in(state, NEW)


def test_a_word_again_does_what_enough_of_those_left_are_for() -> None:
    """Given five managers, of whom three are for a kick, when one of the others goes, then three of four are enough: any of them says so
    again, and nobody has to wait for the fourth."""
    five = appointed()
    state = all_say(five, MANAGERS[:3], Kick, node=NEW.node_id, reason="")
    assert is_in(state, NEW)
    state = after(state, says(state, MEMBER, Dismiss, node=MEMBER.node_id, reason=""))
    assert is_in(state, NEW)
    assert not is_in(after(state, says(state, MANAGERS[0], Kick, node=NEW.node_id, reason="")), NEW)


def test_what_was_said_of_a_node_before_it_was_appointed_is_over() -> None:
    state = all_say(STATE, MANAGERS[:2], Kick, node=MEMBER.node_id, reason="it flips")
    assert appointed(state).motions == ()


def test_a_proven_liar_manages_no_more_as_long_as_somebody_else_does() -> None:
    state = apply_operations(STATE, [lies(MANAGERS[0])])
    assert state.managers == named(*MANAGERS[1:])
    alone = apply_operations(managed_by(MANAGERS[0]), [lies(MANAGERS[0])])
    assert alone.managers == named(MANAGERS[0]), "no ledger is without a manager"
    assert not manages(alone, MANAGERS[0].node_id)
    assert apply_operations(STATE, [lies(MEMBER)]).managers == STATE.managers


def test_a_liars_word_for_a_motion_is_gone_with_it() -> None:
    state = all_say(STATE, MANAGERS[:2], Kick, node=NEW.node_id, reason="")
    state = apply_operations(state, [lies(MANAGERS[0])])
    assert [one.approvals for one in state.motions] == [named(MANAGERS[1])]


# -- what is refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "operation", "why"),
    [
        (STATE, says(STATE, MEMBER, Appoint, node=NEW.node_id), "is no manager"),
        (STATE, says(STATE, MEMBER, Appoint, node=MEMBER.node_id), "is no manager"),
        (STATE, says(STATE, MANAGERS[0], Appoint, node=STRANGER.node_id), "is no member"),
        (STATE, says(STATE, MANAGERS[0], Appoint, node=MANAGERS[1].node_id), "is a manager"),
        (GONE, says(GONE, MANAGERS[0], Appoint, node=MEMBER.node_id), "is no member"),
        (PUNISHED, says(PUNISHED, MANAGERS[0], Appoint, node=MEMBER.node_id), "was punished in round 0, for ever"),
        (STATE, says(STATE, MANAGERS[0], Dismiss, node=MEMBER.node_id, reason=""), "is no manager"),
        (STATE, says(STATE, MEMBER, Dismiss, node=MANAGERS[0].node_id, reason=""), "is no manager"),
        (STATE, says(STATE, MEMBER, Dismiss, node=MEMBER.node_id, reason=""), "is no manager"),
        (STATE, says(replace(STATE, round=Round(3)), MANAGERS[0], Appoint, node=NEW.node_id), "it is of round 3"),
        (replace(STATE, round=Round(101)), says(STATE, MANAGERS[0], Appoint, node=NEW.node_id), "it ran out"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(state: State, operation: Operation, why: str) -> None:
    with pytest.raises(PeerError, match=why) as caught:
        check_operation(state, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    assert str(caught.value).startswith(f"bad_operation: {operation.kind}: ")


def test_what_has_happened_is_settled_and_people_read_what_each_does() -> None:
    done = appointed()
    again = says(done, MANAGERS[3], Appoint, node=MEMBER.node_id)
    gone = all_say(done, [*MANAGERS], Dismiss, node=MEMBER.node_id, reason="")
    late = says(gone, MANAGERS[0], Dismiss, node=MEMBER.node_id, reason="it sleeps")
    for state, operation in ((done, again), (gone, late)):
        assert is_settled(state, operation)
        assert not is_pending(state, operation)
    own = says(STATE, MANAGERS[0], Dismiss, node=MANAGERS[0].node_id, reason="")
    told = [kind_of(one).describe(one) for one in (again, late, own)]
    assert ["appoints" in told[0], "it sleeps" in told[1], "dismisses itself" in told[2]] == [True] * 3


# -- any history --------------------------------------------------------------------------------------------------------------

BODIES: tuple[type, ...] = (Appoint, Dismiss, Kick, Leave, Admit)
PEOPLE = [*KEYS[:7], STRANGER]


@settings(max_examples=100, deadline=None)
@given(
    history=st.lists(
        st.tuples(st.integers(0, len(PEOPLE) - 1), st.integers(0, len(BODIES)), st.integers(0, len(PEOPLE) - 1)), max_size=60
    )
)
def test_whatever_is_said_somebody_manages_and_every_approval_is_a_managers(history: list[tuple[int, int, int]]) -> None:
    """Given any history of appointing, dismissing, going and lying, then managers are members, sorted, and never none."""
    state = STATE
    for author, what, whom in history:
        fields: dict[str, Any] = {"node": PEOPLE[whom].node_id} if what < len(BODIES) and BODIES[what] is not Leave else {}
        fields |= {"reason": ""} if what < len(BODIES) and BODIES[what] in (Dismiss, Kick) else {}
        known = account_of(state, PEOPLE[author].node_id) is not None
        if what == len(BODIES):
            operation = lies(PEOPLE[author])
        elif known:
            operation = says(state, PEOPLE[author], BODIES[what], **fields)
        else:
            continue
        block = select_operations(state, [operation])
        state = after(state, *block)
        check_conservation(state)
        assert state.managers == tuple(sorted(set(state.managers)))
        assert state.managers
        working = [node for node in state.managers if manages(state, node)]
        assert len(working) == len(state.managers) or len(state.managers) == 1
        assert all(member_of(state, node) is not None for node in state.managers)
        for motion in state.motions:
            assert set(motion.approvals) <= set(state.managers)
            assert motion.approvals == tuple(sorted(set(motion.approvals)))
        assert any(is_member(one) and one.punished_round == NEVER for one in state.accounts), "somebody may sit"
        assert quorum(len(state.managers)) == manager_quorum(state)
