"""Transports for tests: the same few calls over both kinds, on loopback or in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p import Libp2pTransport
from bflcd.net.memory import MemoryNetwork, MemoryTransport
from bflcd.net.protocol import Connected, Disconnected, PeerEvent, Transport
from bflcd.types import NodeId
from tests.helpers.network import identity, own_identity

KINDS = ("memory", "libp2p")
TOPIC = "/bflc/test/1"
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
SECONDS = 5.0
"""Deadline for what takes milliseconds on an idle machine."""


@dataclass
class Member:
    """One transport, and all that it has seen."""

    identity: Identity
    transport: Transport
    events: list[PeerEvent] = field(default_factory=list)
    gossip: list[tuple[NodeId, bytes]] = field(default_factory=list)
    barred: set[NodeId] = field(default_factory=set)

    @property
    def node_id(self) -> NodeId:
        return self.identity.node_id

    @property
    def address(self) -> str:
        return self.transport.addresses()[0]

    @property
    def peers(self) -> list[NodeId]:
        return [info.peer for info in self.transport.connections()]

    def saw_connected(self, peer: NodeId) -> bool:
        return any(isinstance(event, Connected) and event.peer == peer for event in self.events)

    def saw_disconnected(self, peer: NodeId) -> bool:
        return Disconnected(peer) in self.events


class Community:
    """Makes members of one kind of transport and closes them all at the end."""

    def __init__(self, kind: str, seed: int = 1) -> None:
        self.kind = kind
        self.network = MemoryNetwork(seed)
        self._members: list[Member] = []

    def identity(self, number: int) -> Identity:
        return own_identity(number) if self.kind == "libp2p" else identity(number)

    def make(self, number: int, listen: str | None = None) -> Member:
        """A member that is not started yet; `listen` is an address that an earlier one had."""
        identity = self.identity(number)
        barred: set[NodeId] = set()

        def gate(peer: NodeId) -> bool:
            return peer not in barred

        transport: Transport
        if self.kind == "memory":
            transport = MemoryTransport(self.network, identity, gate, int(listen.split("/")[2]) if listen else 0)
        else:
            transport = Libp2pTransport(identity, (listen.partition("/p2p/")[0] if listen else LOOPBACK,), gate)
        member = Member(identity, transport, barred=barred)
        transport.on_peer_event(member.events.append)
        transport.subscribe(TOPIC, lambda peer, message: member.gossip.append((peer, message)) is None)
        self._members.append(member)
        return member

    async def start(self, number: int, listen: str | None = None) -> Member:
        """A started member that echoes, and answers with as many bytes as it is asked for."""
        member = self.make(number, listen)
        serve_basics(member.transport)
        await member.transport.start()
        return member

    async def close(self) -> None:
        for member in self._members:
            await member.transport.close()


def serve_basics(transport: Transport) -> None:
    """Protocols that most tests use."""

    async def echo(_peer: NodeId, request: bytes) -> bytes:
        return request

    async def size(_peer: NodeId, request: bytes) -> bytes:
        return bytes(int(request))

    async def fail(_peer: NodeId, _request: bytes) -> bytes:
        raise ValueError("this handler always fails")

    async def hang(_peer: NodeId, _request: bytes) -> bytes:
        await asyncio.sleep(3600)
        return b""

    transport.serve("/test/echo/1", echo, max_request=1024 * 1024, max_concurrent=16)
    transport.serve("/test/size/1", size, max_request=32, max_concurrent=16)
    transport.serve("/test/fail/1", fail, max_request=32, max_concurrent=16)
    transport.serve("/test/hang/1", hang, max_request=32, max_concurrent=16)


async def echo(member: Member, peer: NodeId, payload: bytes, deadline: float = SECONDS) -> bytes:
    return await member.transport.request(peer, "/test/echo/1", payload, deadline=deadline, max_response=1024 * 1024)


async def eventually(condition: Callable[[], bool], within: float = SECONDS) -> None:
    """Wait until `condition` holds; fail after `within` seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"did not happen within {within} s"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def community(kind: str) -> AsyncIterator[Community]:
    members = Community(kind)
    try:
        yield members
    finally:
        await members.close()
