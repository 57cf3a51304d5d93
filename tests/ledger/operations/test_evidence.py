"""What is evidence and what is not, and what it costs: seat, deposit, the round's reward (design 6.9)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.application import apply_operations, check_operation, is_settled
from bflcd.ledger.operations.evidence import EVIDENCE, evidence_of
from bflcd.ledger.roles import may_train, trainers
from bflcd.ledger.state import NEVER, State, account_of
from bflcd.ledger.transition import Outcome, apply, build_segment, decide
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, Signature, View
from bflcd.wire.blocks import Segment
from bflcd.wire.envelope import Envelope, seal, verify_envelope
from bflcd.wire.messages import PUNISHABLE, Beacon, CardSeal, Commit, Offer, Prepare, PrePrepare, ScoreCard, ViewChange
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.proposal import Proposal
from tests.helpers.ledger import (
    BALANCE,
    NEXT_MODEL,
    NO_PROOF,
    Community,
    by_digest,
    make_card,
    make_cards,
    make_community,
    make_draw,
    make_identities,
    make_offer,
    place_of,
    play_gains,
)

START = make_community(10, 4, 6, reward_share=100_000)
SEATED, OTHER_SEATED = START.state.committee[:2]
TRAINER = START.outsiders[0]
STRANGER = next(identity for identity in make_identities(11) if identity.node_id not in START.keys)


def said(kind: type, number: int, author: NodeId = SEATED, community: Community = START, **changes: Any) -> Envelope:
    """The `number`-th message of a kind that the author signs in this round."""
    if kind is Offer:
        return make_offer(community, author, salt=str(number), **changes).envelope
    if kind is ScoreCard:
        return make_card(community, author, present=community.members[number:], **changes).envelope
    digest = Digest(bytes([number]) * 32)
    if kind is CardSeal:
        return seal(CardSeal(**(place_of(community) | {"card": digest} | changes)), community.keys[author]).envelope
    fields = place_of(community) | ({} if kind is Beacon else {"view": View(1)})
    if kind is PrePrepare:
        fields |= {"digest": digest, "proposal": Proposal(Epoch(0), View(0), NO_PROOF, Millis(1), (digest,))}
    elif kind is ViewChange:
        fields |= {"prepared_view": View(0), "prepared_digest": digest}
    elif kind is Beacon:
        fields |= {"committee": digest}
    else:
        fields |= {"digest": digest} | ({"proposal": digest} if kind is Prepare else {})
    return seal(kind(**(fields | changes)), community.keys[author]).envelope


def proof(author: NodeId = SEATED, kind: type = Prepare, numbers: tuple[int, int] = (1, 2), **changes: Any) -> Operation:
    return evidence_of(*(said(kind, number, author, **changes) for number in numbers))


@pytest.mark.parametrize("kind", PUNISHABLE)
@pytest.mark.parametrize("author", [SEATED, TRAINER], ids=["seated", "without a seat"])
def test_two_messages_in_one_place_prove_it(kind: type, author: NodeId) -> None:
    evidence = proof(author, kind)
    check_operation(START.state, evidence)
    assert evidence.author == EVIDENCE.author(evidence) == author
    assert all(map(verify_envelope, evidence.signed))


def test_which_committee_they_name_makes_no_other_place_of_it() -> None:
    """An honest node knows one committee of a round and epoch, so naming two is itself the lie."""
    both = (said(Prepare, 1), said(Prepare, 1, committee=Digest(b"c" * 32)))
    check_operation(START.state, evidence_of(*both))


def test_a_piece_is_named_by_what_was_said_and_not_by_how_it_was_signed() -> None:
    """Its author can sign one thing in many ways: those are one lie, and it is held and fetched under one id."""
    piece = proof()
    resigned = replace(piece, signed=(piece.signed[0], replace(piece.signed[1], signature=Signature(bytes(64)))))
    assert operation_id(resigned) == operation_id(piece)
    assert operation_id(proof(numbers=(1, 3))) != operation_id(piece)


def test_a_lie_of_an_earlier_round_is_still_evidence() -> None:
    later = play_gains(START, {}).after
    check_operation(later.state, proof())


def swapped(evidence: Operation) -> Operation:
    return replace(evidence, signed=evidence.signed[::-1])


def pair(*signed: Envelope) -> Operation:
    return Operation(EVIDENCE.name, signed)


ELSEWHERE = {"chain": Digest(b"x" * 32), "round": Round(1), "parent": Digest(b"p" * 32), "epoch": Epoch(1), "view": View(2)}
ONE = said(Prepare, 1)


def no_evidence() -> Iterator[tuple[str, Operation, Rejection, str]]:
    bad, places = Rejection.BAD_OPERATION, "belong to different places"
    yield "another author", evidence_of(ONE, said(Prepare, 2, OTHER_SEATED)), bad, "the other message is by"
    for one, other in pairwise(PUNISHABLE):
        yield f"{one.__name__} and {other.__name__}", evidence_of(said(one, 1), said(other, 2)), bad, places
    for name, value in ELSEWHERE.items():
        for kind in PUNISHABLE if name != "view" else (PrePrepare, Prepare, Commit):
            both = evidence_of(said(kind, 1), said(kind, 2, **{name: value}))
            yield f"{kind.__name__}s of two places, by {name}", both, bad, "different chains" if name == "chain" else places
    yield "another chain", proof(chain=ELSEWHERE["chain"]), bad, "it is of chain"
    yield "a round to come", proof(round=Round(1)), bad, "of round 1, which has not come"
    yield "identical", pair(ONE, ONE), bad, "are the same"
    yield "another signature", pair(ONE, replace(ONE, signature=Signature(bytes(64)))), bad, "are the same"
    yield "one message", pair(ONE), bad, "1 messages, two are needed"
    yield "wrong order", swapped(proof()), bad, "not in order"
    outside = replace(START, keys={**START.keys, STRANGER.node_id: STRANGER})
    yield "no member", proof(STRANGER.node_id, community=outside), bad, "it is no member"
    yield "view-changes", proof(kind=ViewChange), Rejection.UNKNOWN_KIND, "is not allowed here"
    yield "beacons", proof(kind=Beacon), Rejection.UNKNOWN_KIND, "is not allowed here"
    yield "garbage", pair(ONE, replace(ONE, payload=b"\xc1")), Rejection.MALFORMED, "no message"


@pytest.mark.parametrize(
    ("evidence", "rejection", "text"), [row[1:] for row in no_evidence()], ids=[row[0] for row in no_evidence()]
)
def test_what_proves_nothing_is_refused(evidence: Operation, rejection: Rejection, text: str) -> None:
    with pytest.raises(PeerError, match=text) as caught:
        check_operation(START.state, evidence)
    assert caught.value.rejection is rejection


def test_who_was_punished_is_not_accused_again() -> None:
    accounts = tuple(replace(a, punished_round=0) if a.node == SEATED else a for a in START.state.accounts)
    with pytest.raises(PeerError, match="it was punished in round 0") as caught:
        check_operation(replace(START.state, accounts=accounts), proof())
    assert caught.value.rejection is Rejection.BAD_OPERATION


def sorted_proofs(*authors: NodeId) -> tuple[Operation, ...]:
    return tuple(proof(author) for author in sorted(authors))


def punished(state: State) -> set[NodeId]:
    return {account.node for account in state.accounts if account.punished_round == state.round}


def test_a_block_punishes_everybody_that_its_pieces_prove_and_nobody_twice() -> None:
    liars = {SEATED, OTHER_SEATED, TRAINER}
    assert punished(apply_operations(START.state, ())) == set()
    assert punished(apply_operations(START.state, sorted_proofs(*liars))) == liars
    assert EVIDENCE.number(proof()) is None
    with pytest.raises(PeerError, match="two of them are in one place") as caught:
        apply_operations(START.state, (proof(), proof(numbers=(2, 3))))
    assert caught.value.rejection is Rejection.BAD_OPERATION


def test_what_is_punished_is_settled_and_nobody_is_to_blame_for_bringing_it_again() -> None:
    after = apply_operations(START.state, (proof(),))
    assert not is_settled(START.state, proof())
    assert is_settled(after, proof())
    assert is_settled(after, proof(numbers=(2, 3)))
    assert not is_settled(after, proof(TRAINER))


GAINS = dict(zip(START.outsiders, (900, 500, 400, 300, 200), strict=False))


def decided(community: Community, evidence: tuple[Operation, ...], gains: dict[NodeId, int]) -> Outcome:
    """The outcome of a round in which the q cards agree on every gain."""
    offers = by_digest(make_offer(community, node) for node in gains)
    cards = make_cards(community, {d: [gains[o.author]] * community.q for d, o in offers.items()}, offers)
    state = community.state
    return decide(
        community.params,
        state,
        community.head,
        cards,
        offers,
        draw=make_draw(community),
        time=Millis(state.time + 1000),
        operations=evidence,
    )


def written(evidence: tuple[Operation, ...], gains: dict[NodeId, int] = GAINS) -> tuple[Outcome, Segment]:
    outcome = decided(START, evidence, gains)
    return outcome, build_segment(START.params, START.state, START.header, outcome, NEXT_MODEL)


@pytest.mark.parametrize("liar", [TRAINER, START.outsiders[4], SEATED], ids=["packed", "last packed", "seated"])
def test_a_proven_liar_loses_seat_and_deposit_and_nothing_else_changes(liar: NodeId) -> None:
    """Given evidence in a round's block, then its packing, weights and payments are as without, and the liar's part is burnt."""
    without = decided(START, (), GAINS)
    outcome, segment = written((proof(liar),))
    after = outcome.state
    account = account_of(after, liar)
    assert account is not None
    assert (outcome.packed, outcome.rewards, outcome.judgement) == (without.packed, without.rewards, without.judgement)
    reward = dict(outcome.rewards).get(liar, 0)
    assert (reward > 0) is (liar in GAINS)
    assert (account.balance, account.punished_round) == (0, START.state.round)
    assert after.burnt == BALANCE + reward
    assert after.pool == without.state.pool, "nobody gets it"
    assert sum(a.balance + a.deposit for a in after.accounts) + after.pool + after.burnt == START.state.supply
    assert liar not in outcome.committee
    assert len(outcome.committee) == 4
    others = {a.node: a.balance for a in without.state.accounts if a.node != liar}
    assert {a.node: a.balance for a in after.accounts if a.node != liar} == others
    assert segment.model.operations == (proof(liar),)
    assert apply(START.params, START.state, START.header, segment, verify_envelope) == after


def test_a_proven_liar_neither_trains_nor_judges_again() -> None:
    outcome, segment = written((proof(TRAINER),))
    community = replace(START, state=outcome.state, header=segment.model_header)
    for _ in range(6):
        params, state = community.params, community.state
        assert not may_train(params, state, TRAINER)
        assert TRAINER not in trainers(params, state)
        assert TRAINER not in state.committee
        with pytest.raises(PeerError) as caught:
            play_gains(community, {TRAINER: 1000})
        assert caught.value.rejection in (Rejection.NOT_TRAINER, Rejection.BAD_CARD)
        honest = next(node for node in community.outsiders if node != TRAINER)
        community = play_gains(community, {honest: 1000}).after
        account = account_of(community.state, TRAINER)
        assert account is not None
        assert (account.balance, account.punished_round) == (0, 0)
    assert community.state.burnt == outcome.state.burnt


def test_the_next_block_does_not_punish_it_again() -> None:
    outcome, segment = written((proof(),))
    community = replace(START, state=outcome.state, header=segment.model_header)
    for again in (proof(), proof(kind=Commit)):
        with pytest.raises(PeerError, match="was punished in round 0") as caught:
            decided(community, (again,), {})
        assert caught.value.rejection is Rejection.BAD_OPERATION


@pytest.mark.parametrize("which", [0, 1])
def test_a_segment_whose_evidence_nobody_signed_is_refused(which: int) -> None:
    """Given one true and one forged message, when a leader carries them, then no member accepts its block."""
    good = proof()
    signed = list(good.signed)
    signed[which] = replace(signed[which], signature=Signature(bytes(64)))
    forged = replace(good, signed=tuple(signed))
    _, segment = written((forged,))
    with pytest.raises(PeerError, match="did not sign") as caught:
        apply(START.params, START.state, START.header, segment, verify_envelope)
    assert caught.value.rejection is Rejection.BAD_SIGNATURE


def test_a_body_without_the_evidence_that_its_state_rests_on_is_refused_and_the_reverse() -> None:
    plain, unlucky = decided(START, (), GAINS), decided(START, (proof(),), GAINS)
    for outcome in (replace(unlucky, operations=()), replace(plain, operations=(proof(),))):
        segment = build_segment(START.params, START.state, START.header, outcome, NEXT_MODEL)
        with pytest.raises(PeerError) as caught:
            apply(START.params, START.state, START.header, segment, verify_envelope)
        assert caught.value.rejection is Rejection.BAD_SEGMENT


def test_evidence_can_shrink_a_committee_but_leaves_somebody() -> None:
    """Given four members that all hold seats, then three can be punished in one block, and a fourth is one too many."""
    small = make_community(4, 4, 2)
    pieces = [evidence_of(*(said(Prepare, n, node, small) for n in (1, 2))) for node in sorted(small.members)]
    assert len(pieces) == EVIDENCE.limits.per_block
    honest = pieces[-1].author
    assert decided(small, tuple(pieces[:-1]), {}).committee == (honest,)
    with pytest.raises(PeerError, match="nobody to hold a seat") as caught:
        decided(small, tuple(pieces), {})
    assert caught.value.rejection is Rejection.BAD_OPERATION


def test_the_accounts_of_everybody_else_say_never() -> None:
    outcome, _ = written(sorted_proofs(SEATED, TRAINER))
    assert {a.node for a in outcome.state.accounts if a.punished_round != NEVER} == {SEATED, TRAINER}
    assert outcome.state.burnt == 2 * BALANCE + dict(outcome.rewards)[TRAINER]
