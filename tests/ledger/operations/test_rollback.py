"""Rollback: managers put an older model in the place of a round's aggregate, and nothing else goes back."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.crypto.hashing import root_of
from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.influence.step_limit import step_limit, usual_norm_after
from bflcd.ledger.operations.application import apply_operations, check_operation, is_pending, is_settled
from bflcd.ledger.operations.open_motions import agreeing_body, describe_motion
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.operations.rollback import open_rollbacks, rolled_back_in
from bflcd.ledger.state import LastRollback, State, account_of
from bflcd.ledger.transition import Outcome, build_segment, check_conservation, decide, validate_segment
from bflcd.params import MILLION, BlobRef, Terms
from bflcd.types import Amount, Millis, Round
from bflcd.wire.alliance import Kick, Transfer
from bflcd.wire.blocks import Segment
from bflcd.wire.envelope import verify_envelope
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import RULE, Rollback
from tests.helpers.ledger import NEXT_MODEL, Community, by_digest, make_cards, make_community, make_draw, make_offer
from tests.ledger.operations.test_alliance import KEYS, MANAGERS, MEMBER, STATE, STRANGER, after, all_say, says, signed

OLD, OLDER = (BlobRef(root_of(name), 5) for name in (b"old model", b"older model"))
LATER = replace(STATE, round=Round(9))
"""In round 9, as if eight rounds had closed."""


def back(state: State, author: Identity, target: int = 5, model: BlobRef = OLD, reason: str = "poisoned") -> Operation:
    return says(state, author, Rollback, target=Round(target), model=model, reason=reason)


def all_back(state: State, managers: list[Identity], target: int = 5, model: BlobRef = OLD) -> State:
    return all_say(state, managers, Rollback, target=Round(target), model=model, reason="poisoned")


# -- who may, and when --------------------------------------------------------------------------------------------------------


def test_a_quorum_of_managers_goes_back_by_one_block() -> None:
    """Given four managers, when three have said the same, then the ledger remembers it, and no motion is left."""
    state = all_back(LATER, MANAGERS[:2])
    assert (state.rollback, [one.approvals for one in state.motions]) == (
        None,
        [tuple(sorted(manager.node_id for manager in MANAGERS[:2]))],
    )
    done = after(state, back(state, MANAGERS[2]))
    assert (done.rollback, done.motions) == (LastRollback(Round(11), Round(5), OLD), ())
    assert rolled_back_in(replace(done, round=Round(11))) == OLD
    assert rolled_back_in(done) is None, "the next round learns on"
    check_conservation(done)


def test_one_manager_alone_is_a_quorum_of_one() -> None:
    alone = replace(LATER, managers=(MANAGERS[0].node_id,))
    assert after(alone, back(alone, MANAGERS[0])).rollback == LastRollback(Round(9), Round(5), OLD)


OPEN = all_back(LATER, MANAGERS[:1])
DONE = all_back(LATER, MANAGERS[:3])


@pytest.mark.parametrize(
    ("state", "operation", "why"),
    [
        (LATER, back(LATER, MEMBER), "is no manager"),
        (LATER, back(LATER, STRANGER), "is no member"),
        (LATER, back(LATER, MANAGERS[0], target=10), "there is no model of round 10 yet, we are in round 9"),
        (LATER, back(replace(LATER, round=Round(10)), MANAGERS[0]), "it is of round 10, we are in round 9"),
        (LATER, back(replace(LATER, chain=bytes(32)), MANAGERS[0]), "it is of chain 000"),  # type: ignore[arg-type]
        (OPEN, back(LATER, MANAGERS[0]), "it is number 1 of .*, whose next is number 2"),
        (OPEN, back(OPEN, MANAGERS[0]), "is for it already, 2 more are needed"),
        (DONE, back(LATER, MANAGERS[3]), "it is of round 9, and the model went back to that of round 5 in round 11"),
        (DONE, back(replace(LATER, round=Round(11)), MANAGERS[3], 3, OLDER), "it is of round 11, and the model went back"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(state: State, operation: Operation, why: str) -> None:
    with pytest.raises(PeerError, match=why) as caught:
        check_operation(state, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    assert str(caught.value).startswith("bad_operation: rollback: ")
    with pytest.raises(PeerError, match=why):
        apply_operations(state, [operation])


def test_what_was_said_before_a_rollback_is_settled_and_what_is_said_after_it_counts() -> None:
    """Given a rollback, then what a slower manager had signed of it blames nobody, and the managers may go back once more."""
    late = back(LATER, MANAGERS[3])
    assert not is_settled(LATER, late)
    assert is_settled(DONE, late)
    assert not is_pending(DONE, late)
    twice = all_back(DONE, MANAGERS[:3])
    assert twice.rollback == LastRollback(Round(14), Round(5), OLD), "to the same model again, by new words"
    assert [account_of(twice, manager.node_id).operations for manager in MANAGERS] == [2, 2, 2, 0]  # type: ignore[union-attr]


def test_the_words_of_another_model_or_another_reason_are_another_motion() -> None:
    state = after(LATER, back(LATER, MANAGERS[0]))
    state = after(state, back(state, MANAGERS[1], reason="another"))
    state = after(state, back(state, MANAGERS[2], 3, OLDER))
    assert [(body.target, body.model, len(approvals)) for body, approvals in open_rollbacks(state)] == [
        (5, OLD, 1),
        (5, OLD, 1),
        (3, OLDER, 1),
    ]


def test_the_first_of_two_rollbacks_ends_the_other_in_the_same_block_too() -> None:
    """Given two motions that lack one manager each, when both last words are in one block, then one is done, and neither goes on."""
    state = all_back(all_back(LATER, MANAGERS[:2]), MANAGERS[:2], 3, OLDER)
    last = sorted((MANAGERS[2], MANAGERS[3]), key=lambda one: one.node_id)
    words = [back(state, last[0], 3, OLDER), back(state, last[1])]
    with pytest.raises(PeerError, match="the model went back to that of round 3"):
        apply_operations(state, words)
    done = after(state, words[0])
    assert (done.rollback, done.motions) == (LastRollback(state.round, Round(3), OLDER), ())
    assert is_settled(done, words[1])


def test_a_rollback_ends_no_motion_of_anything_else() -> None:
    state = after(LATER, says(LATER, MANAGERS[3], Kick, node=MEMBER.node_id, reason=""))
    state = all_back(state, MANAGERS[:3])
    assert [motion.kind for motion in state.motions] == ["kick"]
    state = all_say(state, MANAGERS[:2], Kick, node=MEMBER.node_id, reason="")
    assert state.motions == ()


def test_an_open_rollback_runs_out() -> None:
    state = replace(LATER, terms=Terms(motion_rounds=8))
    state = after(state, back(state, MANAGERS[0]))
    for _ in range(7):
        assert len(open_rollbacks(state)) == 1
        state = after(state)
        state = replace(apply_operations(state, ()), round=Round(state.round + 1))
    assert open_rollbacks(state) == ()


def test_a_manager_agrees_by_saying_the_same_and_people_read_what_it_is() -> None:
    (motion,) = OPEN.motions
    agreed = signed(agreeing_body(motion, OPEN.round, 1), MANAGERS[1])
    assert agreed == back(OPEN, MANAGERS[1])
    assert describe_motion(OPEN, motion) == (None, 3, f"to the model of round 5, {OLD.root.hex()[:8]}: poisoned")
    assert kind_of(agreed).describe(agreed).endswith(f"goes back to the model of round 5, {OLD.root.hex()[:8]}: poisoned")


# -- the block ----------------------------------------------------------------------------------------------------------------


def a_round(operations: tuple[Operation, ...], *, gains: int = 3) -> tuple[Community, Outcome]:
    """A round that packs `gains` updates, by a ledger in which two managers are for going back to model 0."""
    start = make_community(10, 4, 6)
    state = ready(start.state)
    community = replace(start, state=state)
    offers = by_digest(make_offer(community, node) for node in community.outsiders[:gains])
    cards = make_cards(community, {digest: [1000] * community.q for digest in offers}, offers)
    time = Millis(state.time + 1000)
    return community, decide(
        community.params, state, community.head, cards, offers, draw=make_draw(community), time=time, operations=operations
    )


def ready(state: State) -> State:
    """`state` as two managers have made it, still of its own round."""
    for manager in MANAGERS[:2]:
        state = apply_operations(state, [back(state, manager, 0)])
    return state


LAST = back(ready(STATE), MANAGERS[2], 0)


def written(community: Community, outcome: Outcome, model: BlobRef) -> Segment:
    return build_segment(community.params, community.state, community.header, outcome, model)


@pytest.mark.parametrize("gains", [3, 0], ids=["updates", "an empty round"])
def test_the_block_of_the_last_needed_word_has_the_older_model_and_no_other(gains: int) -> None:
    """Given the last word in a round's block, then its model is the older one, whatever was packed, and each other one is refused."""
    community, outcome = a_round((LAST,), gains=gains)
    assert outcome.rollback == OLD
    segment = written(community, outcome, OLD)
    assert (segment.model_header.blob, segment.model.rule) == (OLD, RULE)
    params, state, header = community.params, community.state, community.header
    assert validate_segment(params, state, header, segment, verify_envelope) == outcome
    for wrong in (NEXT_MODEL, header.blob, OLDER, replace(OLD, size=6)):
        assert wrong is not None
        with pytest.raises(PeerError, match="goes back to model"):
            written(community, outcome, wrong)
        forged = replace(segment, headers=(*segment.headers[:-1], replace(segment.model_header, blob=wrong)))
        with pytest.raises(PeerError, match="goes back to model"):
            validate_segment(params, state, header, forged, verify_envelope)
    forged = replace(segment, model=replace(segment.model, rule=community.params.aggregation))
    with pytest.raises(PeerError, match="field rule"):
        validate_segment(params, state, header, forged, verify_envelope)


