"""A slow model, which daemons showed first: again in virtual time, where it can be brought about at will."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.core.core import Core
from bflcd.core.effects import Aggregate, Effect, FetchBlob
from bflcd.core.events import Aggregated, BlobFetched, BlobMissing, Event
from bflcd.core.round.context import update_label_of
from bflcd.core.round.segments import SegmentCandidate, SegmentCandidates
from bflcd.errors import Rejection
from bflcd.types import NodeId
from tests.helpers.inside import candidates_of, round_of
from tests.helpers.ledger import make_community, make_genesis, make_offer, play_gains
from tests.helpers.world import World

SLOW_MS = 3_000
ROUNDS = 4


class SlowModel(World):
    """One node gets each round's model late; counts those that aggregate onto a model that they do not hold."""

    slow: NodeId | None = None
    delayed = premature = 0

    def answer(self, node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, FetchBlob) and effect.label is None and node == self.slow:
            self.delayed += 1
            yield BlobFetched(effect.blob.root), SLOW_MS
            return
        if isinstance(effect, Aggregate):
            self.premature += effect.model.root not in round_of(self.cores[node]).collection.blobs
        yield from super().answer(node, effect)


def make_world() -> SlowModel:
    genesis, identities = make_genesis(nodes=6, committee=4, places=4)
    return SlowModel(genesis, identities)


def test_the_same_updates_with_the_same_weights_held_to_another_limit_are_another_model() -> None:
    """Given two sets of cards that pack the same, of which one makes other norms usual, then both aggregates are computed, each once."""
    world = make_world()
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= 1, 60_000)
    candidates = next(found for core in world.cores.values() if (found := candidates_of(core)) is not None)
    community = make_community(6, 4)
    outcome = play_gains(community, dict.fromkeys(community.outsiders[:2], 1000)).outcome
    begun = []
    for limit in (-700, -701, 700, None, -700):
        model, effects = candidates._aggregate(replace(outcome, step_limit=limit))
        assert model is None
        begun.append([effect.limit for effect in effects if isinstance(effect, Aggregate)])
    assert begun == [[-700], [-701], [700], [None], []]


def test_what_another_is_said_to_have_made_is_another_aggregate() -> None:
    """Given cards that pack a copy, as its copier's, instead of the update, and the same but that, then the one that can't be
    aggregated does not stand for the other."""
    world = make_world()
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= 1, 60_000)
    candidates = next(found for core in world.cores.values() if (found := candidates_of(core)) is not None)
    community = make_community(6, 4)
    outcome = play_gains(community, dict.fromkeys(community.outsiders[:1], 1000)).outcome
    made = outcome.packed[0]
    copied = replace(made, offer=make_offer(community, community.outsiders[1], blob=made.offer.body.blob))
    labels = []
    for packed in (copied, made):
        _, (job,) = candidates._aggregate(replace(outcome, packed=(packed,)))
        labels.append(job.updates[0][2])
    assert len(set(labels)) == 2


@pytest.mark.parametrize("told", ["aggregated", "fetched"])
def test_a_segment_that_packs_what_bears_another_label_is_refused_and_nobody_waits_for_it(told: str) -> None:
    """Given cards by which more than f liars pack a payload that is another's, when the worker can't aggregate it, or it is not to be
    had under that label, then the candidate is refused, for good, and so is what would be begun for the same cards."""
    world = make_world()
    world.start_all()

    def walking() -> list[tuple[Core, SegmentCandidates, SegmentCandidate]]:
        held = [(core, found) for core in world.cores.values() if (found := candidates_of(core)) is not None]
        running = [each for each in held if None in each[1]._aggregates.values()]
        return [(*each, one) for each in running for one in each[1] if not one.done and one.outcome is not None]

    assert world.run_until(lambda: bool(walking()), 60_000)
    core, candidates, candidate = walking()[0]
    assert candidate.outcome is not None
    offer = candidate.outcome.packed[0].offer
    cards = tuple(candidates._holdings.cards[card] for card in candidate.proposal.cards)
    if told == "aggregated":
        key = next(key for key, model in candidates._aggregates.items() if model is None)
        answer: Event = Aggregated(key, None, "the label of somebody else")
    else:
        round_of(core).collection.blobs.discard(offer.body.blob.root)
        label = update_label_of(core.context, offer.author)
        answer = BlobMissing(offer.body.blob.root, label, refused=True, text="the label of somebody else")
    effects = core.handle(answer, world.instant())
    assert candidate.refused is Rejection.BAD_SEGMENT
    assert not [effect for effect in effects if isinstance(effect, Aggregate | FetchBlob)]
    assert candidates.precompute_aggregate(cards) == []


def test_nobody_aggregates_onto_a_model_that_has_not_come():
    """Given a member of the committee whose model arrives after the others' cards and proposal,
    When rounds are decided, Then it checks a proposal only once it holds the model, and the chain goes on.
    """
    world = make_world()
    world.slow = world.genesis.committee[1]
    world.start_all()

    assert world.run_until(lambda: min(world.rounds()) >= ROUNDS, 120_000), world.rounds()

    assert world.delayed >= ROUNDS
    assert world.premature == 0
