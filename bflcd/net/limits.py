"""Token buckets: how much of a thing a peer may have per second, and how much at once."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bflcd.types import Millis, NodeId

Clock = Callable[[], Millis]
"""Milliseconds of a clock that never goes back; its zero means nothing."""

MAX_BUCKETS: Final = 1024
"""Peers whose rate is remembered at a time; the one that was quiet longest is forgotten first, and is full again by then."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Units per second on average, and the most at once."""

    per_second: float
    burst: float


class TokenBucket:
    """Fills at `rate.per_second` up to `rate.burst`; the time is an argument."""

    __slots__ = ("_level", "_rate", "_updated")

    def __init__(self, rate: Rate, now: Millis) -> None:
        self._rate = rate
        self._level = rate.burst
        self._updated = now

    def take(self, amount: float, now: Millis) -> bool:
        """Take `amount` if it is there; otherwise take nothing and say False."""
        self._fill(now)
        if self._level < amount:
            return False
        self._level -= amount
        return True

    def charge(self, amount: float, now: Millis) -> float:
        """Take `amount` even into debt, for what can't be taken back; returns the seconds until the debt is paid."""
        self._fill(now)
        self._level -= amount
        return max(0.0, -self._level / self._rate.per_second)

    def _fill(self, now: Millis) -> None:
        elapsed = max(0, now - self._updated) / 1000
        self._level = min(self._rate.burst, self._level + elapsed * self._rate.per_second)
        self._updated = now


class PeerBuckets:
    """One token bucket a peer, for at most MAX_BUCKETS peers."""

    __slots__ = ("_buckets", "_now", "_rate")

    def __init__(self, rate: Rate, now: Clock) -> None:
        self._rate = rate
        self._now = now
        self._buckets: OrderedDict[NodeId, TokenBucket] = OrderedDict()

    def take(self, peer: NodeId, amount: float = 1.0) -> bool:
        """Whether `peer` may have `amount` now; if so, it is taken."""
        return self._bucket(peer).take(amount, self._now())

    def charge(self, peer: NodeId, amount: float) -> float:
        """Book `amount` on `peer`; returns the seconds that it has to wait for it."""
        return self._bucket(peer).charge(amount, self._now())

    def _bucket(self, peer: NodeId) -> TokenBucket:
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = TokenBucket(self._rate, self._now())
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(peer)
        return bucket
