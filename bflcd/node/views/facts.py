"""What a process knows of itself, whatever its chain, and what is measured of the node now and then."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bflcd.api.history import base_of, worst_of
from bflcd.api.metrics import resident_bytes
from bflcd.api.worst_site import WorstSite
from bflcd.config import Config
from bflcd.core.snapshot import LastDecision
from bflcd.crypto.identity import peer_id_of
from bflcd.learn.health import WorkHealth
from bflcd.net.peers import PeerManager
from bflcd.node.attack import attack_warnings
from bflcd.node.load.overload import Overload
from bflcd.node.privacy.budget import Budget
from bflcd.node.views.decided import last_decision
from bflcd.node.views.held_models import Held, HeldModels
from bflcd.node.views.left_out import LeftOut
from bflcd.params import MILLION
from bflcd.store.protocol import StoreStats, Upkeep
from bflcd.types import Millis, NodeId, Round
from bflcd.version import __version__
from bflcd.wire.blocks import CertifiedSegment, Header
from bflcd.wire.training import Training

ACCURACY_ROUNDS: Final = 16
"""How far back a starting node looks for cards that say how good the model is: not all rounds' do."""


class Measured(Held, Upkeep, Protocol):
    """What of the store is measured."""


@dataclass(slots=True)
class Measures:
    """What others measure and status shows. `committed_at`: seconds of the monotonic clock at the newest commit.

    What the chain knows of it is read from there at the start (`recall`): a restart forgets none of it.
    """

    store: Measured
    models: HeldModels = field(init=False)
    left_out: LeftOut = field(init=False)
    stats: StoreStats = field(default_factory=lambda: StoreStats(0, 0, 0, Round(0)))
    committed_at: float | None = None
    accuracy: tuple[float, int] | None = None
    """By the cards of the newest round that has any, and the model that they judged."""
    worst: WorstSite | None = None
    """Of the same cards."""
    test_accuracy: float | None = None
    decided: LastDecision | None = None
    """By the newest block at the start of this process."""

    def __post_init__(self) -> None:
        self.models = HeldModels(self.store)
        self.left_out = LeftOut()

    async def recall(self, head: Header, now: Millis) -> None:
        """Read from the store what a node says of its chain from the start. `now`: Unix time, to hold against the block's."""
        if head.round:
            self.committed_at = time.monotonic() - max(0, now - head.time) / 1000
        for round_ in range(head.round, max(0, head.round - ACCURACY_ROUNDS), -1):
            certified = await self.store.segment(Round(round_))
            if certified is not None:
                self.note_accuracy(certified)
            if self.accuracy is not None:
                break
        await self.left_out.recall(self.store, head.round)
        self.decided = await last_decision(self.store)
        await self.refresh_sizes()

    @property
    def commit_age(self) -> float | None:
        """Seconds since the newest commit; none before the first."""
        return None if self.committed_at is None else time.monotonic() - self.committed_at

    def note_accuracy(self, certified: CertifiedSegment) -> None:
        """Remember what the cards of a committed round say of the model before it."""
        base = base_of([card.payload for card in certified.segment.model.cards])
        if base is not None:
            self.accuracy = (base[1] / MILLION, certified.segment.model_header.round - 1)
            self.worst = worst_of(certified)

    async def refresh_sizes(self) -> None:
        """Read the store's sizes anew."""
        self.stats = await self.store.stats()

    async def refresh(self) -> None:
        """Read the sizes anew, and which models are held: the first time, that takes a moment a thousand rounds."""
        await self.refresh_sizes()
        await self.models.look()


class Watch(Protocol):
    """As `node.watching.models.ModelWatch`."""

    def warnings(self) -> list[str]:
        """What status says of models that got worse."""
        ...


class NodeFacts:
    """This process. `addresses`: where it listens; `alarms`: as `EventReporter.alarms`."""

    def __init__(
        self,
        config: Config,
        node_id: NodeId,
        peers: PeerManager,
        measures: Measures,
        *,
        addresses: Callable[[], tuple[str, ...]],
        alarms: Callable[[], list[str]],
    ) -> None:
        self.config = config
        self.node_id = node_id
        self.peers = peers
        self.measures = measures
        self.api_place = ""
        """Where the API listens: its URL, else `unix:` and the socket's path."""
        self.held = ""
        """Why no history is taken up yet, once that has lasted; empty while nothing is missed."""
        self.work = WorkHealth(time.monotonic)
        """How this node's own work goes; its worker's, once there is one."""
        self.privacy: Budget | None = None
        """What this node's updates may tell and have told; None where it trains without privacy, and before its chain."""
        self.ready = True
        """Whether this node could train by now: False while it catches up after a start, or before its worker is there."""
        self.watch: Watch | None = None
        """What this node sees of the models on its own rows; None before its chain."""
        self.overload = Overload()
        """Whether this node is behind with what it is told."""
        self._addresses = addresses
        self._started = time.monotonic()
        self._alarms = alarms

    @property
    def training(self) -> Training:
        """What peers are told of whether this node trains."""
        if not self.config.compute.train:
            return Training.OBSERVES
        if self.privacy is not None and self.privacy.stopped:
            return Training.BUDGET
        word = self.work.training
        return word if self.ready or not word.trains else Training.BEHIND

    def not_training(self) -> list[NodeId]:
        """Connected members that say that they do not train."""
        told = ((info.node, info.training) for info in self.peers.peers() if info.member)
        return sorted(node for node, word in told if word is not None and not word.trains)

    def warnings(self) -> list[str]:
        """What the operator has to know, whatever the chain."""
        held = [self.held] if self.held else []
        budget = [] if self.privacy is None else self.privacy.warnings()
        worse = [] if self.watch is None else self.watch.warnings()
        own = [*held, *budget, *self.work.warnings(), *worse, *self.overload.warnings()]
        return [*attack_warnings(self.config.attack), *own, *self._alarms(), *self.peers.warnings()]

    def here(self) -> dict[str, Any]:
        """The fields of `Status` that are the same on every chain."""
        mode = self.config.store
        return {
            "version": __version__,
            "node_id": self.node_id.hex(),
            "peer_id": peer_id_of(self.node_id),
            "store_mode": mode.mode,
            "keep": mode.keep if mode.mode == "pruned" else 0,
            "size_on_disk": self.measures.stats.size_on_disk,
            "uptime": time.monotonic() - self._started,
            "listen": list(self._addresses()),
            "api": self.api_place,
            "pid": os.getpid(),
            "memory_rss": resident_bytes(),
            "lag": self.overload.lags.worst,
            "overloaded": self.overload.is_on,
        }
