"""Keys that take the place of others: rotated by their member, replaced by managers; what is left of the key before."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.keys import MAX_ACCOUNTS_TO_ROTATE, holder_of
from bflcd.ledger.alliance.keys import replaced as under_new_key
from bflcd.ledger.alliance.membership import Membership, membership_of
from bflcd.ledger.operations.application import apply_operations, check_operation, is_pending, is_settled, select_operations
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.operations.open_motions import describe_motion
from bflcd.ledger.operations.registry import KINDS, kind_of
from bflcd.ledger.roles import trainers
from bflcd.ledger.state import MAX_ROTATIONS, NEVER, Account, State, account_of, member_of, members_of
from bflcd.ledger.transition import apply, build_segment, check_conservation, decide
from bflcd.types import MAX_MEMBERS, Amount, Digest, Millis, NodeId, Round, Signature, View, short
from bflcd.wire.alliance import Admit, Application, Kick, Leave, Return, Transfer
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import seal, verify_envelope
from bflcd.wire.governance import Appoint, Dismiss, SetParameter
from bflcd.wire.keys import Replace, Rotate
from bflcd.wire.messages import Prepare
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback
from tests.helpers.ledger import (
    BALANCE,
    NEXT_MODEL,
    by_digest,
    make_cards,
    make_community,
    make_draw,
    make_identities,
    make_offer,
    place_of,
)
from tests.helpers.money import pays, with_terms

START = make_community(10, 4, 6, score_rows=1000)
STATE = START.state
KEYS = [START.keys[node] for node in START.members]
MANAGERS, PLAIN = KEYS[:4], KEYS[4:]
NEW = [one for one in make_identities(34) if one.node_id not in START.keys]
MEMBER, FRESH = PLAIN[0], NEW[0]


def next_number(state: State, author: Identity) -> int:
    account = account_of(state, author.node_id)
    return 1 if account is None else account.operations + 1


def says(state: State, author: Identity, body: type, **fields: Any) -> Operation:
    kind = next(name for name, kind in KINDS.items() if kind.bodies == (body,))
    fields = {"chain": state.chain, "round": state.round, "number": next_number(state, author)} | fields
    return Operation(kind, (seal(body(**fields), author).envelope,))


def rotates(state: State, old: Identity, new: Identity, /, *, by: Identity | None = None, **fields: Any) -> Operation:
    """`old` gives itself to `new`, which signs the same; `by`: who signs in the new key's stead."""
    body = Rotate(
        **{  # type: ignore[arg-type]
            "chain": state.chain,
            "round": state.round,
            "number": next_number(state, old),
            "node": new.node_id,
            "old": old.node_id,
        }
        | fields
    )
    return Operation("rotate", (seal(body, old).envelope, seal(body, by or new).envelope))


def applies(state: State, who: Identity) -> Operation:
    return Operation("apply", (seal(Application(state.chain, state.round, ""), who).envelope,))


def lie(state: State, who: Identity, round_: int) -> Operation:
    """Evidence that `who` has signed two things in one place of a round."""
    place = place_of(START) | {"round": Round(round_), "chain": state.chain, "view": View(0)}
    bodies = (Prepare(**place, digest=Digest(bytes([number]) * 32), proposal=Digest(bytes(32))) for number in (1, 2))
    return evidence_of(*(seal(body, who).envelope for body in bodies))


def after(state: State, *operations: Operation) -> State:
    """The ledger when blocks have carried them, one each."""
    for operation in operations:
        state = replace(apply_operations(state, [operation]), round=Round(state.round + 1))
    return state


def all_say(state: State, managers: list[Identity], body: type, **fields: Any) -> State:
    for manager in managers:
        state = after(state, says(state, manager, body, **fields))
    return state


def replaced(state: State = STATE, old: Identity = MEMBER, new: Identity = FRESH) -> State:
    state = after(state, applies(state, new))
    return all_say(state, MANAGERS[:3], Replace, node=old.node_id, by=new.node_id)


def account(state: State, who: Identity) -> Account:
    found = account_of(state, who.node_id)
    assert found is not None
    return found


