"""A bounded queue of gossip that is fair to those who forward it and to those who wrote it.

Whoever forwards a message has a queue of its own, read in turn: a flood takes turns from nobody but its forwarder, and a forger
that writes a victim's name on garbage evicts only what it forwarded itself. Within it each author has a few places, of which the
newest messages win, because machines re-send what still matters and old news does not.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from bflcd.types import Millis, NodeId

PER_AUTHOR: Final = 64
"""Messages of one author through one forwarder: a round's beacon, offer, card and votes of a dozen views."""

PER_FORWARDER: Final = 1_024
"""Messages through one forwarder: two votes each of the largest committee, four times over."""

INBOX_BYTES: Final = 32 * 2**20
"""Bytes of all waiting messages together: 64 of the largest."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """A message in the queue: through whom it came, by whom it says to be, how many bytes it was, and since when it waits."""

    forwarder: NodeId
    author: NodeId
    message: T
    size: int
    since: Millis


class _Lane(Generic[T]):
    """One forwarder's messages: oldest first, and how many each author has."""

    __slots__ = ("authors", "items", "size")

    def __init__(self) -> None:
        self.items: deque[Waiting[T]] = deque()
        self.authors: dict[NodeId, int] = {}
        self.size = 0

    def push(self, item: Waiting[T]) -> None:
        self.items.append(item)
        self.authors[item.author] = self.authors.get(item.author, 0) + 1
        self.size += item.size

    def pop(self) -> Waiting[T]:
        item = self.items.popleft()
        self._forget(item)
        return item

    def drop_oldest_of(self, author: NodeId) -> None:
        for position, item in enumerate(self.items):
            if item.author == author:
                del self.items[position]
                self._forget(item)
                return

    def _forget(self, item: Waiting[T]) -> None:
        self.authors[item.author] -= 1
        if not self.authors[item.author]:
            del self.authors[item.author]
        self.size -= item.size


class Inbox(Generic[T]):
    """Takes messages without blocking and gives them to one reader, one of each forwarder in turn."""

    def __init__(self, *, per_author: int = PER_AUTHOR, per_forwarder: int = PER_FORWARDER, max_bytes: int = INBOX_BYTES) -> None:
        self._per_author = per_author
        self._per_forwarder = per_forwarder
        self._max_bytes = max_bytes
        self._lanes: OrderedDict[NodeId, _Lane[T]] = OrderedDict()
        self._size = 0
        self._arrived = asyncio.Event()

    def has_room(self, forwarder: NodeId, author: NodeId, size: int) -> bool:
        """Whether a message can be queued without dropping another."""
        if self._size + size > self._max_bytes:
            return False
        lane = self._lanes.get(forwarder)
        return lane is None or (len(lane.items) < self._per_forwarder and lane.authors.get(author, 0) < self._per_author)

    def put(self, item: Waiting[T]) -> None:
        """Queue a message; drops an older one of the same author, of the same forwarder, or of the fullest forwarder."""
        lane = self._lanes.setdefault(item.forwarder, _Lane())
        before = lane.size
        if lane.authors.get(item.author, 0) >= self._per_author:
            lane.drop_oldest_of(item.author)
        elif len(lane.items) >= self._per_forwarder:
            lane.pop()
        lane.push(item)
        self._size += lane.size - before
        while self._size > self._max_bytes:
            self._drop_from_fullest()
        self._arrived.set()

    async def get(self) -> Waiting[T]:
        """The next message; waits for one."""
        while not self._lanes:
            self._arrived.clear()
            await self._arrived.wait()
        forwarder, lane = next(iter(self._lanes.items()))
        item = lane.pop()
        self._size -= item.size
        if lane.items:
            self._lanes.move_to_end(forwarder)
        else:
            del self._lanes[forwarder]
        return item

    def oldest(self) -> Millis | None:
        """Since when the message waits that has waited longest, None if none does."""
        return min((lane.items[0].since for lane in self._lanes.values()), default=None)

    def __len__(self) -> int:
        return sum(len(lane.items) for lane in self._lanes.values())

    def _drop_from_fullest(self) -> None:
        forwarder, lane = max(self._lanes.items(), key=lambda entry: entry[1].size)
        self._size -= lane.pop().size
        if not lane.items:
            del self._lanes[forwarder]
