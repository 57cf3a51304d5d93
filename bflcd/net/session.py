"""The session of one connected peer: what it has said and when, and when it is to be asked again."""

import asyncio
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from bflcd.net.peer import PeerInfo, PeerSettings
from bflcd.types import Height, Millis, NodeId, Round
from bflcd.wire.requests import GetStatus, Status
from bflcd.wire.training import Training

FIRST_EXCHANGE: Final = 1.0
"""Seconds: half the pause after the first exchange of addresses with a peer; it doubles each time."""


_numbers = count()


@dataclass(slots=True)
class Session:
    """All that is known of a connected peer. `number`: no other session has it. Times are those of the manager's clock."""

    node: NodeId
    address: str
    inbound: bool
    connected: Millis
    seen: Millis
    latency: float | None = None
    status: Status | None = None
    ahead: int | None = None
    """Milliseconds by which its clock is ahead of ours at least, as its last answer said."""
    up: bool = False
    asked_addresses: Millis | None = None
    task: asyncio.Task[None] | None = None
    announced: tuple[str, ...] = ()
    heard: Millis | None = None
    """When its last heartbeat told its status."""
    exchanges: int = 0
    said: tuple[str, ...] = ()
    """Its own addresses, as its last heartbeat wrote them."""
    knows: Training | None = None
    """What it was last told of whether we train."""
    number: int = field(default_factory=lambda: next(_numbers))

    def answered(self, status: Status, elapsed: float, now: Millis, asked: Millis) -> None:
        """It has given its status, `elapsed` milliseconds after it was asked; `asked`: our own clock then."""
        self.seen = now
        # Its clock was read at some moment of those: as far as that explains a difference, there is none.
        self.ahead = max(status.time - asked - int(elapsed), 0) + min(status.time - asked, 0)
        self.status = status
        self.latency = float(elapsed) if self.latency is None else 0.8 * self.latency + 0.2 * elapsed

    def told(self, request: GetStatus, now: Millis) -> Status | None:
        """Take what its own heartbeat says of it, as if it had answered ours; its status, if it has ever answered one."""
        if self.status is not None:
            self.heard = now
            self.status = replace(
                self.status, round=request.round, height=request.height, head=request.head, training=request.training
            )
        return self.status

    def relieved(self, settings: PeerSettings, now: Millis, own: Training) -> float | None:
        """Seconds until a heartbeat is needed, if its own has told of late what ours would ask: one of two is enough.

        Not if we have to say `own`, which it does not know yet, nor before we have greeted it: it may have been a stranger.
        """
        period = settings.heartbeat_period * 1000
        if self.knows is not own:
            return None
        if not self.up or self.status is None or self.heard is None or self.asked_addresses is None:
            return None
        if now - self.asked_addresses >= self.exchange_pause(settings) or now - self.heard >= period:
            return None
        return (self.heard + 1.5 * period - now) / 1000

    def exchange_pause(self, settings: PeerSettings) -> float:
        """Milliseconds until it is asked for addresses again: soon at first, since all may be starting, knowing nobody."""
        return min(settings.exchange_period, FIRST_EXCHANGE * 2.0 ** min(self.exchanges, 16)) * 1000

    def lasts(self, now: Millis, seconds: float) -> bool:
        """Whether it has been connected for longer than so many seconds."""
        return now - self.connected > seconds * 1000

    def info(self, *, member: bool, score: float, now: Millis) -> PeerInfo:
        """As others see it."""
        status = self.status
        return PeerInfo(
            node=self.node,
            address=self.address,
            inbound=self.inbound,
            member=member,
            latency_ms=self.latency,
            round=Round(0) if status is None else status.round,
            height=Height(0) if status is None else status.height,
            score=score,
            version="" if status is None else status.version,
            last_seen_ms=now - self.seen,
            clock_ahead_ms=self.ahead,
            training=None if status is None else status.training,
        )
