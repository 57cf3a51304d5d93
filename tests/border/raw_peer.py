"""A peer of the attackers' own: any identity, whole requests, and the streams and frames below them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import trio

from bflcd.crypto.identity import Identity
from bflcd.errors import DialError, PeerError, RequestError
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import TOPIC
from bflcd.net.libp2p import Libp2pTransport
from bflcd.wire.requests import Request
from tests.border.attack import Victim
from tests.helpers.network import real_now

R = TypeVar("R")

DIAL_SECONDS = 5.0


class RawPeer:
    """One transport that obeys nobody's limits."""

    def __init__(self, identity: Identity, hears: Callable[[bytes], None] = lambda _: None) -> None:
        """`hears` is told each gossip message."""

        def heard(_peer: object, message: bytes) -> bool:
            hears(message)
            return True

        self.transport = Libp2pTransport(identity, ("/ip4/127.0.0.1/tcp/0",), lambda _: True)
        self.exchange = Exchange(self.transport, is_member=lambda _: True, now=real_now)
        self.transport.subscribe(TOPIC, heard)

    async def dial(self, victim: Victim) -> bool:
        """Whether it let us in."""
        try:
            await self.transport.dial(victim.address, DIAL_SECONDS)
        except DialError:
            return False
        return True

    async def ask(self, victim: Victim, request: Request[R], deadline: float = DIAL_SECONDS) -> R | None:
        """Its reply, or None for a refusal or silence."""
        try:
            return await self.exchange.ask(victim.node_id, request, deadline=deadline)
        except (PeerError, RequestError):
            return None

    async def with_connection(self, victim: Victim, function: Callable[[Any], Awaitable[None]]) -> None:
        """Do something with the open connection, in the network's thread; that the victim ends it is what it should do."""

        async def work() -> None:
            node = self.transport._node
            connection = None if node is None else node._switch.connections.get(victim.node_id)
            if connection is not None:
                with suppress(Exception):  # the library has a dozen ways to say that a connection is gone
                    await function(connection)

        await self.transport._bridge.call(work)


@asynccontextmanager
async def raw_peer(identity: Identity | None = None, hears: Callable[[bytes], None] = lambda _: None) -> AsyncIterator[RawPeer]:
    """A started peer; without an identity it is a stranger."""
    peer = RawPeer(Identity.generate() if identity is None else identity, hears)
    await peer.transport.start()
    try:
        yield peer
    finally:
        await peer.transport.close()


def until(seconds: float) -> Callable[[], bool]:
    """Whether there is time left."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def varint(number: int) -> bytes:
    """As protobuf and multistream write lengths."""
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


async def write_for(stream: Any, data: bytes, seconds: float) -> None:
    """Write as much as is taken within some time, in the network's thread."""
    with trio.move_on_after(seconds):
        await stream.write(data)
