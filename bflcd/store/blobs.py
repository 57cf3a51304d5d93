"""Blobs as chunk rows: written in groups, resumed after a restart, verified on every read, deleted in small steps."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from bflcd.crypto.hashing import blob_root, chunk_count, chunk_hash, split_chunks
from bflcd.params import BlobRef
from bflcd.store.database import Database
from bflcd.store.protocol import DamagedBlobError
from bflcd.store.pruning import Payload
from bflcd.store.rows import damaged_row
from bflcd.store.schema import CHUNK_ID_BITS
from bflcd.types import CHUNK_BYTES, HASH_BYTES, Digest, Round
from bflcd.wire.requests import Manifest

GROUP_CHUNKS: Final = 4
"""Chunks that one transaction writes or deletes: some 10 ms of the writer, which a vote may have to wait for."""

Guard = Callable[[sqlite3.Connection], bool]
"""Asked inside each transaction of a deletion: whether the blob may still go."""


def manifest_of(data: bytes) -> Manifest:
    """Size, root and chunk hashes of a payload. Raises ValueError if it is empty or too large."""
    hashes = tuple(chunk_hash(chunk) for chunk in split_chunks(data))
    return Manifest(BlobRef(blob_root(len(data), hashes), len(data)), hashes)


def check_chunk(size: int, index: int, data: bytes | memoryview) -> None:
    """Raise ValueError unless chunk `index` of a blob of `size` bytes has as many bytes as `data`."""
    count = chunk_count(size)
    if not 0 <= index < count:
        raise ValueError(f"chunk {index} of a blob of {count} chunks")
    expected = CHUNK_BYTES if index < count - 1 else size - (count - 1) * CHUNK_BYTES
    if len(data) != expected:
        raise ValueError(f"chunk {index} of a blob of {size} bytes has {expected} bytes, not {len(data)}")


class BlobTable:
    """The tables `blobs` and `chunks`."""

    def __init__(self, database: Database) -> None:
        """Blobs of `database`."""
        self._database = database
        self._settled = 0
        """Up to this id, blocks name every blob. Always at most the highest id there is: SQLite gives new rows higher ones."""
        self._deletions = 0

    async def start(self, manifest: Manifest, begun: Round) -> tuple[int, ...]:
        """The chunks still missing of a blob, whose row is made if needed."""
        root, hashes = manifest.blob.root, b"".join(manifest.chunks)

        def work(writer: sqlite3.Connection) -> tuple[int, ...]:
            writer.execute(
                "INSERT INTO blobs (root, size, missing, begun, hashes) VALUES (?1, ?2, ?3, ?4, ?5) "
                "ON CONFLICT (root) DO UPDATE SET begun = ?4, size = ?2, missing = iif(hashes = ?5, missing, ?3), hashes = ?5",
                (root, manifest.blob.size, len(manifest.chunks), begun, hashes),
            )
            blob_id, missing = writer.execute("SELECT id, missing FROM blobs WHERE root = ?", (root,)).fetchone()
            return _missing_chunks(writer, blob_id, manifest) if missing else ()

        return await self._database.write("starting a blob", work, durable=False, size=len(hashes))

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """Store one chunk; True once the blob is complete. Raises KeyError for an unknown root, ValueError for a wrong length."""
        work = partial(_insert_chunks, root, ((index, data),))
        missing = await self._database.write("storing a chunk", work, durable=False, size=len(data))
        await self._database.checkpoint_if_due()
        return missing == 0

    async def put_blob(self, data: bytes, begun: Round) -> BlobRef:
        """Store a whole payload; durable with the next record or segment, as every chunk is."""
        manifest = await asyncio.to_thread(manifest_of, data)
        missing = await self.start(manifest, begun)
        root, chunks = manifest.blob.root, split_chunks(data)
        for at in range(0, len(missing), GROUP_CHUNKS):
            group = tuple((index, chunks[index]) for index in missing[at : at + GROUP_CHUNKS])
            work = partial(_insert_chunks, root, group)
            await self._database.write("storing a blob", work, durable=False, size=sum(len(chunk) for _, chunk in group))
        await self._database.checkpoint_if_due()
        return manifest.blob

    async def has(self, root: Digest) -> bool:
        """Whether the blob is complete."""
        rows = await self._database.query("looking for a blob", "SELECT 1 FROM blobs WHERE root = ? AND missing = 0", (root,))
        return bool(rows)

    async def manifest(self, root: Digest) -> Manifest | None:
        """The manifest of a complete blob, held against its root."""
        sql = "SELECT size, hashes FROM blobs WHERE root = ? AND missing = 0"
        rows = await self._database.query("reading a manifest", sql, (root,))
        if not rows:
            return None
        found = manifest_from_columns(root, *rows[0])
        if found is None:
            raise damaged_row(self._database.path, f"the manifest of blob {root.hex()}")
        return found

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """A chunk of a complete blob, its hash recomputed on SQLite's thread. Raises DamagedBlobError."""
        rows = await self._database.query_payloads(
            "reading a chunk",
            "SELECT b.size, c.data, iif(c.id IS NULL, 0, c.hash = chunk_hash(c.data) AND "
            "c.hash = substr(b.hashes, ?2 * ?3 + 1, ?3)) "
            "FROM blobs b LEFT JOIN chunks c ON c.id = (b.id << ?4) + ?2 WHERE b.root = ?1 AND b.missing = 0",
            (root, index, HASH_BYTES, CHUNK_ID_BITS),
        )
        if not rows or not 0 <= index < self._chunk_count(root, rows[0][0]):
            return None
        _, data, good = rows[0]
        if not good:
            raise DamagedBlobError(root, index)
        return bytes(data)

    async def blob(self, root: Digest) -> bytes | None:
        """A whole blob, every chunk verified. Raises DamagedBlobError."""
        sql = "SELECT size FROM blobs WHERE root = ? AND missing = 0"
        rows = await self._database.query("reading a blob", sql, (root,))
        if not rows:
            return None
        parts = []
        for index in range(self._chunk_count(root, rows[0][0])):
            part = await self.chunk(root, index)
            if part is None:
                return None
            parts.append(part)
        return await asyncio.to_thread(b"".join, parts)

    def _chunk_count(self, root: Digest, size: object) -> int:
        """Chunks of a blob by the size in its row. Raises DamagedBlobError for one that no blob has."""
        try:
            if isinstance(size, int):
                return chunk_count(size)
        except ValueError as error:
            raise DamagedBlobError(root, 0) from error
        raise DamagedBlobError(root, 0)

    async def payloads(self) -> tuple[Payload, ...]:
        """What pruning judges, of every blob held in full or in part."""
        return await self._list(_PAYLOADS)

    async def unsettled(self) -> tuple[Payload, ...]:
        """Those of `payloads` that came since blocks named all before: what a round costs an archive must not grow with it."""
        return await self._list(f"{_PAYLOADS} WHERE b.id > ?", (self._settled,))

    async def settle(self) -> None:
        """Look from where on there are blobs that no block names."""
        deletions = self._deletions
        sql = (
            "SELECT coalesce((SELECT min(id) - 1 FROM blobs b WHERE id > ? "
            "AND NOT EXISTS (SELECT 1 FROM payloads p WHERE p.root = b.root)), (SELECT max(id) FROM blobs), 0)"
        )
        rows = await self._database.query("listing blobs", sql, (self._settled,))
        if deletions == self._deletions:
            self._settled = int(rows[0][0])

    def unsettle(self) -> None:
        """Blocks were taken back: judge every blob anew."""
        self._settled = 0
        self._deletions += 1

    async def _list(self, sql: str, parameters: tuple[int, ...] = ()) -> tuple[Payload, ...]:
        rows = await self._database.query("listing blobs", sql, parameters)
        try:
            return tuple(_payload(row) for row in rows)
        except TypeError as error:
            raise damaged_row(self._database.path, "the list of blobs") from error

    async def delete(self, root: Digest, may_go: Guard) -> bool:
        """Delete a blob, a group of chunks at a time, as long as `may_go` says so; whether it is gone. Others write between."""
        gone: bool | None = None
        while gone is None:
            await self._database.checkpoint_if_due()
            gone, highest = await self._database.write(
                "deleting a blob", partial(_delete_step, root, may_go), durable=False, size=CHUNK_BYTES
            )
            self._deletions += 1
            self._settled = min(self._settled, highest)
        return gone


