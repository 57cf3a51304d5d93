"""One wave of a blob's transfer: missing chunks shared out over all holders that are usable, a few in flight to each.

The wave ends when nothing is missing, or when no holder is left. A holder that fails gives its chunks back to the others. Near
the end, who is idle also fetches what another has owed for a while; the first to deliver wins.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bflcd.errors import PeerError, RequestError
from bflcd.net.blobs.holders import Holders
from bflcd.net.limits import Clock
from bflcd.types import Digest, Millis, NodeId

GetVerified = Callable[[NodeId, int], Awaitable[bytes]]
"""One verified chunk from one holder. Raises PeerError, RequestError."""

PutChunk = Callable[[Digest, int, bytes], Awaitable[None]]

RECRUIT_SECONDS: Final = 1.0
"""How often the list of holders is looked at again for newcomers, and for those whose pause is over."""


class ChunkTransfer:
    """Fetches the `missing` indices (emptied as chunks are stored) of the blob with this root."""

    def __init__(
        self,
        root: Digest,
        missing: set[int],
        *,
        get: GetVerified,
        put: PutChunk,
        asked: Holders,
        now: Clock,
        patience: float,
    ) -> None:
        self._root = root
        self._missing = missing
        self._get = get
        self._put = put
        self._asked = asked
        self._now = now
        self._patience = Millis(int(patience * 1000))
        self._queue = deque(sorted(missing))
        self._in_flight: dict[int, dict[NodeId, Millis]] = {}
        self._storing: set[int] = set()
        self._changed = asyncio.Event()

    async def run(self, nodes: Callable[[], Sequence[NodeId]], window: int) -> None:
        """Work until nothing is missing or no holder is usable. What the store raises is raised."""
        working: dict[NodeId, list[asyncio.Task[None]]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                while self._missing:
                    for node in self._asked.usable(nodes()):
                        if all(task.done() for task in working.get(node, ())):
                            working[node] = [group.create_task(self._work(node)) for _ in range(window)]
                    if all(task.done() for tasks in working.values() for task in tasks):
                        return
                    self._changed.clear()
                    await self._change(RECRUIT_SECONDS)
                for tasks in working.values():
                    for task in tasks:
                        task.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _work(self, node: NodeId) -> None:
        """One of a holder's workers: chunk after chunk, until there is nothing left or the holder has failed."""
        try:
            while self._missing and self._asked.is_usable(node):
                index = self._take(node)
                if index is None:
                    self._changed.clear()
                    await self._change(self._patience / 2000)
                else:
                    await self._one(node, index)
        finally:
            self._changed.set()

    async def _one(self, node: NodeId, index: int) -> None:
        holders = self._in_flight.setdefault(index, {})
        holders[node] = self._now()
        try:
            data = await self._get(node, index)
            self._asked.answered(node)
            if index in self._missing and index not in self._storing:
                self._storing.add(index)
                await self._put(self._root, index, data)
                self._missing.discard(index)
        except (PeerError, RequestError) as error:
            self._asked.failed(node, error)
        finally:
            del holders[node]
            if not holders:
                del self._in_flight[index]
                if index in self._missing:
                    self._queue.appendleft(index)
            self._changed.set()

    def _take(self, node: NodeId) -> int | None:
        """The next chunk for a holder: one that nobody fetches, else one that others have owed for too long."""
        if self._queue:
            return self._queue.popleft()
        overdue = self._now() - self._patience
        for index, holders in self._in_flight.items():
            if node not in holders and index not in self._storing and max(holders.values()) <= overdue:
                return index
        return None

    async def _change(self, seconds: float) -> None:
        try:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
