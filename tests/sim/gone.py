"""More than f seats of a running committee leave for ever, and managers let the round go on, as operators would (design 6.8)."""

from random import Random
from typing import Any, Final

from bflcd.core.effects import Commit, Effect, Persist
from bflcd.core.records import PreparedRecord
from bflcd.ledger.quorum import faults, quorum
from bflcd.types import NodeId
from bflcd.wire.codec import peek_number
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Announcement
from tests.sim.node import SimNode
from tests.sim.operators import Operators
from tests.sim.scene import Scene, profile
from tests.sim.setup import Setup

COMMIT: Final = 35
"""Message number of a commit."""

MODES: Final = ("moment", "moment", "prepared", "prepared", "committed", "committed")

UNTOUCHED_MS: Final = 60_000
"""Virtual time after which a community that could not be brought to a halt is left alone."""


def draw_managers(setup: Setup, rng: Random) -> tuple[int, ...]:
    """So many that a quorum of them can stay while f + 1 seats leave."""
    seats = faults(min(setup.committee, setup.nodes)) + 1
    able = [count for count in (4, 2, 1) if count <= setup.nodes and setup.nodes - quorum(count) >= seats]
    if not able:
        return (0,)
    count = able[0] if len(able) < 2 or rng.random() < 0.8 else rng.choice(able[1:])
    return tuple(sorted(rng.sample(range(setup.nodes), count)))


@profile(6)
def gone(scene: Scene) -> None:
    """More than f seats die for ever: at any effect, or after some have prepared, or after one has committed; managers recover."""
    scene.length, scene.rounds = 10**9, 10**9  # the managers end it
    Funeral(scene, Operators(scene))


class Funeral:
    """Who leaves, and when."""

    def __init__(self, scene: Scene, operators: "Operators") -> None:
        self.world, self.rng, self.operators = scene.world, scene.rng, operators
        operators.on_closed = self._again
        self.deaths = 0
        managers = sorted(self.world.genesis.managers)
        self.faithful = set(self.rng.sample(managers, quorum(len(managers))))
        if self.rng.random() < 0.3:
            self.world.net.loss = self.rng.choice([0.05, 0.2])
        self._draw(self.rng.randint(0, 3))
        self.world.after(UNTOUCHED_MS, self._untouched)

    def _draw(self, first_round: int) -> None:
        self.mode = self.rng.choice(MODES)
        self.first_round = first_round
        self.boundaries = self.rng.randint(0, 250)
        self.wanted = self.rng.randint(1, self.world.setup.f + 2)
        self.prepared: dict[int, set[NodeId]] = {}
        self.alone: SimNode | None = None
        """Who is to commit while nobody else can."""
        self.committee: tuple[NodeId, ...] = ()
        self.world.watch = self._watch

    def _untouched(self) -> None:
        if not self.deaths:
            self.world.watch, self.world.net.swallow = None, None
            self.operators.finish()

    def _again(self) -> bool:
        """After a recovery: sometimes it happens to the new committee too."""
        if self.deaths > 1 or self.rng.random() > 0.25:
            return False
        self._draw(0)
        self.world.after(UNTOUCHED_MS // 2, self._spared, self.deaths)
        return True

    def _spared(self, deaths: int) -> None:
        if self.deaths == deaths:
            self.world.watch, self.world.net.swallow = None, None
            self.operators.finish()

    def _watch(self, node: SimNode, effect: Effect) -> None:
        core = node.core
        if core is None or node.gone or node.round < self.first_round or not core.context.committee:
            return
        if self.mode == "moment":
            self.boundaries -= 1
            if self.boundaries < 0:
                self._die(node, core.context.committee)
        elif self.mode == "prepared":
            if isinstance(effect, Persist) and any(isinstance(record, PreparedRecord) for record in effect.records):
                holders = self.prepared.setdefault(node.round, set())
                holders.add(node.id)
                if len(holders) >= self.wanted:
                    self._die(node, core.context.committee)
        elif self.alone is None:
            self._isolate_a_decision(core.context.committee)
        elif isinstance(effect, Commit) and node is self.alone:
            self._die(node, self.committee)

    def _isolate_a_decision(self, committee: tuple[NodeId, ...]) -> None:
        """From now on commits reach one seat only."""
        mortal = [node for node in committee if node not in self.faithful and self.world.by_id[node].running]
        if not mortal:
            return
        self.alone = alone = self.world.by_id[self.rng.choice(mortal)]
        self.committee = committee
        self.world.net.swallow = lambda index, message: index != alone.index and _tells_a_decision(message)

    def _die(self, node: SimNode, committee: tuple[NodeId, ...]) -> None:
        world, rng = self.world, self.rng
        seats = [world.by_id[seat] for seat in committee if seat not in self.faithful and not world.by_id[seat].gone]
        already = sum(world.by_id[seat].gone for seat in committee)
        least = max(0, faults(len(committee)) + 1 - already)
        if len(seats) < least:
            self.first_round = node.round + 1
            self.alone, world.net.swallow = None, None
            return
        self.deaths += 1
        world.watch, world.net.swallow = None, None
        victims = rng.sample(seats, rng.randint(min(max(1, least), len(seats)), len(seats)))
        if self.mode == "committed" and node not in victims:
            victims[:1] = [node]
        victims += [
            other
            for other in world.nodes
            if other not in victims and other.id not in self.faithful and not other.gone and rng.random() < 0.15
        ]
        world.note(None, "leave for ever", f"{self.mode}: {', '.join(v.name for v in victims)}", self.mode.encode())
        for victim in victims:
            self._leave(victim, node)
        world.after(rng.choice([500, 2_000, 8_000]), self.operators.act)

    def _leave(self, victim: SimNode, acting: SimNode) -> None:
        world, rng = self.world, self.rng
        if self.mode == "committed" and victim is acting and rng.random() < 0.5:
            world.net.apart.add(victim.index)
            victim.gone = True
            world.note(victim, "is cut off", "with its decision", b"apart")
            return
        victim.doomed = True
        if victim is acting:
            victim.crash_in = 0
        elif rng.random() < 0.3:
            victim.crash_in = rng.randint(0, 20)
        else:
            victim.crash(power=rng.random() < 0.5)
            victim.gone = True


def _tells_a_decision(message: Any) -> bool:
    if isinstance(message, Announcement):
        return True
    return isinstance(message, Envelope) and peek_number(message.payload) == COMMIT
