"""The daemon's members and channels, as the interpreter sees them."""

import logging
from typing import Protocol

from bflcd.errors import RequestError
from bflcd.node.runtime.ports import Pushed
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

    async def push(self, message: Gossip, peer: NodeId) -> Pushed:
        """See `Network`."""
        try:
            return Pushed.TAKEN_IN if await self._channel.push(peer, message) else Pushed.NOT_NOW
        except RequestError as error:
            logger.debug("a push to %s failed: %s", short(peer), error)
            return Pushed.LOST