_PAYLOADS: Final = "SELECT b.root, b.size, b.begun, (SELECT max(round) FROM payloads p WHERE p.root = b.root) FROM blobs b"


def payload_of(connection: sqlite3.Connection, root: Digest) -> Payload | None:
    """What pruning judges of one blob."""
    row = connection.execute(f"{_PAYLOADS} WHERE b.root = ?", (root,)).fetchone()
    return None if row is None else _payload(row)


def _payload(row: tuple[Any, ...]) -> Payload:
    """TypeError if a torn page has left columns of other types."""
    root, size, begun, newest = row
    if not (isinstance(root, bytes) and isinstance(size, int) and isinstance(begun, int)):
        raise TypeError(f"a blob's row holds {root!r}, {size!r}, {begun!r}")
    return Payload(Digest(root), size, None if newest is None else Round(newest), Round(begun))


def manifest_from_columns(root: Digest, size: int, hashes: bytes) -> Manifest | None:
    """The manifest in a row of `blobs`, or None if it does not hash to its root, or a torn page has left other types."""
    if not (isinstance(root, bytes) and isinstance(size, int) and isinstance(hashes, bytes)):
        return None
    chunks = tuple(Digest(hashes[at : at + HASH_BYTES]) for at in range(0, len(hashes), HASH_BYTES))
    try:
        return Manifest(BlobRef(root, size), chunks) if blob_root(size, chunks) == root else None
    except ValueError:
        return None


