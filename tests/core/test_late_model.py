"""A slow model, which daemons showed first: again in virtual time, where it can be brought about at will."""

from collections.abc import Iterator
from dataclasses import replace

from bflcd.core.effects import Aggregate, Effect, FetchBlob
from bflcd.core.events import BlobFetched, Event
from bflcd.types import NodeId
from tests.helpers.inside import candidates_of, round_of
from tests.helpers.ledger import make_community, make_genesis, play_gains
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
