"""What gossip has brought: message ids, so that a copy ends here, and who has just said the same."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from bflcd.types import NodeId

MAX_SEEN: Final = 16_384
"""Message ids remembered to drop duplicates: some minutes of a busy community of hundreds."""

SEEN_S: Final = 120.0
"""How long a message id is remembered; GossipSub's usual time. No message is announced again after a few heartbeats."""

SAME_S: Final = 2.0
"""How long what one has said is not heard of another: seats announce one certificate within a moment. After it that is heard."""

MAX_SAME: Final = 1_024
"""Messages remembered for that."""


class Seen:
    """The message ids of the last `SEEN_S` seconds, at most `MAX_SEEN`; stands in for the library's cache, which has a thread of
    its own and no bound.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ids: OrderedDict[bytes, float] = OrderedDict()
        self._clock = clock

    def add(self, message_id: bytes) -> bool:
        """Remember an id; whether it is new."""
        if message_id in self._ids:
            return False
        now = self._clock()
        self._ids[message_id] = now
        while len(self._ids) > MAX_SEEN or now - next(iter(self._ids.values())) > SEEN_S:
            self._ids.popitem(last=False)
        return True

    def has(self, message_id: bytes) -> bool:
        """Whether an id is remembered."""
        return message_id in self._ids


class Told:
    """Who said what within the last `SAME_S` seconds. Knows hashes only, which differ from process to process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._first: OrderedDict[int, tuple[NodeId, float]] = OrderedDict()
        self._clock = clock

    def by_another(self, publisher: NodeId, data: bytes) -> bool:
        """Whether another one has just said the same; else `publisher` has, from now on."""
        key, now = hash(data), self._clock()
        first = self._first.get(key)
        if first is not None and first[0] != publisher and now - first[1] <= SAME_S:
            return True
        self._first[key] = (publisher, now)
        self._first.move_to_end(key)
        if len(self._first) > MAX_SAME:
            self._first.popitem(last=False)
        return False
