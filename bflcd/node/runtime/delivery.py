"""Sending: straight to those whom a message concerns, until each has confirmed it; by gossip where that fails or all are meant.

Who has confirmed a message over the connection that still stands has it, and gets it no second time when the core repeats it: but
one of them in turn, who answers if the round is over meanwhile, and all of them once `TRUSTED` T0 have passed, since a
confirmation is no promise that it was made use of. A push that is still under way is not repeated either: what carries it repeats
lost packets by itself, at the pace that it measures, and a peer that is slow would only become slower.

Gossip costs every member what one lacks. So who can't be reached straight, not being connected or having answered nothing while a
push was awaited, is reached by it when a message is said again: by then a new judge is dialled, and who was late has answered.
Where nobody is connected it is gossiped at once.

Where all are slow, gossip makes all slower: they are late because they have too much to do, new judges are dialled late too, and
a community that answers lateness by gossip never gets out of it. So gossip waits, besides, until a message is `PATIENT` times as
old as the answers of those it concerns take now: the lower median of them, so that no f can hold it up. That is nothing where
answers take milliseconds, and has bounds, so that a way round a broken link is always found; a close one for votes, whose views
end. What no vote waits for, and all but f judges have, waits to its bound: else one judge that is gone makes all trainers gossip.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bflcd.core.effects import Send
from bflcd.ledger.quorum import faults
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.pace import Pace
from bflcd.node.runtime.ports import Clock, Network, Pushed
from bflcd.types import Millis, NodeId
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Beacon, Gossip, Offer

PATIENT: Final = 4
"""Times that an answer takes, before gossip brings what was pushed in vain: a late one, and a dial, end before that."""

MOST_PATIENT: Final = 2
"""T0 after which gossip waits no longer. A vote is said again each T0 at least: the three steps of a view end within 9 T0, and
the later views have 16 (design 6.7)."""

MOST_PATIENT_TRAINING: Final = 16
"""The same for beacons and offers, of which there are most: no vote waits for one of them, and no round for ever."""

MAX_PUSHES: Final = 256
"""Pushes under way at a time; what is above is gossiped if it is said for the first time, and else left out."""

MOST_TRIES: Final = 4
"""Pushes under way to who is silent."""

TRUSTED: Final = 4
"""T0 for which a confirmation counts."""

_OF_TRAINING: Final = frozenset(number_of(kind) for kind in (Beacon, Offer))


@dataclass(slots=True)
class _Progress:
    """How far a message has come, which was said first at `since`. `confirmed`: over which connection by whom, and when."""

    since: Millis
    confirmed: dict[NodeId, tuple[int, Millis]] = field(default_factory=dict)
    under_way: set[NodeId] = field(default_factory=set)
    said: int = 0


class Delivery:
    """Carries out `Send`."""

    def __init__(self, network: Network, jobs: Jobs, clock: Clock, view_timeout: Callable[[], Millis]) -> None:
        """`view_timeout`: T0, as it is now."""
        self._network = network
        self._jobs = jobs
        self._clock = clock
        self._view_timeout = view_timeout
        self._progress: dict[Gossip, _Progress] = {}
        self._under_way = Counter[NodeId]()
        self._pace = Pace()
        self._heard: dict[NodeId, Millis] = {}
        self._silent: set[NodeId] = set()
        self._tried: dict[NodeId, Millis] = {}
        """When the newest push to a peer began."""

    @property
    def under_way(self) -> int:
        """Pushes whose answers are awaited."""
        return self._under_way.total()

    async def send(self, effect: Send) -> None:
        """Push to those it concerns and who lack it, while the core goes on; gossip what concerns all, or can't be pushed."""
        if not effect.to:
            await self._network.publish(effect.message)
            return
        progress = self._progress.setdefault(effect.message, _Progress(self._clock().mono))
        first, lacking = progress.said == 0, self._lacking(effect, progress)
        progress.said += 1
        if self.under_way + len(lacking) > MAX_PUSHES:
            if first and not effect.alone:
                await self._network.publish(effect.message)
            return
        for peer in lacking:
            self._push_to(peer, effect.message, progress)
        if not effect.alone and self._needs_gossip(effect, lacking, progress, first=first):
            await self._network.publish(effect.message)

    def round_closed(self) -> None:
        """What was said in the round that is over is of no more use: whoever still lacks it gets the round's certificate."""
        self._progress.clear()
        self._silent = set(filter(self._is_connected, self._silent))
        self._tried = {peer: tried for peer, tried in self._tried.items() if self._is_connected(peer)}
        self._heard = {peer: heard for peer, heard in self._heard.items() if self._is_connected(peer)}
        self._pace.forget_but(self._is_connected)

    def _needs_gossip(self, effect: Send, lacking: tuple[NodeId, ...], progress: _Progress, *, first: bool) -> bool:
        """Whether somebody lacks it whom a push won't reach; who may just be slow, or dialled just now, is waited for."""
        reached = [peer for peer in lacking if self._is_connected(peer) and peer not in self._silent]
        if len(reached) == len(lacking) or (first and reached):
            return False
        return self._is_overdue(effect, progress, most_have_it=len(lacking) - len(reached) <= faults(len(effect.to)))

    def _is_overdue(self, effect: Send, progress: _Progress, *, most_have_it: bool = False) -> bool:
        """Whether a message is so old that more is to be done for it than to wait; see the bounds above."""
        connected, now = [peer for peer in effect.to if self._is_connected(peer)], self._clock().mono
        if not connected:
            return True
        of_training = _is_of_training(effect.message)
        most = (MOST_PATIENT_TRAINING if of_training else MOST_PATIENT) * self._view_timeout()
        waits_longest = of_training and most_have_it
        return bool(now - progress.since >= (most if waits_longest else min(PATIENT * self._pace.of(connected, now), most)))

    def _is_connected(self, peer: NodeId) -> bool:
        return self._network.connection(peer) is not None

    def _lacking(self, effect: Send, progress: _Progress) -> tuple[NodeId, ...]:
        """Who is not known to have it; where all have it, one of them in turn."""
        since = self._clock().mono - TRUSTED * self._view_timeout()
        has = set[NodeId]()
        for peer, (connection, confirmed) in progress.confirmed.items():
            if connection == self._network.connection(peer) and confirmed > since:
                has.add(peer)
        lacking = tuple(peer for peer in effect.to if peer not in has)
        if lacking or not self._is_overdue(effect, progress):
            return lacking
        return (effect.to[progress.said % len(effect.to)],)

    def _push_to(self, peer: NodeId, message: Gossip, progress: _Progress) -> None:
        """Push, unless this is under way already; to who is silent one message a T0, which shows when it is back.

        Not one at a time: what was lost on a link that is open again is waited for so long that later views would end meanwhile.
        """
        connection = self._network.connection(peer)
        if connection is None or peer in progress.under_way or (peer in self._silent and not self._may_try(peer)):
            return
        progress.under_way.add(peer)
        self._under_way[peer] += 1
        self._tried[peer] = self._clock().mono
        self._jobs.beside(self._push(message, peer, connection, progress))

    def _may_try(self, peer: NodeId) -> bool:
        """Whether another message is tried on who has answered nothing of late."""
        waited = self._clock().mono - self._tried.get(peer, Millis(0))
        return not self._under_way[peer] or (self._under_way[peer] < MOST_TRIES and waited >= self._view_timeout())

    async def _push(self, message: Gossip, peer: NodeId, connection: int, progress: _Progress) -> None:
        begun, outcome = self._clock().mono, Pushed.LOST
        self._pace.begun(peer, begun)
        try:
            outcome = await self._network.push(message, peer)
        finally:
            self._pace.ended(peer, begun, self._clock().mono, answered=outcome is not Pushed.LOST)
            progress.under_way.discard(peer)
            self._under_way -= Counter((peer,))
        if outcome is Pushed.LOST:
            if peer not in self._heard or self._heard[peer] < begun:
                self._silent.add(peer)
            return
        self._silent.discard(peer)
        self._heard[peer] = self._clock().mono
        if outcome is Pushed.TAKEN_IN:
            progress.confirmed[peer] = connection, self._heard[peer]


def _is_of_training(message: Gossip) -> bool:
    """Whether a message of ours tells of a trainer, and not of what the committee agrees on."""
    return isinstance(message, Envelope) and message.payload[2] in _OF_TRAINING
