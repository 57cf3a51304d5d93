"""Canaries in whole cores: the trainer that is drawn trains one, nobody else knows, and it shows it when the round is closed."""

from collections.abc import Iterator

from bflcd.core.effects import Effect, Send, Train
from bflcd.core.events import Event
from bflcd.ledger.state import State
from bflcd.ledger.trust.canaries import own_proof
from bflcd.types import NodeId, Round
from bflcd.wire.operation import Operation
from tests.helpers.scenes import a_world, one_state, reach
from tests.helpers.world import World

QUARTER = 250_000


class Watched:
    """A world of which is noted who was told to train a canary, and what was shown of whom."""

    def __init__(self, **params: object) -> None:
        self.world: World = a_world(canary_share=QUARTER, **params)  # type: ignore[arg-type]
        self.trained: dict[tuple[NodeId, int], bool] = {}
        self.said: set[tuple[NodeId, int, Operation]] = set()
        self._answer = self.world.answer
        self.world.answer = self._watch  # type: ignore[method-assign]

    def _watch(self, node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        match effect:
            case Train(round_, _, _, canary):
                assert self.trained.setdefault((node, round_), canary) is canary, "the same draw whenever it is asked"
            case Send(Operation() as operation):
                self.said.add((node, self.world.cores[node].context.round, operation))
        yield from self._answer(node, effect)

    def drawn(self, node: NodeId, state: State) -> bool:
        share = self.world.genesis.params.canary_share
        return own_proof(share, state.chain, state.round, state.lot, self.world.identities[node]) is not None

    def shown(self) -> dict[int, list[NodeId]]:
        """By the round whose block carries it, whose canaries were shown."""
        disk = max(self.world.disks.values(), key=lambda disk: disk.head.state.round)
        found = {round_: one.segment.model.operations for round_, one in sorted(disk.segments.items())}
        return {round_: [operation.author for operation in operations] for round_, operations in found.items() if operations}


def test_who_is_drawn_trains_a_canary_and_shows_it_in_the_next_block() -> None:
    """Given a quarter of the trainers drawn, when rounds go by, then just those trained canaries, each block shows those of the round
    before it that count, nobody says anything of a running round, and all ledgers agree."""
    watched = Watched()
    states: dict[int, State] = {}
    while (at := min(core.context.round for core in watched.world.cores.values())) < 8:
        for core in watched.world.cores.values():
            states.setdefault(core.context.round, core.context.state)
        reach(watched.world, at + 1, 60_000)
    canaries = {(node, of) for (node, of), canary in watched.trained.items() if canary and of in states}
    assert canaries == {(node, of) for node, of in watched.trained if of in states and watched.drawn(node, states[of])}
    assert 0 < len(canaries) < len(watched.trained) / 2
    for node, round_, operation in watched.said:
        assert operation.kind == "canary"
        assert round_ > 0, "nothing is shown before its round is closed"
        assert node in watched.world.cores
    carried = [(author, round_ - 2) for round_, authors in watched.shown().items() for author in authors]
    assert carried
    assert set(carried) <= canaries | {(node, of + 1) for node, of in canaries}, "in one of the two blocks after its round"
    assert watched.world.blames == []
    one_state(watched.world)


def test_after_a_restart_the_draw_is_the_same_and_what_is_not_shown_yet_is_shown() -> None:
    """Given nobody hears of operations, when a node that was a canary starts again, then it shows it all the same, from the ledger."""
    watched = Watched(seed=1)
    world = watched.world
    assert world.run_until(lambda: any(watched.trained.values()), 60_000), "of six trainers a quarter is drawn in each round"
    node, drawn_in = next(place for place, canary in watched.trained.items() if canary)
    reach(world, drawn_in + 1, 60_000)
    world.kill(node)
    watched.said.clear()
    world.start(node)
    assert any(said == node and operation.author == node for said, _, operation in watched.said)
    reach(world, drawn_in + 4, 60_000)
    assert node in [author for authors in watched.shown().values() for author in authors]
    assert world.blames == []


def test_in_a_small_community_and_without_trainers_rounds_go_on() -> None:
    """Given three members that judge and train, half of them canaries, then rounds close, and ledgers agree."""
    world = a_world(nodes=3, committee=3, places=3, canary_share=500_000)
    reach(world, 6, 120_000)
    one_state(world)
    assert world.blames == []
    assert max(Round(core.context.round) for core in world.cores.values()) >= 6
