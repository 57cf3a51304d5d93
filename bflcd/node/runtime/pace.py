"""How long those answer now whom something was pushed to: what is still awaited counts with the time that it has taken so far."""

from collections.abc import Callable, Iterable

from bflcd.types import Millis, NodeId


class Pace:
    """Of each peer the time that its answers take, smoothed; all times are milliseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._took: dict[NodeId, float] = {}
        self._awaited: dict[NodeId, list[Millis]] = {}

    def begun(self, peer: NodeId, now: Millis) -> None:
        """An answer is awaited from now on."""
        self._awaited.setdefault(peer, []).append(now)

    def ended(self, peer: NodeId, begun: Millis, now: Millis, *, answered: bool) -> None:
        """It came, or is awaited no more: then it would have taken longer than that."""
        awaited = self._awaited[peer]
        awaited.remove(begun)
        if not awaited:
            del self._awaited[peer]
        took, usual = float(now - begun), self._took.get(peer)
        if usual is None:
            self._took[peer] = took
        elif answered:
            self._took[peer] = usual + (took - usual) / 4
        else:
            self._took[peer] = max(usual, took)

    def forget_but(self, keep: Callable[[NodeId], bool]) -> None:
        """Forget what is known of all others."""
        self._took = {peer: took for peer, took in self._took.items() if keep(peer)}

    def of(self, peers: Iterable[NodeId], now: Millis) -> Millis:
        """The lower median of what their answers take; that of all peers if none of them was ever asked."""
        known = self._times(peers, now) or self._times(self._took.keys() | self._awaited.keys(), now)
        return Millis(int(known[(len(known) - 1) // 2])) if known else Millis(0)

    def _times(self, peers: Iterable[NodeId], now: Millis) -> list[float]:
        return sorted(time for peer in peers if (time := self._time(peer, now)) is not None)

    def _time(self, peer: NodeId, now: Millis) -> float | None:
        times = [float(now - begun) for begun in self._awaited.get(peer, ())]
        if peer in self._took:
            times.append(self._took[peer])
        return max(times, default=None)
