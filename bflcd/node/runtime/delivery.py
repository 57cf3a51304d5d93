"""Sending: straight to those whom a message concerns, until each has confirmed it; by gossip where that fails or all are meant.

Who has confirmed a message over the connection that still stands has it, and gets it no second time when the core repeats it: but
one of them in turn, who answers if the round is over meanwhile, and all of them once `TRUSTED` T0 have passed, since a
confirmation is no promise that it was made use of. A push that is still under way is not repeated either: what carries it repeats
lost packets by itself, at the pace that it measures, and a peer that is slow would only become slower.
"""

from dataclasses import dataclass, field
from typing import Final

from bflcd.core.effects import Send
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.ports import Clock, Network
from bflcd.types import Millis, NodeId
from bflcd.wire.messages import Gossip

MAX_PUSHES: Final = 64
"""Messages that are being pushed at a time; what is above is gossiped if it is said for the first time, and else left out."""

TRUSTED: Final = 4
"""T0 for which a confirmation counts."""


@dataclass(slots=True)
class _Progress:
    """How far a message has come. `confirmed`: over which connection each peer has confirmed it, and when."""

    confirmed: dict[NodeId, tuple[int, Millis]] = field(default_factory=dict)
    under_way: set[NodeId] = field(default_factory=set)
    said: int = 0


class Delivery:
    """Carries out `Send`."""

    def __init__(self, network: Network, jobs: Jobs, clock: Clock, view_timeout: Millis) -> None:
        self._network = network
        self._jobs = jobs
        self._clock = clock
        self._trusted = Millis(TRUSTED * view_timeout)
        self._pushes = 0
        self._progress: dict[Gossip, _Progress] = {}

    async def send(self, effect: Send) -> None:
        """Push to those it concerns and who lack it, while the core goes on; gossip what concerns all, or can't be pushed."""
        if not effect.to:
            await self._network.publish(effect.message)
            return
        progress = self._progress.setdefault(effect.message, _Progress())
        first, lacking = progress.said == 0, self._lacking(effect, progress)
        progress.said += 1
        if self._pushes >= MAX_PUSHES:
            if first:
                await self._network.publish(effect.message)
            return
        reached = tuple(peer for peer in lacking if self._network.connection(peer) is not None)
        if reached:
            self._pushes += 1
            progress.under_way |= set(reached)
            self._jobs.beside(self._push(effect.message, reached, progress))
        if len(reached) < len(lacking):
            await self._network.publish(effect.message)

    def round_closed(self) -> None:
        """What was said in the round that is over is of no more use: whoever still lacks it gets the round's certificate."""
        self._progress.clear()

    def _lacking(self, effect: Send, progress: _Progress) -> tuple[NodeId, ...]:
        """To whom it is to go now."""
        since = self._clock().mono - self._trusted
        has = set[NodeId]()
        for peer, (connection, confirmed) in progress.confirmed.items():
            if connection == self._network.connection(peer) and confirmed > since:
                has.add(peer)
        lacking = tuple(peer for peer in effect.to if peer not in has and peer not in progress.under_way)
        if lacking or progress.under_way:
            return lacking
        return (effect.to[progress.said % len(effect.to)],)

    async def _push(self, message: Gossip, to: tuple[NodeId, ...], progress: _Progress) -> None:
        connections = {peer: self._network.connection(peer) for peer in to}
        try:
            answers = await self._network.push(message, to)
            now = self._clock().mono
            for peer in answers.confirmed:
                connection = connections[peer]
                if connection is not None:
                    progress.confirmed[peer] = connection, now
            if answers.lost and self._progress.get(message) is progress:
                await self._network.publish(message)
        finally:
            progress.under_way -= set(to)
            self._pushes -= 1
