"""Nodes of an in-memory network for tests of what stands on a transport: keys from fixed seeds, a clock that tests move."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bflcd.crypto.hashing import blob_root, chunk_hash, split_chunks
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.net.exchange import Exchange, Handlers
from bflcd.net.memory import MemoryNetwork, MemoryTransport
from bflcd.params import BlobRef
from bflcd.types import Digest, Epoch, Height, Millis, NodeId, Round
from bflcd.wire.requests import Manifest, Status
from bflcd.wire.training import Training

CHAIN = Digest(bytes([7]) * 32)
OTHER_CHAIN = Digest(bytes([9]) * 32)


def identity(number: int) -> Identity:
    return Identity(number.to_bytes(32, "big"))


def own_identity(number: int) -> Identity:
    """One that no other process of the suite has, for daemons over real sockets.

    A daemon of another process that dials on, where this one's daemon has got the port since, would else be taken for the same
    peer who lost its connection, and ours is closed.
    """
    return identity(os.getpid() << 64 | number)


def real_now() -> Millis:
    """Milliseconds of the running loop's clock."""
    return Millis(int(asyncio.get_running_loop().time() * 1000))


@dataclass
class ManualClock:
    """A clock that only tests move."""

    time: int = 0

    def __call__(self) -> Millis:
        return Millis(self.time)


def status(round_: int = 0, chain: Digest = CHAIN) -> Status:
    return Status(
        chain=chain,
        round=Round(round_),
        height=Height(round_ * 7),
        head=chain,
        epoch=Epoch(0),
        oldest_payload=Round(0),
        version="1",
        time=Millis(0),
        training=Training.TRAINS,
    )


class AnyAddress:
    """The rule of a node that dials wherever it is told to: addresses of the memory network lead nowhere else."""

    def own_word(self, text: str, seen: str) -> str:
        return ""

    def hearsay(self, text: str) -> str:
        return ""

    def kept(self, text: str) -> str:
        return ""

    def connecting(self, host: str, port: int) -> str:
        return ""


@dataclass
class ChunkStore:
    """Chunks in memory, with the behaviour of a block store's blobs."""

    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    chunks: dict[tuple[Digest, int], bytes] = field(default_factory=dict)

    async def put_blob(self, data: bytes) -> BlobRef:
        hashes = tuple(chunk_hash(chunk) for chunk in split_chunks(data))
        ref = BlobRef(blob_root(len(data), hashes), len(data))
        self.manifests[ref.root] = Manifest(ref, hashes)
        for index, chunk in enumerate(split_chunks(data)):
            self.chunks[ref.root, index] = bytes(chunk)
        return ref

    async def start_blob(self, manifest: Manifest) -> tuple[int, ...]:
        self.manifests[manifest.blob.root] = manifest
        return tuple(i for i in range(len(manifest.chunks)) if (manifest.blob.root, i) not in self.chunks)

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        assert chunk_hash(data) == self.manifests[root].chunks[index], "only verified chunks may reach the store"
        assert (root, index) not in self.chunks, "no chunk is stored twice"
        self.chunks[root, index] = data
        return await self.has_blob(root)

    async def has_blob(self, root: Digest) -> bool:
        known = self.manifests.get(root)
        return known is not None and all((root, i) in self.chunks for i in range(len(known.chunks)))

    async def manifest(self, root: Digest) -> Manifest | None:
        return self.manifests[root] if await self.has_blob(root) else None

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        return self.chunks.get((root, index)) if await self.has_blob(root) else None

    def blob(self, ref: BlobRef) -> bytes:
        return b"".join(self.chunks[ref.root, i] for i in range(len(self.manifests[ref.root].chunks)))


@dataclass
class Node:
    """One transport with its exchange; `faults` are the misbehaviours that it noticed."""

    transport: MemoryTransport
    exchange: Exchange
    members: set[NodeId]
    faults: list[tuple[NodeId, Rejection]]
    failures: list[Exception]

    @property
    def id(self) -> NodeId:
        return self.transport.node_id

    @property
    def address(self) -> str:
        return self.transport.addresses()[0]

    async def dial(self, other: "Node") -> NodeId:
        return await self.transport.dial(other.address, 2.0)


def build_node(
    network: MemoryNetwork, number: int, members: set[NodeId], now: Callable[[], Millis] = real_now, key: Identity | None = None
) -> Node:
    """A node that is not started yet: handlers are to be registered first. `key`: its identity, if not that of its number."""
    transport = MemoryTransport(network, key or identity(number), lambda _peer: True, number)
    faults: list[tuple[NodeId, Rejection]] = []
    failures: list[Exception] = []
    exchange = Exchange(
        transport,
        is_member=members.__contains__,
        now=now,
        on_misbehaviour=lambda peer, rejection, _text: faults.append((peer, rejection)),
        on_failure=failures.append,
    )
    return Node(transport, exchange, members, faults, failures)


@asynccontextmanager
async def clique(
    handlers: list[Handlers], *, now: Callable[[], Millis] = real_now, network: MemoryNetwork | None = None
) -> AsyncIterator[list[Node]]:
    """Members 1, 2, ..., each serving its handlers, all connected to all."""
    hub = MemoryNetwork() if network is None else network
    members = {identity(number).node_id for number in range(1, len(handlers) + 1)}
    nodes = [build_node(hub, number, set(members), now) for number in range(1, len(handlers) + 1)]
    for node, served in zip(nodes, handlers, strict=True):
        node.exchange.serve(served)
        await node.transport.start()
    for i, node in enumerate(nodes):
        for other in nodes[:i]:
            await node.dial(other)
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.transport.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fails the test if it never does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(*coroutines: Callable[[], Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run endless coroutines beside the body; an exception of one of them fails the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start()) for start in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
