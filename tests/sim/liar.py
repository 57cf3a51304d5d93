"""How members lie: a liar is a real core with its key, whose words and answers pass through small strategies."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, ClassVar

from bflcd.core.records import RoundRecords
from bflcd.errors import PeerError
from bflcd.learn.protocol import ScoreResult
from bflcd.types import NodeId, Round
from bflcd.wire.envelope import open_envelope
from bflcd.wire.messages import (
    Beacon,
    CardSeal,
    Commit,
    Offer,
    OffersClosed,
    Prepare,
    PrePrepare,
    ScoreCard,
    ViewChange,
)
from bflcd.wire.training import Training
from tests.helpers.inside import pbft_of, round_of
from tests.sim.node import SimNode
from tests.sim.trace import signed_part

Said = tuple[Any, tuple[NodeId, ...]]

BODIES = (Beacon, Offer, OffersClosed, CardSeal, ScoreCard, PrePrepare, Prepare, Commit, ViewChange)

HOUR = 3_600_000

MAX_HEARD = 200
"""Messages of others that a liar remembers."""


class Strategy:
    """One way to lie. `change` decides what becomes of a message that the core says; `act` says things by itself."""

    name: ClassVar[str]

    def __init__(self, liar: "Liar", rng: Random) -> None:
        self.liar, self.node, self.world, self.rng = liar, liar.node, liar.node.world, rng

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        yield message, to

    def act(self) -> None:
        return

    def hear(self, _message: Any) -> None:
        return

    def reply(self, _peer: NodeId, _request: object, reply: Any) -> Any:
        return reply

    def scored(self, result: ScoreResult) -> ScoreResult:
        return result

    def status(self, round_: Round) -> Round:
        return round_

    def training(self, word: Training) -> Training:
        return word

    def journal(self, records: RoundRecords) -> RoundRecords:
        return records

    # -- tools --------------------------------------------------------------------------------------------------------

    def everybody(self) -> tuple[NodeId, ...]:
        return tuple(node.id for node in self.world.nodes if node is not self.node)

    def parts(self) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
        """The others in two parts, drawn anew each time."""
        others = list(self.everybody())
        self.rng.shuffle(others)
        cut = self.rng.randint(0, len(others))
        return tuple(others[:cut]), tuple(others[cut:])

    def tell(self, message: Any, to: tuple[NodeId, ...] | None = None) -> None:
        targets = self.everybody() if to is None else to
        self.world.trace_lie(self.node, message, targets)
        self.world.tell(self.node, message, targets)

    def view(self) -> int:
        core = self.node.core
        return 0 if core is None or pbft_of(core) is None else pbft_of(core).view

    def judges(self) -> bool:
        core = self.node.core
        return core is not None and core._started and core.context.judges and round_of(core).agreement is not None

    def ready(self) -> bool:
        core = self.node.core
        return core is not None and core._started and not core.syncing


STRATEGIES: dict[str, type[Strategy]] = {}


def strategy(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Register a strategy."""

    def register(cls: type[Strategy]) -> type[Strategy]:
        cls.name = name
        STRATEGIES[name] = cls
        return cls

    return register


class Liar:
    """A node's strategies, applied one after the other."""

    def __init__(self, node: SimNode, names: list[str], rng: Random) -> None:
        self.node = node
        self.rng = rng
        self.heard: list[Any] = []
        self.strategies = [STRATEGIES[name](self, rng) for name in names]
        node.world.after(rng.randint(100, 2_000), self._act)

    def _act(self) -> None:
        world = self.node.world
        if self.node.running and self.node.started:
            for one in self.strategies:
                one.act()
        world.after(self.rng.randint(world.setup.view_timeout // 4 + 1, 2 * world.setup.view_timeout), self._act)

    def hears(self, message: Any) -> None:
        for one in self.strategies:
            one.hear(message)
        self.heard.append(message)
        if len(self.heard) > MAX_HEARD:
            del self.heard[self.rng.randrange(len(self.heard))]

    def say(self, message: Any, to: tuple[NodeId, ...]) -> list[Said]:
        said: list[Said] = [(message, to)]
        for one in self.strategies:
            said = [changed for item in said for changed in one.change(*item)]
        for changed, targets in said:
            if changed is not message:
                self.node.world.trace_lie(self.node, changed, targets)
        return said

    def reply(self, peer: NodeId, request: object, reply: Any) -> Any:
        for one in self.strategies:
            reply = one.reply(peer, request, reply)
        return reply

    def scored(self, result: ScoreResult) -> ScoreResult:
        for one in self.strategies:
            result = one.scored(result)
        return result

    def status(self, round_: Round) -> Round:
        for one in self.strategies:
            round_ = one.status(round_)
        return round_

    def training(self, word: Training) -> Training:
        for one in self.strategies:
            word = one.training(word)
        return word

    def journal(self, records: RoundRecords) -> RoundRecords:
        for one in self.strategies:
            records = one.journal(records)
        return records


def body_of(message: Any) -> Any:
    """The signed body of a message, or None if it has none or another liar's makes no sense."""
    envelope = signed_part(message)
    try:
        return None if envelope is None else open_envelope(envelope, BODIES).body
    except PeerError:
        return None
