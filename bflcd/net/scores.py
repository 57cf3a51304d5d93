"""What misbehaviour costs a peer: points that decay, and a ban for a while once too many have come together (design 8)."""

from collections import OrderedDict
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
"""Peers whose points are remembered; the one that was quiet longest is forgotten first."""

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
    """Points of each peer: 0 is spotless, below BAN_SCORE is banned. `is_banned` is safe to call in any thread."""

    __slots__ = ("_now", "_records")

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._records: OrderedDict[NodeId, _Record] = OrderedDict()

    def punish(self, peer: NodeId, rejection: Rejection) -> bool:
        """Charge `peer` for `rejection`; True if that has just banned it."""
        now = self._now()
        record = self._records.get(peer, _Record(0.0, now, Millis(0), 0))
        points = _decayed(record, now) - COSTS.get(rejection, _DEFAULT_COST)
        banned_now = points < BAN_SCORE and record.banned_until <= now
        if banned_now:
            length = min(BAN_TIME * 2 ** min(record.bans, 16), MAX_BAN_TIME)
            record = _Record(0.0, now, Millis(now + length), record.bans + 1)
        else:
            record = _Record(points, now, record.banned_until, record.bans)
        self._records[peer] = record
        self._records.move_to_end(peer)
        if len(self._records) > MAX_SCORED:
            self._records.popitem(last=False)
        return banned_now

    def score(self, peer: NodeId) -> float:
        """Points now, at most 0."""
        record = self._records.get(peer)
        return 0.0 if record is None else _decayed(record, self._now())

    def is_banned(self, peer: NodeId) -> bool:
        """Whether `peer` may have no connection at present."""
        record = self._records.get(peer)
        return record is not None and record.banned_until > self._now()

    def banned(self) -> tuple[NodeId, ...]:
        """Peers that are banned at present."""
        now = self._now()
        return tuple(peer for peer, record in self._records.items() if record.banned_until > now)


def _decayed(record: _Record, now: Millis) -> float:
    return float(record.points * 0.5 ** (max(0, now - record.updated) / HALF_LIFE))