def test_pay_and_everything_else_of_the_round_stay() -> None:
    """Given a round in which managers go back, then all but the model is as in the same round without."""
    _, went = a_round((LAST,))
    _, learned = a_round(())
    assert (went.packed, went.rewards, went.committee) == (learned.packed, learned.rewards, learned.committee)
    assert went.rewards
    by = account_of(went.state, MANAGERS[2].node_id)
    assert by is not None
    accounts = tuple(replace(one, operations=0) if one.node == by.node else one for one in went.state.accounts)
    without = replace(went.state, accounts=accounts, rollback=None, motions=learned.state.motions)
    assert without == learned.state, "also the usual norm, and what the judges knew"


def test_a_round_after_it_learns_and_an_empty_one_keeps_the_older_model() -> None:
    community, outcome = a_round((LAST,))
    segment = written(community, outcome, OLD)
    later = replace(community, state=outcome.state, header=segment.model_header)
    cards = make_cards(later, {}, {})
    empty = decide(later.params, later.state, later.head, cards, {}, draw=make_draw(later), time=Millis(later.state.time + 1000))
    assert empty.rollback is None
    assert written(later, empty, OLD).model.rule == later.params.aggregation
    with pytest.raises(PeerError, match="packs nothing, so its model must be the parent's own blob"):
        written(later, empty, NEXT_MODEL)