def is_in(state: State, who: Identity) -> bool:
    return member_of(state, who.node_id) is not None


ROTATED = after(STATE, rotates(STATE, MEMBER, FRESH))
REPLACED = replace(under_new_key(replace(STATE, round=Round(3)), account(STATE, MEMBER), FRESH.node_id), round=Round(4))


# -- what moves ---------------------------------------------------------------------------------------------------------------


def test_everything_of_an_account_moves_to_the_new_key_and_the_old_one_is_dead() -> None:
    """Given a member with a balance, numbers and a standing, when it rotates, then the new key has all of it and the old one nothing,
    for ever."""
    worked = replace(account(STATE, MEMBER), operations=7, packed_round=0, refusals=2, rest_round=9, retired_round=0)
    start = replace(STATE, round=Round(3), accounts=tuple(worked if one.node == worked.node else one for one in STATE.accounts))
    state = after(start, rotates(start, MEMBER, FRESH))
    assert account(state, FRESH) == replace(worked, node=FRESH.node_id, operations=8, rotations=1)
    dead = account(state, MEMBER)
    assert (dead.balance, dead.left_round, dead.successor, dead.operations) == (0, 3, FRESH.node_id, 8)
    assert (is_in(state, MEMBER), is_in(state, FRESH)) == (False, True)
    assert membership_of(state, MEMBER.node_id)[0] is Membership.REPLACED
    assert FRESH.node_id.hex()[:8] in membership_of(state, MEMBER.node_id)[1]
    assert [one.node for one in state.accounts] == sorted(one.node for one in state.accounts)
    check_conservation(state)


def test_a_manager_manages_under_its_new_key_and_is_for_what_it_was_for() -> None:
    state = after(STATE, says(STATE, MANAGERS[0], Kick, node=MEMBER.node_id, reason=""))
    state = after(state, rotates(state, MANAGERS[0], FRESH))
    assert state.managers == tuple(sorted([FRESH.node_id, *(one.node_id for one in MANAGERS[1:])]))
    (motion,) = state.motions
    assert (motion.opener, motion.approvals) == (FRESH.node_id, (FRESH.node_id,))
    with pytest.raises(PeerError, match="is for it already, 2 more are needed"):
        check_operation(state, says(state, FRESH, Kick, node=MEMBER.node_id, reason=""))
    assert not is_in(all_say(state, MANAGERS[1:3], Kick, node=MEMBER.node_id, reason=""), MEMBER)


def decided(operations: tuple[Operation, ...], trainer: NodeId, present: tuple[NodeId, ...]) -> Any:
    offer = make_offer(START, trainer)
    cards = make_cards(START, {offer.digest: [1000] * START.q}, by_digest([offer]), present)
    return decide(
        START.params,
        STATE,
        START.head,
        cards,
        by_digest([offer]),
        draw=make_draw(START),
        time=Millis(STATE.time + 1),
        operations=operations,
    )


def test_who_rotates_in_the_round_in_which_its_update_is_packed_gets_its_seat_and_its_pay_under_the_new_key() -> None:
    """Given the only trainer of a round, when the block that packs its update carries its rotation, then the new key is paid and sits
    first; and a validator finds the same."""
    outcome = decided((rotates(STATE, MEMBER, FRESH),), MEMBER.node_id, START.members)
    assert FRESH.node_id in outcome.committee
    assert MEMBER.node_id not in outcome.committee
    assert set(outcome.committee) == {
        FRESH.node_id if node == MEMBER.node_id else node for node in decided((), MEMBER.node_id, START.members).committee
    }, "as if nothing had been rotated"
    assert account(outcome.state, FRESH).balance == BALANCE + dict(outcome.rewards)[MEMBER.node_id]
    assert account(outcome.state, FRESH).seat_round == 1
    segment = build_segment(START.params, STATE, START.header, outcome, NEXT_MODEL)
    assert apply(START.params, STATE, START.header, segment, verify_envelope) == outcome.state


