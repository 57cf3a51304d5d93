"""Fetches blobs in hashed chunks from several holders at once, straight into the store, resumable (design 8)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bflcd.crypto.hashing import blob_root, chunk_count, chunk_hash
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.blobs.holders import Holders
from bflcd.net.blobs.race import Race
from bflcd.net.blobs.transfer import ChunkTransfer
from bflcd.net.exchange import Exchange, OnMisbehaviour
from bflcd.net.limits import Clock
from bflcd.params import BlobRef
from bflcd.scheduler import ASYNCIO
from bflcd.types import CHUNK_BYTES, Digest, NodeId, short
from bflcd.wire.messages import ClosedBy
from bflcd.wire.requests import GetChunk, GetManifest, Manifest

logger = logging.getLogger(__name__)

T = TypeVar("T")

HoldersSource = Sequence[NodeId] | Callable[[], Sequence[NodeId]]
"""Who may hold a blob; as a function, it is asked again whenever someone new is needed."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Times in seconds. `slots` chunks are in flight at a time over all blobs, `reserved` of them only for priority fetches:
    memory stays near `slots` times four copies of a chunk."""

    slots: int = 32
    reserved: int = 8
    window: int = 4
    """Chunks of one blob in flight from one holder."""
    chunk_deadline: float = 20.0
    patience: float = 2.0
    """Another holder is asked too for what one has owed this long: one slow holder must not set the pace."""
    fetch_deadline: float = 600.0


class ChunkSink(Protocol):
    """The part of the store that takes blobs: what it took is durable once somebody relies on it, not before."""

    async def start_blob(self, manifest: Manifest) -> tuple[int, ...]:
        """As `BlockStore.start_blob`."""
        ...

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """As `PayloadStore.put_chunk`."""
        ...

    async def has_blob(self, root: Digest) -> bool:
        """As `PayloadReader.has_blob`."""
        ...


class _Join:
    """Those who want one blob at this moment: one of them works, the others wait for the lock and lend their holders."""

    __slots__ = ("here", "lock", "sources")

    def __init__(self) -> None:
        self.here = asyncio.Event()
        """Set once the blob is here, whoever got it; cleared by the one that holds the lock, and nobody else."""
        self.lock = asyncio.Lock()
        self.sources: list[HoldersSource] = []

    def nodes(self) -> tuple[NodeId, ...]:
        """All holders that anyone of them named, in order, once each."""
        named = (source() if callable(source) else source for source in self.sources)
        return tuple(dict.fromkeys(node for nodes in named for node in nodes))


class BlobFetcher:
    """Gets blobs into the store. `chain` gives the chain id; `max_bytes` is the largest blob that is accepted at all; `closed`:
    the seats that take no further offers, by whose words the running round's updates are asked for."""

    def __init__(
        self,
        exchange: Exchange,
        store: ChunkSink,
        *,
        chain: Callable[[], Digest],
        max_bytes: int,
        now: Clock,
        on_misbehaviour: OnMisbehaviour,
        limits: FetchLimits | None = None,
        closed: Callable[[], ClosedBy] = tuple,
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._chain = chain
        self._closed = closed
        self._max_bytes = max_bytes
        self._now = now
        self._on_misbehaviour = on_misbehaviour
        self._limits = FetchLimits() if limits is None else limits
        self._slots = asyncio.Semaphore(self._limits.slots)
        self._ordinary = asyncio.Semaphore(self._limits.slots - self._limits.reserved)
        self._joins: dict[Digest, dict[str | None, _Join]] = {}
        self.received_bytes = 0
        """Bytes of chunks that were verified and stored since the start."""

    async def fetch(
        self,
        ref: BlobRef,
        holders: HoldersSource,
        *,
        priority: bool = False,
        deadline: float | None = None,
        apart: str | None = None,
    ) -> None:
        """Return once the blob is complete in the store; what arrived before a failure or cancellation is kept for the next try.

        Fetches of one blob at a time are joined, but not those that are said to be `apart`: these ask their own holders, whoever
        else is being asked, and end all once one of them has it. Raises PeerError(TOO_LARGE) if `ref` claims more than is
        accepted, RequestError naming who was asked and what each said, or what the store raises.
        """
        if ref.size > self._max_bytes:
            raise PeerError(
                Rejection.TOO_LARGE, f"blob {short(ref.root)} of {ref.size} bytes; at most {self._max_bytes} are accepted"
            )
        if await self._store.has_blob(ref.root):
            return
        seconds = self._limits.fetch_deadline if deadline is None else deadline
        asked = Holders(self._now)
        try:
            async with asyncio.timeout(seconds), self._joined(ref.root, holders, apart) as join:
                join.here.clear()
                while not await self._store.has_blob(ref.root):  # it may have been here, and dropped since
                    await _unless(join.here, self._fetch(ref, join, asked, priority=priority), seconds)
                    join.here.clear()
                for other in self._joins[ref.root].values():
                    other.here.set()
        except TimeoutError as error:
            raise RequestError(f"{_name(ref)} did not arrive within {seconds:.0f} s: {asked.story()}") from error

    @asynccontextmanager
    async def _joined(self, root: Digest, holders: HoldersSource, apart: str | None) -> AsyncIterator[_Join]:
        joins = self._joins.setdefault(root, {})
        join = joins.setdefault(apart, _Join())
        join.sources.append(holders)
        try:
            async with join.lock:
                yield join
        finally:
            join.sources.remove(holders)
            if not join.sources:
                del joins[apart]
            if not joins:
                del self._joins[root]

    async def _fetch(self, ref: BlobRef, join: _Join, asked: Holders, *, priority: bool) -> None:
        if chunk_count(ref.size) == 1:
            manifest, data = await self._only_chunk(ref, join, asked, priority=priority)
            if await self._store.start_blob(manifest):
                await self._stored(ref.root, 0, data)
            return
        manifest = await self._manifest(ref, join, asked)
        missing = set(await self._store.start_blob(manifest))

        async def get(node: NodeId, index: int) -> bytes:
            return await self._chunk(node, manifest, index, priority=priority)

        while missing:
            await asked.someone(join.nodes, _name(ref))
            transfer = ChunkTransfer(
                ref.root, missing, get=get, put=self._stored, asked=asked, now=self._now, patience=self._limits.patience
            )
            await transfer.run(join.nodes, self._limits.window)

    async def _stored(self, root: Digest, index: int, data: bytes) -> None:
        await self._store.put_chunk(root, index, data)
        self.received_bytes += len(data)

    async def _only_chunk(self, ref: BlobRef, join: _Join, asked: Holders, *, priority: bool) -> tuple[Manifest, bytes]:
        """A blob of one chunk needs no manifest, since its root is a function of that chunk: one round trip."""

        async def ask(node: NodeId) -> tuple[Manifest, bytes]:
            data = await self._raw_chunk(node, ref, 0, priority=priority)
            manifest = Manifest(ref, (chunk_hash(data),))
            if len(data) != ref.size or blob_root(ref.size, manifest.chunks) != ref.root:
                raise self._wrong(node, f"bytes that are not {_name(ref)}")
            return manifest, data

        return await self._from_anyone(ref, join, asked, ask)

    async def _manifest(self, ref: BlobRef, join: _Join, asked: Holders) -> Manifest:
        """The chunk hashes; size and hashes together hash to the root, which is what makes every chunk trustworthy."""

        async def ask(node: NodeId) -> Manifest:
            request = GetManifest(self._chain(), ref.root, self._closed())
            manifest = await self._exchange.ask(node, request, deadline=self._limits.chunk_deadline)
            count = chunk_count(ref.size)
            if manifest.blob != ref or len(manifest.chunks) != count or blob_root(ref.size, manifest.chunks) != ref.root:
                raise self._wrong(node, f"a manifest that is not that of {_name(ref)}")
            return manifest

        return await self._from_anyone(ref, join, asked, ask)

    async def _from_anyone(self, ref: BlobRef, join: _Join, asked: Holders, ask: Callable[[NodeId], Coroutine[Any, Any, T]]) -> T:
        """The first holder's right answer; while one is late, the next is asked too. Raises RequestError if nobody has it."""
        race = Race(self._limits.patience)

        async def attempt(node: NodeId) -> T | None:
            try:
                answer = await ask(node)
            except (PeerError, RequestError) as error:
                asked.failed(node, error)
                return None
            asked.answered(node)
            return answer

        while True:
            await asked.someone(join.nodes, _name(ref))
            answer = await race.run(lambda: asked.usable(join.nodes()), attempt)
            if answer is not None:
                return answer

    async def _chunk(self, node: NodeId, manifest: Manifest, index: int, *, priority: bool) -> bytes:
        """One chunk, verified against the manifest. Its length is checked too: who made the root may have lied about the size."""
        data = await self._raw_chunk(node, manifest.blob, index, priority=priority)
        length = min(CHUNK_BYTES, manifest.blob.size - index * CHUNK_BYTES)
        if len(data) != length or await asyncio.to_thread(chunk_hash, data) != manifest.chunks[index]:
            raise self._wrong(node, f"bytes that are not chunk {index} of {_name(manifest.blob)}")
        return data

    async def _raw_chunk(self, node: NodeId, ref: BlobRef, index: int, *, priority: bool) -> bytes:
        """A chunk as the holder sends it, within the limits on what is in flight."""
        async with AsyncExitStack() as stack:
            if not priority:
                await stack.enter_async_context(self._ordinary)
            await stack.enter_async_context(self._slots)
            request = GetChunk(self._chain(), ref.root, index, self._closed())
            return (await self._exchange.ask(node, request, deadline=self._limits.chunk_deadline)).data

    def _wrong(self, node: NodeId, what: str) -> PeerError:
        error = PeerError(Rejection.BAD_BLOB, f"{short(node)} sent {what}")
        logger.warning("%s", error)
        self._on_misbehaviour(node, error.rejection, str(error))
        return error


async def _unless(here: asyncio.Event, work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Do `work`, which takes so many seconds at most, or as much of it as is done before `here` is set. Raises what it raises."""
    async with ASYNCIO.scope() as scope:
        await ASYNCIO.first_done((scope.start(work), scope.start(here.wait())), seconds)


def _name(ref: BlobRef) -> str:
    return f"blob {short(ref.root)} of {ref.size} bytes"
