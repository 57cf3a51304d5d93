"""What misbehaviour costs a peer: points that decay, and a ban for a while once too many have come together (design 8)."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bflcd.errors import Rejection
from bflcd.net.limits import Clock
from bflcd.types import Millis, NodeId

HALF_LIFE: Final = Millis(60_000)
"""Milliseconds after which half of a peer's points are forgotten."""

BAN_SCORE: Final = -100.0
"""Below this a peer is disconnected and banned."""

BAN_TIME: Final = Millis(60_000)
"""First ban, milliseconds; each further one lasts twice as long, up to MAX_BAN_TIME."""

MAX_BAN_TIME: Final = Millis(3_600_000)
"""An hour: a software fault that is mended must not shut a member out for ever. Real exclusion is the alliance's (kick)."""

MAX_SCORED: Final = 4_096
"""Members whose points are remembered, and as many strangers; of each the one that was quiet longest is forgotten first."""

_DEFAULT_COST: Final = 10.0

COSTS: Final[dict[Rejection, float]] = {
    Rejection.BAD_BLOB: 40.0,  # a chunk that does not hash: no honest store serves one
    Rejection.BAD_CERTIFICATE: 40.0,  # a forged certificate
    Rejection.BAD_LINK: 40.0,
    Rejection.MALFORMED: 25.0,
    Rejection.TOO_LARGE: 25.0,
    Rejection.UNKNOWN_KIND: 10.0,  # a newer version may speak of things that we don't know
    Rejection.BAD_SIGNATURE: 10.0,
    Rejection.WRONG_CHAIN: 10.0,
    Rejection.NOT_MEMBER: 5.0,
    Rejection.BUSY: 2.0,  # one request above its rate
    Rejection.REFUSED: 1.0,
    Rejection.WRONG_ROUND: 0.0,  # lag, not malice
    Rejection.WRONG_VIEW: 0.0,
    Rejection.DUPLICATE: 0.0,
    Rejection.UNAVAILABLE: 0.0,
}
"""Points by what was done; anything else costs the default."""


@dataclass(frozen=True, slots=True)
class _Record:
    points: float
    updated: Millis
    banned_until: Millis
    bans: int


class PeerScores:
    """Points of each peer: 0 is spotless, below BAN_SCORE is banned. `is_banned` is safe to call in any thread.

    Strangers cost nothing to make, so they have a place of their own: no number of them makes a member's ban forgotten.
    """

    __slots__ = ("_is_member", "_members", "_now", "_strangers")

    def __init__(self, now: Clock, is_member: Callable[[NodeId], bool] = lambda _peer: True) -> None:
        self._now = now
        self._is_member = is_member
        self._members: OrderedDict[NodeId, _Record] = OrderedDict()
        self._strangers: OrderedDict[NodeId, _Record] = OrderedDict()

    def punish(self, peer: NodeId, rejection: Rejection) -> bool:
        """Charge `peer` for `rejection`; True if that has just banned it."""
        now = self._now()
        record = self._record(peer) or _Record(0.0, now, Millis(0), 0)
        points = _decayed(record, now) - COSTS.get(rejection, _DEFAULT_COST)
        banned_now = points < BAN_SCORE and record.banned_until <= now
        if banned_now:
            length = min(BAN_TIME * 2 ** min(record.bans, 16), MAX_BAN_TIME)
            record = _Record(0.0, now, Millis(now + length), record.bans + 1)
        else:
            record = _Record(points, now, record.banned_until, record.bans)
        self._keep(peer, record)
        return banned_now

    def score(self, peer: NodeId) -> float:
        """Points now, at most 0."""
        record = self._record(peer)
        return 0.0 if record is None else _decayed(record, self._now())

    def is_banned(self, peer: NodeId) -> bool:
        """Whether `peer` may have no connection at present."""
        record = self._record(peer)
        return record is not None and record.banned_until > self._now()

    def banned(self) -> tuple[NodeId, ...]:
        """Peers that are banned at present, members first."""
        now = self._now()
        records = (*self._members.items(), *self._strangers.items())
        return tuple(peer for peer, record in records if record.banned_until > now)

    def _record(self, peer: NodeId) -> _Record | None:
        return self._members.get(peer) or self._strangers.get(peer)

    def _keep(self, peer: NodeId, record: _Record) -> None:
        """Where it belongs now: a stranger may have become a member."""
        records, others = (self._members, self._strangers) if self._is_member(peer) else (self._strangers, self._members)
        records[peer] = record
        records.move_to_end(peer)
        others.pop(peer, None)
        if len(records) > MAX_SCORED:
            records.popitem(last=False)


def _decayed(record: _Record, now: Millis) -> float:
    return float(record.points * 0.5 ** (max(0, now - record.updated) / HALF_LIFE))