def test_who_holds_a_seat_holds_none_in_a_row_by_rotating() -> None:
    """Given a seated member that rotates, then the new key counts as one that sits now: beside the one that was packed, three of
    the four that sit keep their seats, and whoever of them has rotated is one of the four."""
    for index in range(4):
        seated = START.keys[STATE.committee[index]]
        outcome = decided((rotates(STATE, seated, FRESH),), MEMBER.node_id, START.members)
        sitting = {*STATE.committee, FRESH.node_id} - {seated.node_id}
        assert len(sitting & set(outcome.committee)) == 3
        assert MEMBER.node_id in outcome.committee


def test_a_block_with_a_new_key_that_did_not_sign_is_refused() -> None:
    operation = rotates(STATE, MEMBER, FRESH)
    by_old, by_new = operation.signed
    outcome = decided(
        (replace(operation, signed=(by_old, replace(by_new, signature=Signature(bytes(64))))),), MEMBER.node_id, START.members
    )
    segment = build_segment(START.params, STATE, START.header, outcome, NEXT_MODEL)
    with pytest.raises(PeerError, match="did not sign") as caught:
        apply(START.params, STATE, START.header, segment, verify_envelope)
    assert caught.value.rejection is Rejection.BAD_SIGNATURE


def test_a_quorum_of_managers_replaces_a_key_by_an_applicants() -> None:
    state = after(STATE, applies(STATE, FRESH))
    for count, manager in enumerate(MANAGERS[:3]):
        assert is_in(state, MEMBER), f"{count} of 3 managers are for it"
        state = after(state, says(state, manager, Replace, node=MEMBER.node_id, by=FRESH.node_id))
    assert (is_in(state, MEMBER), is_in(state, FRESH), state.motions, state.applicants) == (False, True, (), ())
    assert account(state, FRESH).balance == BALANCE
    assert (account(state, MEMBER).kicked_round, account(state, MEMBER).successor) == (3, FRESH.node_id)
    assert FRESH.node_id in trainers(START.params, state)
    check_conservation(state)


def test_nobody_has_seen_a_replacing_key_at_work() -> None:
    """Given a replacement in the round in which the old key's update was packed, then the new one is elected as one that is absent."""
    ready = after(STATE, applies(STATE, FRESH))
    ready = all_say(ready, MANAGERS[:2], Replace, node=MEMBER.node_id, by=FRESH.node_id)
    ready = replace(ready, round=STATE.round)
    last = says(ready, MANAGERS[2], Replace, node=MEMBER.node_id, by=FRESH.node_id)
    operated = apply_operations(ready, [last])
    assert holder_of(operated, MEMBER.node_id) == MEMBER.node_id
    assert (account(operated, FRESH).availability, is_in(operated, FRESH)) == (0, True)


def test_a_managers_key_is_replaced_and_its_word_counts_no_more() -> None:
    """Given a thief with a manager's key that has opened motions, when the others replace it, then the thief's word counts nowhere."""
    thief = MANAGERS[3]
    state = after(STATE, says(STATE, thief, Kick, node=MEMBER.node_id, reason="mine"))
    state = replaced(state, thief, FRESH)
    assert state.managers == tuple(sorted([FRESH.node_id, *(one.node_id for one in MANAGERS[:3])]))
    state = all_say(state, MANAGERS[:2], Kick, node=MEMBER.node_id, reason="mine")
    assert is_in(state, MEMBER), "two of three"
    assert not is_in(after(state, says(state, FRESH, Kick, node=MEMBER.node_id, reason="mine")), MEMBER)
    with pytest.raises(PeerError, match="is no member"):
        check_operation(state, says(state, thief, Kick, node=MEMBER.node_id, reason="mine"))


def test_what_a_replaced_manager_was_for_is_for_nothing_any_more() -> None:
    """Given motions that a stolen key has opened and agreed to, when it is replaced, then those it alone was for are gone, the
    others have living managers' words alone, and the new key may open as many as anybody."""
    thief = MANAGERS[3]
    state = after(STATE, says(STATE, thief, Kick, node=MEMBER.node_id, reason="mine"))
    for manager in (MANAGERS[0], thief):
        state = after(state, says(state, manager, Kick, node=PLAIN[1].node_id, reason="both"))
    state = replaced(state, thief, FRESH)
    assert [(motion.opener, motion.approvals) for motion in state.motions] == [(MANAGERS[0].node_id, (MANAGERS[0].node_id,))]


