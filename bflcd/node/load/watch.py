"""Measures how late this node is, each second, and tells when it is overloaded and when it is no more."""

import time
from collections.abc import Callable
from typing import Final

from bflcd.core.node_events import EventKind
from bflcd.net.limits import Clock
from bflcd.node.load.overload import Lags, Overload, limit_of
from bflcd.node.reporter import Tell
from bflcd.scheduler import Scheduler
from bflcd.types import Millis, Round

PERIOD: Final = 1.0
"""Seconds between two measures. Each wakes an idle process for 0.2 ms: this and the network's thread take 0.05 % together."""


class LoadWatch:
    """One task. Whatever it reads is read in the event loop, without waiting."""

    def __init__(
        self,
        overload: Overload,
        *,
        scheduler: Scheduler,
        network: Callable[[], float],
        queues: tuple[Callable[[], Millis | None], ...],
        now: Clock,
        view_timeout: Callable[[], Millis],
        round_: Callable[[], Round],
        tell: Tell,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        """`network`: seconds by which the network's thread is late; `queues`: since when the oldest message waits in each, by the
        clock `now`; `view_timeout`: T0 of the running round; `processor`: seconds of it that this process has taken."""
        self._overload = overload
        self._scheduler = scheduler
        self._network = network
        self._queues = queues
        self._now = now
        self._view_timeout = view_timeout
        self._round = round_
        self._tell = tell
        self._processor = processor

    async def run(self) -> None:
        """Measure until cancelled."""
        asleep, taken = self._scheduler.now_ns(), self._processor()
        while True:
            await self._scheduler.sleep(PERIOD)
            awake, now_taken = self._scheduler.now_ns(), self._processor()
            elapsed = max(PERIOD, (awake - asleep) / 1e9)
            lags = Lags(elapsed - PERIOD, self._network(), self._waited())
            self._note(lags, elapsed, (now_taken - taken) / elapsed)
            asleep, taken = awake, now_taken

    def _waited(self) -> float:
        """Seconds for which the oldest message waits for the core."""
        now = self._now()
        return max((now - since for queue in self._queues if (since := queue()) is not None), default=0) / 1000

    def _note(self, lags: Lags, elapsed: float, own_share: float) -> None:
        overload = self._overload
        if not overload.note(lags, elapsed=elapsed, own_share=own_share, limit=limit_of(self._view_timeout())):
            return
        if overload.is_on:
            self._tell(EventKind.OVERLOADED, self._round(), overload.text(), lag_ms=round(1000 * overload.lags.worst))
        else:
            text = f"this node keeps up again, after {overload.lasted:.0f} s"
            self._tell(EventKind.KEEPS_UP, self._round(), text, seconds=round(overload.lasted))
