"""The daemon's members and channels, as the interpreter sees them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from bflcd.errors import RequestError
from bflcd.node.runtime.ports import Answers
from bflcd.types import NodeId, short
from bflcd.wire.messages import Gossip

logger = logging.getLogger(__name__)


class Channel(Protocol):
    """The part of gossip that sends."""

    async def publish(self, message: Gossip) -> None:
        """Gossip a message."""
        ...

    async def push(self, peer: NodeId, message: Gossip) -> bool:
        """Bring a message straight to one peer; whether it was taken in. Raises RequestError."""
        ...


class Connections(Protocol):
    """The part of the peer manager that knows who is connected."""

    def members(self) -> tuple[NodeId, ...]:
        """Connected members."""
        ...

    def connection(self, peer: NodeId) -> int | None:
        """As `ports.Network`."""
        ...


class PeerNetwork:
    """Implements `ports.Network`."""

    def __init__(self, channel: Channel, peers: Connections) -> None:
        self._channel = channel
        self._peers = peers

    def connected(self) -> tuple[NodeId, ...]:
        """See `Network`."""
        return self._peers.members()

    def connection(self, peer: NodeId) -> int | None:
        """See `Network`."""
        return self._peers.connection(peer)

    async def publish(self, message: Gossip) -> None:
        """See `Network`."""
        await self._channel.publish(message)

    async def push(self, message: Gossip, to: Sequence[NodeId]) -> Answers:
        """See `Network`."""
        taken = dict(zip(to, await asyncio.gather(*(self._push(peer, message) for peer in to)), strict=True))
        return Answers(
            frozenset(peer for peer, answer in taken.items() if answer),
            frozenset(peer for peer, answer in taken.items() if answer is None),
        )

    async def _push(self, peer: NodeId, message: Gossip) -> bool | None:
        try:
            return await self._channel.push(peer, message)
        except RequestError as error:
            logger.debug("a push to %s failed, the message is gossiped: %s", short(peer), error)
            return None