# -- nobody escapes by it -----------------------------------------------------------------------------------------------------


def test_a_thief_that_rotates_a_stolen_key_is_replaced_all_the_same() -> None:
    state = after(STATE, applies(STATE, FRESH))
    state = all_say(state, MANAGERS[:2], Replace, node=MEMBER.node_id, by=FRESH.node_id)
    state = after(state, rotates(state, MEMBER, NEW[1]))
    state = after(state, rotates(state, NEW[1], NEW[2]))
    assert describe_motion(state, state.motions[0]) == (MEMBER.node_id, 3, f"by {short(FRESH.node_id)}")
    state = after(state, says(state, MANAGERS[2], Replace, node=MEMBER.node_id, by=FRESH.node_id))
    assert (is_in(state, FRESH), is_in(state, NEW[2]), account(state, FRESH).balance) == (True, False, BALANCE)
    assert (account(state, NEW[2]).successor, account(state, FRESH).rotations) == (FRESH.node_id, 0)


def test_nobody_escapes_being_put_out_by_a_rotation() -> None:
    state = all_say(STATE, MANAGERS[:2], Kick, node=MEMBER.node_id, reason="it copies")
    state = after(state, says(state, MANAGERS[0], Kick, node=MEMBER.node_id, reason="it flips"))
    state = after(state, rotates(state, MEMBER, FRESH))
    state = after(state, says(state, MANAGERS[2], Kick, node=MEMBER.node_id, reason="it copies"))
    assert (is_in(state, FRESH), account(state, FRESH).kicked_round, state.motions) == (False, 4, ())
    assert is_settled(state, says(state, MANAGERS[3], Kick, node=MEMBER.node_id, reason="it copies"))


def test_lies_of_a_rotated_key_are_punished_under_the_one_that_it_has_now() -> None:
    """Given two rotations, then a lie of the first key's rounds burns what the third one has; it is punished once, and not rotated
    again."""
    state = after(ROTATED, rotates(ROTATED, FRESH, NEW[1]))
    proof = lie(state, MEMBER, 0)
    state = after(state, proof)
    assert (account(state, NEW[1]).balance, account(state, NEW[1]).punished_round, state.burnt) == (0, 2, BALANCE)
    assert account(state, MEMBER).punished_round == NEVER
    assert is_settled(state, proof)
    for again in (lie(state, MEMBER, 0), lie(state, FRESH, 1), lie(state, NEW[1], 2)):
        with pytest.raises(PeerError, match="was punished in round 2"):
            check_operation(state, again)
    for out in (rotates(state, NEW[1], NEW[2]), says(state, MANAGERS[0], Replace, node=MEMBER.node_id, by=NEW[2].node_id)):
        with pytest.raises(PeerError, match="was punished in round 2, under whatever key"):
            check_operation(state, out)
    check_conservation(state)


def test_a_liar_does_not_rotate_in_the_block_that_punishes_it() -> None:
    both = (lie(STATE, MEMBER, 0), rotates(STATE, MEMBER, FRESH))
    assert select_operations(STATE, both) == both[:1]
    assert select_operations(STATE, both[::-1]) == both[:1]


def test_what_a_rotated_key_signs_in_later_rounds_is_nobodys() -> None:
    state = replace(ROTATED, round=Round(5))
    check_operation(state, lie(state, MEMBER, 0))
    with pytest.raises(PeerError, match="was rotated in round 0: what it signs in round 1 is nobody's"):
        check_operation(state, lie(state, MEMBER, 1))


def test_a_replaced_key_proves_nothing_any_more() -> None:
    """Given a stolen key that managers have replaced, when its thief signs two messages for a round gone by, then its owner keeps all;
    also if the owner had rotated to it."""
    rotated_before = replaced(after(STATE, rotates(STATE, MEMBER, NEW[1])), NEW[1], FRESH)
    for state, thief in ((REPLACED, MEMBER), (rotated_before, NEW[1]), (rotated_before, MEMBER)):
        with pytest.raises(PeerError, match=r"managers have replaced the key in round [0-9]+: it was another's"):
            check_operation(state, lie(state, thief, 0))
        assert is_in(state, FRESH)