def _missing_chunks(writer: sqlite3.Connection, blob_id: int, manifest: Manifest) -> tuple[int, ...]:
    """The indices that are not there, counted anew; chunks that another manifest let in are deleted."""
    first, count = blob_id << CHUNK_ID_BITS, len(manifest.chunks)
    held = writer.execute(
        "SELECT id - ?1, hash FROM chunks WHERE id >= ?1 AND id < ?1 + ?2", (first, 1 << CHUNK_ID_BITS)
    ).fetchall()
    good = {index for index, hash_ in held if index < count and hash_ == manifest.chunks[index]}
    writer.executemany("DELETE FROM chunks WHERE id = ?", [(first + index,) for index, _ in held if index not in good])
    writer.execute("UPDATE blobs SET missing = ? WHERE id = ?", (count - len(good), blob_id))
    return tuple(index for index in range(count) if index not in good)


def _insert_chunks(root: Digest, chunks: Sequence[tuple[int, bytes | memoryview]], writer: sqlite3.Connection) -> int:
    """Insert those that are missing; returns how many still are."""
    row = writer.execute("SELECT id, size, missing FROM blobs WHERE root = ?", (root,)).fetchone()
    if row is None:
        raise KeyError(f"no blob {root.hex()} was started")
    blob_id, size, missing = row
    for index, data in chunks:
        check_chunk(size, index, data)
    if missing == 0:
        return 0
    for index, data in chunks:
        hash_ = writer.execute(
            "SELECT substr(hashes, ?, ?) FROM blobs WHERE id = ?", (index * HASH_BYTES + 1, HASH_BYTES, blob_id)
        )
        row = ((blob_id << CHUNK_ID_BITS) + index, hash_.fetchone()[0], data)
        missing -= writer.execute("INSERT OR IGNORE INTO chunks (id, hash, data) VALUES (?, ?, ?)", row).rowcount
    return int(missing)


def _delete_step(root: Digest, may_go: Guard, writer: sqlite3.Connection) -> tuple[bool | None, int]:
    """As `_delete_some`; also the highest id of a blob that is left."""
    gone = _delete_some(root, may_go, writer)
    return gone, writer.execute("SELECT coalesce(max(id), 0) FROM blobs").fetchone()[0]


def _delete_some(root: Digest, may_go: Guard, writer: sqlite3.Connection) -> bool | None:
    """Delete a group of chunks, then the blob: True once it is gone, False if it must stay, None if there is more to do."""
    row = writer.execute("SELECT id FROM blobs WHERE root = ?", (root,)).fetchone()
    if row is None:
        return True
    if not may_go(writer):
        return False
    first = row[0] << CHUNK_ID_BITS
    deleted = writer.execute(
        "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE id >= ? AND id < ? LIMIT ?)",
        (first, first + (1 << CHUNK_ID_BITS), GROUP_CHUNKS),
    )
    if deleted.rowcount == GROUP_CHUNKS:
        return None
    writer.execute("DELETE FROM blobs WHERE id = ?", (row[0],))
    return True
