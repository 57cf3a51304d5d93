"""The block store in memory: the same semantics without a disk, for tests and simulations."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bflcd.core.records import Head, Pin, Record, RoundRecords
from bflcd.crypto.hashing import chunk_count, chunk_hash, split_chunks
from bflcd.ledger.state import State, genesis_header
from bflcd.params import BlobRef, Genesis
from bflcd.store.blobs import check_chunk, manifest_of
from bflcd.store.chain import Placed, check_state, genesis_head, placed_payloads, successor, wrong_chain
from bflcd.store.protocol import MAX_ADDRESSES, Damage, DamagedBlobError, PruneReport, StoreStats
from bflcd.store.pruning import Needs, Payload, first_kept, is_stale, prunable
from bflcd.store.records import Kind, Row, check_round, contradiction, pins_of, round_records, row_of
from bflcd.types import Digest, Height, NodeId, Round, short
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header, header_hash
from bflcd.wire.requests import Manifest


@dataclass(slots=True)
class _Blob:
    manifest: Manifest
    begun: Round
    chunks: dict[int, bytes] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.chunks) == len(self.manifest.chunks)


class MemoryStore:
    """`BlockStore` in memory. What is durable in another store survives here as long as the object does."""

    def __init__(self) -> None:
        """An empty store."""
        self._genesis: Genesis | None = None
        self._head: Head | None = None
        self._segments: dict[Round, CertifiedSegment] = {}
        self._placed: list[Placed] = []
        self._records: dict[tuple[Round, Kind, bytes], Row] = {}
        self._pins: set[tuple[Round, Digest]] = set()
        self._blobs: dict[Digest, _Blob] = {}
        self._addresses: dict[tuple[NodeId, str], None] = {}

    async def close(self) -> None:
        """See `BlockStore`. Nothing is lost: a restart in a simulation goes on with the same object."""

    async def genesis(self) -> Genesis | None:
        """See `BlockStore`."""
        return self._genesis

    async def initialise(self, genesis: Genesis, header: Header, state: State) -> None:
        """See `BlockStore`."""
        if self._genesis is not None:
            if self._genesis != genesis:
                raise wrong_chain("this store", self._genesis, genesis)
            return
        self._head = genesis_head(genesis, header, state)
        self._genesis = genesis
        if header.blob is not None:
            self._placed.append(Placed(header.height, header.round, header.blob))

    async def head(self) -> Head:
        """See `BlockStore`."""
        if self._head is None:
            raise LookupError("the store holds no chain yet: initialise it with a genesis")
        return self._head

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """See `BlockStore`."""
        head = successor(await self.head(), certified, state)
        round_ = head.header.round
        self._segments[round_] = certified
        self._placed.extend(placed_payloads(certified))
        self._records = {key: row for key, row in self._records.items() if row.round >= round_}
        self._pins = {pin for pin in self._pins if pin[0] >= round_}
        self._head = head

    async def rewind(self, round_: Round, state: State) -> None:
        """See `BlockStore`."""
        if self._genesis is None or (round_ != 0 and round_ not in self._segments):
            raise ValueError(f"there is no model of round {round_} to return to")
        header = self._segments[round_].segment.model_header if round_ else genesis_header(self._genesis)
        check_state(header, state)
        self._segments = {number: held for number, held in self._segments.items() if number <= round_}
        self._placed = [item for item in self._placed if item.height <= header.height]
        self._records = {key: row for key, row in self._records.items() if row.round <= round_}
        self._pins = {pin for pin in self._pins if pin[0] <= round_}
        self._head = Head(header, header_hash(header), state)

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """See `BlockStore`."""
        return self._segments.get(round_)

    async def certificate(self, round_: Round) -> Certificate | None:
        """See `BlockStore`."""
        found = self._segments.get(round_)
        return None if found is None else found.certificate

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """See `BlockStore`."""
        if first < 1 or count < 0:
            raise ValueError(f"certified headers begin with round 1, not {first}; count {count}")
        last = min(first + count - 1, len(self._segments))
        found = (self._segments[Round(round_)] for round_ in range(first, last + 1))
        return tuple(CertifiedHeader(item.segment.model_header, item.certificate) for item in found)

    async def persist(self, records: Sequence[Record]) -> None:
        """See `BlockStore`."""
        head = await self.head()
        rows: dict[tuple[Round, Kind, bytes], Row] = {}
        for record in records:
            check_round(record, head.header.round)
        for row in (row_of(record) for record in records if not isinstance(record, Pin)):
            key = (row.round, row.kind, row.place)
            held = self._records.get(key) or rows.get(key)
            if held is None:
                rows[key] = row
            elif held.digest != row.digest:
                raise contradiction(row, held.digest)
        pins = {(record.round, root) for record in records for root in pins_of(record)}
        self._records.update(rows)
        self._pins |= pins

    async def records(self, round_: Round) -> RoundRecords:
        """See `BlockStore`."""
        return round_records(row for row in self._records.values() if row.round == round_)

    async def start_blob(self, manifest: Manifest) -> tuple[int, ...]:
        """See `BlockStore`."""
        blob = self._blobs.setdefault(manifest.blob.root, _Blob(manifest, self._round()))
        blob.begun = self._round()
        return tuple(index for index in range(len(manifest.chunks)) if index not in blob.chunks)

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """See `BlockStore`."""
        if root not in self._blobs:
            raise KeyError(f"no blob {root.hex()} was started")
        blob = self._blobs[root]
        check_chunk(blob.manifest.blob.size, index, data)
        blob.chunks.setdefault(index, bytes(data))
        return blob.complete

    async def put_blob(self, data: bytes) -> BlobRef:
        """See `BlockStore`."""
        manifest = manifest_of(data)
        missing = await self.start_blob(manifest)
        blob, chunks = self._blobs[manifest.blob.root], split_chunks(data)
        blob.chunks.update((index, bytes(chunks[index])) for index in missing)
        return manifest.blob

    async def has_blob(self, root: Digest) -> bool:
        """See `BlockStore`."""
        return self._complete(root) is not None

    async def manifest(self, root: Digest) -> Manifest | None:
        """See `BlockStore`."""
        blob = self._complete(root)
        return None if blob is None else blob.manifest

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """See `BlockStore`."""
        blob = self._complete(root)
        if blob is None or index not in blob.chunks:
            return None
        data = blob.chunks[index]
        if chunk_hash(data) != blob.manifest.chunks[index]:
            raise DamagedBlobError(root, index)
        return data

    async def blob(self, root: Digest) -> bytes | None:
        """See `BlockStore`."""
        blob = self._complete(root)
        if blob is None:
            return None
        parts = [await self.chunk(root, index) for index in range(chunk_count(blob.manifest.blob.size))]
        return b"".join(part for part in parts if part is not None)

    async def unpublished(self) -> tuple[Digest, ...]:
        """See `BlockStore`."""
        return tuple(payload.root for payload in self._payloads() if payload.newest is None)

    async def drop_blob(self, root: Digest) -> None:
        """See `BlockStore`."""
        self._blobs.pop(root, None)

    async def prune(self, keep: int, *, dry_run: bool) -> PruneReport:
        """See `BlockStore`. Freed are exactly the payloads' bytes."""
        head = await self.head()
        undecided = frozenset(round_ for round_, _, _ in self._records) | {round_ for round_, _ in self._pins}
        needs = Needs(head.header.round, undecided, self._pinned(Round(0)))
        doomed, kept = prunable(self._payloads(), needs, keep), first_kept(needs, keep)
        if not dry_run:
            for payload in doomed:
                del self._blobs[payload.root]
        height = max((item.height for item in self._placed if item.round < kept), default=Height(0))
        size = sum(payload.size for payload in doomed)
        return PruneReport(height, kept, len(doomed), size, size)

    async def discard_stale(self, round_: Round) -> None:
        """See `BlockStore`."""
        pinned = self._pinned(round_)
        for payload in self._payloads():
            if is_stale(payload, pinned, round_):
                del self._blobs[payload.root]

    async def stats(self) -> StoreStats:
        """See `BlockStore`."""
        complete = [blob for blob in self._blobs.values() if blob.complete]
        size = sum(blob.manifest.blob.size for blob in complete)
        held = sum(len(chunk) for blob in self._blobs.values() for chunk in blob.chunks.values())
        gaps = [item.round + 1 for item in self._placed if self._complete(item.blob.root) is None]
        return StoreStats(held, len(complete), size, Round(max(gaps, default=0)))

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """See `BlockStore`."""
        return tuple(
            Damage(f"blob {short(root)} chunk {index}", "it does not hash to what its manifest says", root)
            for root, blob in self._blobs.items()
            for index, data in blob.chunks.items()
            if deep and chunk_hash(data) != blob.manifest.chunks[index]
        )

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """See `BlockStore`."""
        return tuple(reversed(self._addresses))

    async def remember_address(self, node: NodeId, address: str) -> None:
        """See `BlockStore`."""
        self._addresses.pop((node, address), None)
        self._addresses[node, address] = None
        if len(self._addresses) > MAX_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]

    def _round(self) -> Round:
        return Round(0) if self._head is None else self._head.header.round

    def _complete(self, root: Digest) -> _Blob | None:
        blob = self._blobs.get(root)
        return blob if blob is not None and blob.complete else None

    def _pinned(self, first: Round) -> frozenset[Digest]:
        return frozenset(root for round_, root in self._pins if round_ >= first)

    def _payloads(self) -> list[Payload]:
        newest: dict[Digest, Round] = {}
        for item in self._placed:
            newest[item.blob.root] = max(item.round, newest.get(item.blob.root, Round(0)))
        return [Payload(root, blob.manifest.blob.size, newest.get(root), blob.begun) for root, blob in self._blobs.items()]
