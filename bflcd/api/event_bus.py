"""Events and log lines for whoever watches the node: two bounded rings, in which every reader keeps only a place of its own.

A slow reader costs nothing: the ring goes on without it, and it finds a `gap` in place of what it missed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from itertools import islice
from typing import Final

from bflcd.api.schema.events import Event, LogView
from bflcd.core.node_events import EventKind
from bflcd.errors import OperatorError
from bflcd.types import Millis

EVENT_RING: Final = 2048
"""Events kept for replay: some 50 rounds of a community of ten, under 2 MiB."""

LOG_RING: Final = 2000
"""Log lines kept for `logs`."""

MAX_LINE_CHARS: Final = 4096
"""A longer log line is cut: bounds the ring at 8 MiB."""

MAX_WATCHERS: Final = 16
"""Event streams at a time."""

MAX_READ: Final = 256
"""Events copied from the ring at a time."""

Field = str | int | float | bool | None


class EventBus:
    """A bounded ring of numbered events. Publishing never waits; all of it runs in the event loop's thread."""

    def __init__(
        self,
        clock: Callable[[], Millis],
        count: Callable[[EventKind], None],
        *,
        capacity: int = EVENT_RING,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        """`clock`: Unix milliseconds; `count`: told the kind of every event published and every gap given."""
        self._clock = clock
        self._count = count
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._last = 0
        self._closed = False
        self._wakers: set[asyncio.Event] = set()
        self._max_watchers = max_watchers

    def publish(self, kind: EventKind, round_: int, text: str, **fields: Field) -> Event:
        """Add an event and wake its readers. After `close` it is still numbered, and nobody hears it."""
        self._last += 1
        self._count(kind)
        event = Event(seq=self._last, time=self._clock(), type=kind, round=round_, text=text, fields=fields)
        self._ring.append(event)
        for waker in self._wakers:
            waker.set()
        return event

    def close(self) -> None:
        """End every stream once it has given what is there."""
        self._closed = True
        for waker in self._wakers:
            waker.set()

    def stream(self, after_seq: int | None) -> AsyncGenerator[Event, None]:
        """Events numbered above `after_seq`, then new ones until `close`; None gives only new ones.

        What the ring has dropped, or a number from before a restart, shows as one `EventKind.GAP` with the number of the last
        event that is missing. Raises OperatorError(code="busy") above the limit of readers.
        """
        if len(self._wakers) >= self._max_watchers:
            raise OperatorError(
                f"{self._max_watchers} event streams are open already", hint="close one of the watching commands", code="busy"
            )
        return self._stream(self._last if after_seq is None else after_seq)

    async def _stream(self, place: int) -> AsyncGenerator[Event, None]:
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                waker.clear()
                batch = self._after(place)
                for event in batch:
                    place = event.seq
                    yield event
                if not batch:
                    if self._closed:
                        return
                    await waker.wait()
        finally:
            self._wakers.discard(waker)

    def _after(self, place: int) -> list[Event]:
        """The next events above `place`, a gap first where some are gone."""
        first = self._last - len(self._ring) + 1
        if place > self._last:
            return [self._gap(first - 1, f"the daemon started again: it has no event {place}"), *islice(self._ring, MAX_READ)]
        if place < first - 1:
            missed = first - 1 - place
            return [self._gap(first - 1, f"{missed} events were dropped"), *islice(self._ring, MAX_READ)]
        start = place - first + 1
        return list(islice(self._ring, start, start + MAX_READ))

    def _gap(self, seq: int, text: str) -> Event:
        self._count(EventKind.GAP)
        return Event(seq=seq, time=self._clock(), type=EventKind.GAP, round=0, text=text)


class LogRing(logging.Handler):
    """Keeps the newest formatted log lines; may be fed from any thread."""

    def __init__(self, capacity: int = LOG_RING) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=capacity)
        self._last = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Format and keep; `logging.Handler.handle` holds the lock."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a log line that can't be formatted must not stop what it speaks of
            self.handleError(record)
            return
        self._lines.append(line[:MAX_LINE_CHARS])
        self._last += 1

    def read(self, lines: int, after: int) -> LogView:
        """At most `lines` of the newest lines numbered above `after`; a number from before a restart counts as 0."""
        self.acquire()
        try:
            newer = self._last - after if 0 <= after <= self._last else self._last
            count = max(0, min(lines, newer, len(self._lines)))
            return LogView(last=self._last, lines=list(islice(self._lines, len(self._lines) - count, None)))
        finally:
            self.release()
