"""What daemons showed first, again in virtual time, where it can be brought about at will: a slow model, and who is served what."""

from collections.abc import Iterator
from types import SimpleNamespace

from bflcd.core.effects import Aggregate, Effect, FetchBlob
from bflcd.core.events import BlobFetched, Event
from bflcd.node.services import ChainService
from bflcd.types import Digest, NodeId, Round
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
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


def test_an_unpublished_update_is_for_the_committee_of_its_round():
    """Given an update of the running round and one of the round before, none of them in a block,
    When members ask for them, Then the committee gets the first, a trainer neither, nobody the second, and all what is published.
    """
    world = make_world()
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= 1, 60_000)
    core = next(iter(world.cores.values()))
    fresh, stale, published = (Digest(bytes([n]) * 32) for n in (1, 2, 3))
    round_ = core.context.round
    service = ChainService(SimpleNamespace(), lambda: world.genesis)
    seated, trainer = core.context.committee[0], next(n for n in world.cores if n not in core.context.committee)

    before = [service.may_serve(seated, root) for root in (fresh, stale, published)]
    service.runtime = SimpleNamespace(core=core, restricted={fresh: round_, stale: Round(round_ - 1)})

    assert before == [False, False, False]
    assert [service.may_serve(seated, root) for root in (fresh, stale, published)] == [True, False, True]
    assert [service.may_serve(trainer, root) for root in (fresh, stale, published)] == [False, False, True]
