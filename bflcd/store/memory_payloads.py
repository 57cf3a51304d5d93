"""Payloads in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bflcd.crypto.hashing import chunk_count, chunk_hash, split_chunks
from bflcd.params import BlobRef
from bflcd.store.blobs import check_chunk, manifest_of
from bflcd.store.protocol import Damage, DamagedBlobError, HeldPayload, MissingPayloadError
from bflcd.types import Digest, Round, short
from bflcd.wire.requests import Manifest


@dataclass(slots=True)
class _Blob:
    number: int
    manifest: Manifest
    begun: Round
    chunks: dict[int, bytes] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.chunks) == len(self.manifest.chunks)

    @property
    def listed(self) -> HeldPayload:
        return HeldPayload(self.number, self.manifest.blob.root, self.manifest.blob.size, self.begun)


class MemoryPayloads:
    """`PayloadStore` in memory."""

    def __init__(self) -> None:
        """No payloads."""
        self._blobs: dict[Digest, _Blob] = {}
        self._came = 0
        self._freed = 0

    async def close(self) -> None:
        """See `PayloadStore`. Nothing is lost."""

    async def start_blob(self, manifest: Manifest, begun: Round) -> tuple[int, ...]:
        """See `PayloadStore`."""
        root = manifest.blob.root
        if root not in self._blobs:
            self._came += 1
            self._blobs[root] = _Blob(self._came, manifest, begun)
        blob = self._blobs[root]
        blob.begun = begun
        return tuple(index for index in range(len(manifest.chunks)) if index not in blob.chunks)

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """See `PayloadStore`."""
        if root not in self._blobs:
            raise KeyError(f"no blob {root.hex()} was started")
        blob = self._blobs[root]
        check_chunk(blob.manifest.blob.size, index, data)
        blob.chunks.setdefault(index, bytes(data))
        return blob.complete

    async def put_blob(self, data: bytes, begun: Round) -> BlobRef:
        """See `PayloadStore`."""
        manifest = manifest_of(data)
        missing = await self.start_blob(manifest, begun)
        blob, chunks = self._blobs[manifest.blob.root], split_chunks(data)
        blob.chunks.update((index, bytes(chunks[index])) for index in missing)
        return manifest.blob

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        """See `PayloadStore`. Memory has no power to lose."""
        lacking = [root for root in roots if self._complete(root) is None]
        if lacking:
            raise MissingPayloadError(lacking)

    async def has_blob(self, root: Digest) -> bool:
        """See `PayloadReader`."""
        return self._complete(root) is not None

    async def manifest(self, root: Digest) -> Manifest | None:
        """See `PayloadReader`."""
        blob = self._complete(root)
        return None if blob is None else blob.manifest

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """See `PayloadReader`."""
        blob = self._complete(root)
        if blob is None or index not in blob.chunks:
            return None
        data = blob.chunks[index]
        if chunk_hash(data) != blob.manifest.chunks[index]:
            raise DamagedBlobError(root, index)
        return data

    async def blob(self, root: Digest) -> bytes | None:
        """See `PayloadReader`."""
        blob = self._complete(root)
        if blob is None:
            return None
        parts = [await self.chunk(root, index) for index in range(chunk_count(blob.manifest.blob.size))]
        return b"".join(part for part in parts if part is not None)

    async def complete(self, roots: Sequence[Digest]) -> frozenset[Digest]:
        """See `PayloadStore`."""
        return frozenset(root for root in roots if self._complete(root) is not None)

    async def held(self, after: int = 0) -> tuple[HeldPayload, ...]:
        """See `PayloadStore`."""
        return tuple(blob.listed for blob in self._blobs.values() if blob.number > after)

    async def entry(self, root: Digest) -> HeldPayload | None:
        """See `PayloadStore`."""
        return self._blobs[root].listed if root in self._blobs else None

    async def drop_some(self, payload: HeldPayload) -> bool:
        """See `PayloadStore`. All of it at once."""
        blob = self._blobs.get(payload.root)
        if blob is not None and blob.listed == payload:
            del self._blobs[payload.root]
            self._freed += payload.size
        return True

    async def return_space(self) -> int:
        """See `PayloadStore`. Exactly the payloads' bytes."""
        freed, self._freed = self._freed, 0
        return freed

    async def totals(self) -> tuple[int, int]:
        """See `PayloadStore`."""
        sizes = [blob.manifest.blob.size for blob in self._blobs.values() if blob.complete]
        return len(sizes), sum(sizes)

    def size_on_disk(self) -> int:
        """See `PayloadStore`."""
        return sum(len(chunk) for blob in self._blobs.values() for chunk in blob.chunks.values())

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """See `PayloadStore`."""
        return tuple(
            Damage(f"blob {short(root)} chunk {index}", "it does not hash to what its manifest says", root)
            for root, blob in self._blobs.items()
            for index, data in blob.chunks.items()
            if deep and chunk_hash(data) != blob.manifest.chunks[index]
        )

    def _complete(self, root: Digest) -> _Blob | None:
        blob = self._blobs.get(root)
        return blob if blob is not None and blob.complete else None