# -- what is refused ----------------------------------------------------------------------------------------------------------


def test_nothing_that_the_old_key_ever_signed_is_applied_again() -> None:
    """Given what a member has signed ahead of its turn and not, when it has rotated, then none of it is applied or kept."""
    transfer = says(STATE, MEMBER, Transfer, to=KEYS[0].node_id, amount=Amount(1))
    kept = [
        transfer,
        says(STATE, MEMBER, Transfer, to=KEYS[0].node_id, amount=Amount(1), number=2),
        says(STATE, MEMBER, Leave, number=2),
        rotates(STATE, MEMBER, NEW[1]),
        rotates(STATE, MEMBER, NEW[1], number=2),
        rotates(STATE, MEMBER, FRESH),
        applies(STATE, MEMBER),
        applies(ROTATED, MEMBER),
    ]
    for state in (ROTATED, REPLACED):
        for operation in kept:
            assert not is_pending(state, operation)
            with pytest.raises(PeerError):
                apply_operations(state, [operation])
    assert is_settled(ROTATED, kept[5])


GONE = after(STATE, says(STATE, MEMBER, Leave))
APPLIED = after(STATE, applies(STATE, FRESH))
FULL = replace(STATE, accounts=STATE.accounts + STATE.accounts[-1:] * (MAX_ACCOUNTS_TO_ROTATE - len(STATE.accounts)))
FULLER = replace(APPLIED, accounts=STATE.accounts + STATE.accounts[-1:] * (MAX_MEMBERS - len(STATE.accounts)))
WORN = replace(
    STATE,
    accounts=tuple(replace(one, rotations=MAX_ROTATIONS) if one.node == MEMBER.node_id else one for one in STATE.accounts),
)
OTHER_CHAIN = replace(STATE, chain=Digest(bytes(32)))


