"""How long to wait for a peer's answer: by what its answers took (RFC 6298), within bounds.

A fixed time is too short where everybody is slow: what is under way is said again another way, and all become slower still.
"""

from collections import OrderedDict
from dataclasses import dataclass

from bflcd.net.limits import MAX_BUCKETS
from bflcd.types import NodeId


@dataclass(slots=True)
class _Estimate:
    smoothed: float
    variation: float
    backed_off: int = 0


class RoundTrips:
    """Of at most `MAX_BUCKETS` peers, the one measured longest ago being forgotten first. All times are seconds."""

    def __init__(self, least: float, most: float) -> None:
        """`least`: also the time for who was never measured."""
        self._least = least
        self._most = most
        self._estimates: OrderedDict[NodeId, _Estimate] = OrderedDict()

    def timeout(self, peer: NodeId) -> float:
        """How long to wait now."""
        found = self._estimates.get(peer)
        if found is None:
            return self._least
        usual = max(self._least, found.smoothed + 4 * found.variation)
        return min(self._most, usual * 2.0**found.backed_off)

    def answered(self, peer: NodeId, seconds: float) -> None:
        """An answer took so long."""
        found = self._estimates.get(peer)
        if found is None:
            self._keep(peer, _Estimate(seconds, seconds / 2))
            return
        found.variation += (abs(found.smoothed - seconds) - found.variation) / 4
        found.smoothed += (seconds - found.smoothed) / 8
        found.backed_off = 0
        self._estimates.move_to_end(peer)

    def silent(self, peer: NodeId) -> None:
        """No answer came in time: the next one gets twice as long."""
        if self.timeout(peer) < self._most:
            found = self._estimates.get(peer)
            if found is None:
                found = _Estimate(0.0, 0.0)
                self._keep(peer, found)
            found.backed_off += 1

    def _keep(self, peer: NodeId, estimate: _Estimate) -> None:
        self._estimates[peer] = estimate
        if len(self._estimates) > MAX_BUCKETS:
            self._estimates.popitem(last=False)
