"""How much gossip comes through whom: of each neighbour in packets, of each author in messages that it signed itself."""

from bflcd.net.libp2p.budget import (
    CONTROL_BYTES,
    FORWARDED_BYTES,
    FORWARDED_MESSAGES,
    PUBLISHED_BYTES,
    PUBLISHED_MESSAGES,
    WANTED_BYTES,
    now,
)
from bflcd.net.limits import PeerBuckets
from bflcd.types import NodeId


class Allowances:
    """One set of buckets for all neighbours and authors. What is taken is spent, whatever becomes of it."""

    def __init__(self) -> None:
        self._control = PeerBuckets(CONTROL_BYTES, now)
        self._packets = PeerBuckets(FORWARDED_BYTES, now)
        self._messages = PeerBuckets(FORWARDED_MESSAGES, now)
        self._wanted = PeerBuckets(WANTED_BYTES, now)
        self._published = PeerBuckets(PUBLISHED_MESSAGES, now)
        self._published_bytes = PeerBuckets(PUBLISHED_BYTES, now)

    def control(self, neighbour: NodeId, size: int) -> bool:
        """Whether a neighbour may send so many bytes of control."""
        return self._control.take(neighbour, size)

    def packet(self, neighbour: NodeId, size: int, messages: int) -> bool:
        """Whether a neighbour's packet is worth parsing: it brings no more than all its authors together may say."""
        return self._packets.take(neighbour, size) and self._messages.take(neighbour, messages)

    def want(self, neighbour: NodeId, size: int) -> bool:
        """Whether a neighbour may have a message of so many bytes that it asks for."""
        return self._wanted.take(neighbour, size)

    def publish(self, author: NodeId, size: int) -> bool:
        """Whether an author may have signed one more message of so many bytes."""
        return self._published.take(author) and self._published_bytes.take(author, size)
