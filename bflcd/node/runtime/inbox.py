"""The daemon's queue of events for the core, on asyncio."""

import asyncio
from collections import deque
from typing import Final

from bflcd.core.events import Event
from bflcd.node.runtime.clock import clock
from bflcd.node.runtime.ports import Delivered
from bflcd.types import Millis

MAX_QUEUE: Final = 4096
"""Events that wait for the core; gossip waits in its own bounded inbox before that."""


class _DatedQueue(asyncio.Queue[Delivered]):
    """Knows since when each of its events waits, by the hooks that the base class has for this."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.since: deque[Millis] = deque()

    def _put(self, item: Delivered) -> None:
        super()._put(item)
        self.since.append(clock())

    def _get(self) -> Delivered:
        self.since.popleft()
        return super()._get()


class QueueInbox:
    """Implements `ports.Inbox`."""

    def __init__(self) -> None:
        self._queue = _DatedQueue(MAX_QUEUE)
        self._first: Delivered | None = None
        """What `wait` has drawn already."""

    def oldest(self) -> Millis | None:
        """Since when the event waits that is next, None if none does."""
        return self._queue.since[0] if self._queue.since else None

    async def put(self, event: Event) -> None:
        """See `Inbox`."""
        await self._queue.put(Delivered(event))

    async def settle(self, event: Event) -> None:
        """See `Inbox`."""
        done = asyncio.Event()
        await self._queue.put(Delivered(event, done.set))
        await done.wait()

    def take(self) -> Delivered | None:
        """See `Inbox`."""
        first, self._first = self._first, None
        if first is not None:
            return first
        return None if self._queue.empty() else self._queue.get_nowait()

    async def wait(self, until: Millis | None) -> None:
        """See `Inbox`."""
        if self._first is not None:
            return
        try:
            async with asyncio.timeout(None if until is None else max(0, until - clock()) / 1000):
                self._first = await self._queue.get()
        except TimeoutError:
            return
