"""The daemon's members and channels, as the interpreter sees them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from bflcd.errors import RequestError
from bflcd.types import NodeId, short
from bflcd.wire.messages import Gossip

logger = logging.getLogger(__name__)


class Channel(Protocol):
    """The part of gossip that sends."""

    async def publish(self, message: Gossip) -> None:
        """Gossip a message."""
        ...

    async def push(self, peer: NodeId, message: Gossip) -> None:
        """Bring a message straight to one peer. Raises RequestError."""
        ...


class PeerNetwork:
    """Implements `ports.Network`."""

    def __init__(self, channel: Channel, members: Callable[[], tuple[NodeId, ...]]) -> None:
        """`members`: those that are connected now."""
        self._channel = channel
        self._members = members

    def connected(self) -> tuple[NodeId, ...]:
        """See `Network`."""
        return self._members()

    async def publish(self, message: Gossip) -> None:
        """See `Network`."""
        await self._channel.publish(message)

    async def push(self, message: Gossip, to: Sequence[NodeId]) -> bool:
        """See `Network`."""
        return all(await asyncio.gather(*(self._push(peer, message) for peer in to)))

    async def _push(self, peer: NodeId, message: Gossip) -> bool:
        try:
            await self._channel.push(peer, message)
        except RequestError as error:
            logger.debug("a push to %s failed, the message is gossiped: %s", short(peer), error)
            return False
        return True