def test_the_step_limit_lets_older_models_learn_again_within_rounds() -> None:
    """Given a usual norm of late rounds, when a rollback makes all norms eight times as large, then after seven rounds nothing is cut."""
    clip, usual, rounds = 2 * MILLION, 4096, 0
    while (step_limit(clip, usual) or 0) < 8 * 4096:
        usual, rounds = usual_norm_after(usual, [(8 * 4096, 0)] * 3, free=False), rounds + 1
    assert rounds == 7


# -- any history --------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(history=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=50))
def test_whatever_is_said_one_block_goes_back_once_and_no_word_counts_twice(history: list[tuple[int, int, int]]) -> None:
    """Given any words of managers and a member, now and late, then each rollback had a quorum of words younger than the one before."""
    state, words = replace(LATER, terms=Terms(motion_rounds=12)), list[Operation]()
    for author, target, late in history:
        if target == 3:
            words.append(says(state, KEYS[author], Transfer, to=KEYS[5].node_id, amount=Amount(1)))
        else:
            words.append(back(state, KEYS[author], target, (OLD, OLDER, NEXT_MODEL)[target]))
        operation, before = words[max(0, len(words) - 1 - late)], state
        try:
            state = after(state, operation)
        except PeerError:
            state = replace(apply_operations(state, ()), round=Round(state.round + 1))
            assert state.rollback == before.rollback
            continue
        check_conservation(state)
        assert not is_pending(state, operation), "nothing is applied twice"
        if state.rollback != before.rollback:
            assert state.rollback is not None
            assert state.rollback.round == before.round
            assert open_rollbacks(state) == ()
            ((body, approvals),) = [one for one in open_rollbacks(before) if one[0].model == state.rollback.model]
            assert len({*approvals, operation.author}) == 3
            assert body.target == state.rollback.target