@pytest.mark.parametrize(
    ("state", "operation", "why"),
    [
        (STATE, rotates(STATE, NEW[1], FRESH), "is no member"),
        (GONE, rotates(GONE, MEMBER, FRESH), "is no member"),
        (ROTATED, rotates(ROTATED, MEMBER, NEW[1]), "is no member"),
        (STATE, rotates(STATE, MEMBER, KEYS[0]), "knows the key [0-9a-f]+ already"),
        (ROTATED, rotates(ROTATED, FRESH, MEMBER), "knows the key [0-9a-f]+ already"),
        (GONE, rotates(GONE, KEYS[0], MEMBER), "knows the key [0-9a-f]+ already"),
        (STATE, rotates(STATE, MEMBER, MEMBER), "not signed by the old key and another"),
        (STATE, rotates(STATE, MEMBER, FRESH, by=NEW[1]), "not signed by the old key and another"),
        (STATE, rotates(STATE, MEMBER, FRESH, old=KEYS[0].node_id), "not signed by the old key and another"),
        (
            STATE,
            Operation("rotate", (rotates(STATE, PLAIN[1], FRESH).signed[0], rotates(STATE, MEMBER, FRESH).signed[1])),
            "the two keys have signed different things",
        ),
        (STATE, Operation("rotate", rotates(STATE, MEMBER, FRESH).signed[:1]), "1 messages, it has two"),
        (STATE, rotates(OTHER_CHAIN, MEMBER, FRESH), "it is of chain"),
        (STATE, rotates(STATE, MEMBER, FRESH, round=Round(1)), "it is of round 1, we are in round 0"),
        (STATE, rotates(STATE, MEMBER, FRESH, number=2), "it is number 2"),
        (WORN, rotates(WORN, MEMBER, FRESH), "has rotated 16 times"),
        (FULL, rotates(FULL, MEMBER, FRESH), "only managers replace keys"),
        (APPLIED, says(APPLIED, PLAIN[1], Replace, node=MEMBER.node_id, by=FRESH.node_id), "is no manager"),
        (STATE, says(STATE, MANAGERS[0], Replace, node=MEMBER.node_id, by=FRESH.node_id), "has not applied"),
        (APPLIED, says(APPLIED, MANAGERS[0], Replace, node=NEW[3].node_id, by=FRESH.node_id), "is no member"),
        (REPLACED, says(REPLACED, MANAGERS[0], Replace, node=MEMBER.node_id, by=NEW[1].node_id), "is no member"),
        (FULLER, says(FULLER, MANAGERS[0], Replace, node=MEMBER.node_id, by=FRESH.node_id), "those of former members and keys"),
        (ROTATED, applies(ROTATED, MEMBER), "a key that was replaced in round 0, for ever"),
        (ROTATED, says(ROTATED, MANAGERS[0], Admit, node=MEMBER.node_id), "a key that was replaced in round 0, for ever"),
        (REPLACED, says(REPLACED, MANAGERS[0], Return, node=MEMBER.node_id), "a key that was replaced in round 3, for ever"),
        (REPLACED, says(REPLACED, MANAGERS[0], Kick, node=MEMBER.node_id, reason=""), "is no member"),
        (ROTATED, says(ROTATED, KEYS[0], Transfer, to=MEMBER.node_id, amount=Amount(1)), "is no member"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(state: State, operation: Operation, why: str) -> None:
    with pytest.raises(PeerError, match=why) as caught:
        check_operation(state, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    assert str(caught.value).startswith(f"bad_operation: {operation.kind}: ")
    with pytest.raises(PeerError, match=why):
        apply_operations(state, [operation])


def test_who_has_left_comes_back_to_the_key_that_it_left_with_and_no_other() -> None:
    left = after(ROTATED, says(ROTATED, FRESH, Leave))
    assert is_in(after(left, says(left, MANAGERS[0], Admit, node=FRESH.node_id)), FRESH)
    with pytest.raises(PeerError, match="for ever"):
        check_operation(left, says(left, MANAGERS[0], Admit, node=MEMBER.node_id))


def test_who_rotates_while_managers_appoint_it_manages_under_the_new_key() -> None:
    """Given two of three managers that have appointed a member, when it rotates its key, then the third one's same word makes the new
    key a manager, and not the dead one."""
    state = all_say(STATE, MANAGERS[:2], Appoint, node=MEMBER.node_id)
    state = after(state, rotates(state, MEMBER, FRESH))
    last = says(state, MANAGERS[2], Appoint, node=MEMBER.node_id)
    done = after(state, last)
    assert (FRESH.node_id in done.managers, MEMBER.node_id in done.managers, done.motions) == (True, False, ())
    assert (is_settled(state, last), is_settled(done, last)) == (False, True)
    with pytest.raises(PeerError, match="is a manager"):
        check_operation(done, says(done, MANAGERS[3], Appoint, node=MEMBER.node_id))


def test_a_refused_applicant_replaces_nobody() -> None:
    refused = replace(APPLIED, applicants=tuple(replace(one, refused_round=0) for one in APPLIED.applicants))
    with pytest.raises(PeerError, match="has not applied, or was refused"):
        check_operation(refused, says(refused, MANAGERS[0], Replace, node=MEMBER.node_id, by=FRESH.node_id))


def test_sixteen_rotations_are_possible_and_more_after_managers_have_chosen_a_key() -> None:
    state, keys = STATE, [MEMBER, *NEW]
    for old, new in pairwise(keys[: MAX_ROTATIONS + 1]):
        state = after(state, rotates(state, old, new))
    last, new, newer = keys[MAX_ROTATIONS], keys[MAX_ROTATIONS + 1], keys[MAX_ROTATIONS + 2]
    assert holder_of(state, MEMBER.node_id) == last.node_id
    with pytest.raises(PeerError, match="only managers can replace it now"):
        check_operation(state, rotates(state, last, new))
    state = replaced(state, last, new)
    check_operation(state, rotates(state, new, newer))


def test_people_read_what_each_does() -> None:
    for operation, words in (
        (rotates(STATE, MEMBER, FRESH), "goes on under the key"),
        (says(STATE, MANAGERS[0], Replace, node=MEMBER.node_id, by=FRESH.node_id), "replaces the key"),
    ):
        told = kind_of(operation).describe(operation)
        assert words in told
        assert FRESH.node_id.hex()[:8] in told


# -- any history --------------------------------------------------------------------------------------------------------------

PEOPLE = [*KEYS, *NEW[:8]]
KIND_NAMES = ("rotate", "replace", "apply", "admit", "kick", "return", "leave", "transfer", "lie")
KIND_NAMES += ("appoint", "dismiss", "pay", "set", "rollback")
OF_QUORUMS = ("replace", "kick", "return", "appoint", "dismiss", "set", "rollback")
MODEL = NEXT_MODEL


def drawn(state: State, author: Identity, kind: str, whom: Identity, other: Identity) -> Operation:
    match kind:
        case "appoint":
            return says(state, author, Appoint, node=whom.node_id)
        case "dismiss":
            return says(state, author, Dismiss, node=whom.node_id, reason="")
        case "pay":
            return pays(state, author, whom) if account_of(state, whom.node_id) else applies(state, whom)
        case "set":
            return says(state, author, SetParameter, name="deposit", value=whom.node_id[0])
        case "rollback":
            return says(state, author, Rollback, target=Round(whom.node_id[0] % 3), model=MODEL, reason="")
        case "rotate":
            return rotates(state, author, whom)
        case "replace":
            return says(state, author, Replace, node=whom.node_id, by=other.node_id)
        case "apply":
            return applies(state, author)
        case "admit":
            return says(state, author, Admit, node=whom.node_id)
        case "kick":
            return says(state, author, Kick, node=whom.node_id, reason="")
        case "return":
            return says(state, author, Return, node=whom.node_id)
        case "leave":
            return says(state, author, Leave, heir=whom.node_id if other in MANAGERS else None)
        case "transfer":
            return says(state, author, Transfer, to=whom.node_id, amount=Amount(7))
        case _:
            return lie(state, author, max(0, state.round - 1))


STEP = st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(KIND_NAMES), st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.booleans()
)


@settings(max_examples=150, deadline=None)
@given(history=st.lists(STEP, max_size=40))
def test_whatever_is_said_a_key_that_was_replaced_stays_dead_and_units_are_conserved(
    history: list[tuple[Identity, str, Identity, Identity, bool]],
) -> None:
    """Given any history, also of managers that agree, then each account has one living key at most, rows of keys end, managers are
    members, and no tombstone ever holds or does anything again."""
    state = with_terms(STATE)
    known = {one.node_id: one for one in PEOPLE}
    for author, kind, whom, other, agreed in history:
        authors = [known[node] for node in state.managers] if agreed and kind in OF_QUORUMS else [author]
        for one in authors:
            operation, before = drawn(state, one, kind, whom, other), state
            try:
                state = after(state, operation)
            except PeerError:
                state = after(state)
                state = replace(apply_operations(state, ()), round=Round(before.round + 1))
            check_conservation(state)
            assert decode(encode(state), State) == state
            _check_keys(before, state)


def _check_keys(before: State, state: State) -> None:
    assert [one.node for one in state.accounts] == sorted({one.node for one in state.accounts})
    assert set(state.managers) <= {one.node for one in members_of(state)}
    assert list(state.managers) == sorted(set(state.managers))
    assert all(set(one.approvals) <= set(state.managers) for one in state.motions)
    successors = [one.successor for one in state.accounts if one.successor is not None]
    assert len(successors) == len(set(successors)), "no two keys become one"
    for one in state.accounts:
        if one.successor is not None:
            assert (one.balance, one.deposit, one.punished_round) == (0, 0, NEVER)
            assert account_of(state, one.successor) is not None
            assert member_of(state, one.node) is None
            assert membership_of(state, one.node)[0] is Membership.REPLACED
            assert account_of(state, holder_of(state, one.node)) is not None
    for old in before.accounts:
        now = account_of(state, old.node)
        assert now is not None, "no account is lost"
        assert now.operations >= old.operations
        assert old.successor in (None, now.successor)
