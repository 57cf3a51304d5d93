"""Payloads as chunk rows: written in groups, resumed after a restart, verified on every read, deleted in small steps."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bflcd.crypto.hashing import blob_root, chunk_count, chunk_hash, split_chunks
from bflcd.params import BlobRef
from bflcd.store.checks import check_payloads
from bflcd.store.database import Database
from bflcd.store.protocol import Damage, DamagedBlobError, HeldPayload, MissingPayloadError
from bflcd.store.rows import damaged_row, manifest_from_columns
from bflcd.store.schema import CHUNK_ID_BITS, PAGE_BYTES
from bflcd.types import CHUNK_BYTES, HASH_BYTES, Digest, Round
from bflcd.wire.requests import Manifest

GROUP_CHUNKS: Final = 4
"""Chunks that one transaction writes or deletes: some 10 ms of the writer, which a vote may have to wait for."""

VACUUM_PAGES: Final = 2 * 1024 * 1024 // PAGE_BYTES
"""Pages that one step returns to the disk: some 5 ms of the writer."""

IDS_AT_ONCE: Final = 500
"""Roots that one query names; SQLite takes 32,766 parameters."""


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


@dataclass(eq=False, slots=True)
class _Put:
    """A chunk that waits to be written. `outcome`: how many of its blob's are then still missing, or what is wrong with it."""

    root: Digest
    index: int
    data: bytes
    outcome: int | Exception | None = None


class SqlitePayloads:
    """`PayloadStore` in the tables `blobs` and `chunks` of an open database.

    Chunks are written without waiting for the disk. Frames of the log become durable in order, so any durable transaction of the
    same file, whoever writes it, makes durable every chunk written before it.
    """

    def __init__(self, database: Database) -> None:
        """Payloads in `database`, which is closed with them."""
        self._database = database
        self._waiting: list[_Put] = []
        self._writing = asyncio.Lock()

    async def close(self) -> None:
        """See `PayloadStore`."""
        await self._database.close()

    def size_on_disk(self) -> int:
        """See `PayloadStore`. They lie in the file that the chain side counts."""
        return 0

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """See `PayloadStore`."""
        return await check_payloads(self._database, deep=deep)

    async def start_blob(self, manifest: Manifest, begun: Round) -> tuple[int, ...]:
        """See `PayloadStore`."""
        work, size = partial(_start, manifest, begun), HASH_BYTES * len(manifest.chunks)
        return await self._database.write("starting a blob", work, durable=False, size=size)

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """See `PayloadStore`. Chunks that come while one is written share the next transaction, up to a group of them: whoever's
        turn it is writes for the others too. What is wrong with one is told to whoever gave it."""
        put = _Put(root, index, data)
        self._waiting.append(put)
        try:
            async with self._writing:
                if put.outcome is None:
                    await self._write_group()
        finally:
            if put.outcome is None:  # it failed or was cancelled; whoever waits behind it writes for itself
                self._waiting.remove(put)
        await self._database.checkpoint_if_due()
        if isinstance(put.outcome, Exception):
            raise put.outcome
        return put.outcome == 0

    async def _write_group(self) -> None:
        """Write the chunks that have waited longest. A caller that is cancelled may leave them written and the others unaware of
        it: those are then written once more, which changes nothing."""
        group = tuple(self._waiting[:GROUP_CHUNKS])
        size = sum(len(put.data) for put in group)
        outcomes = await self._database.write("storing chunks", partial(_insert_group, group), durable=False, size=size)
        for put, outcome in zip(group, outcomes, strict=True):
            put.outcome = outcome
        self._waiting = [put for put in self._waiting if put.outcome is None]

    async def put_blob(self, data: bytes, begun: Round) -> BlobRef:
        """See `PayloadStore`. The first group of chunks is in the transaction that starts the blob."""
        manifest = await asyncio.to_thread(manifest_of, data)
        root, chunks = manifest.blob.root, split_chunks(data)

        def start(writer: sqlite3.Connection) -> tuple[int, ...]:
            missing = _start(manifest, begun, writer)
            _insert_chunks(root, [(index, chunks[index]) for index in missing[:GROUP_CHUNKS]], writer)
            return missing[GROUP_CHUNKS:]

        size = sum(len(chunk) for chunk in chunks[:GROUP_CHUNKS])
        missing = await self._database.write("starting a blob", start, durable=False, size=size)
        for at in range(0, len(missing), GROUP_CHUNKS):
            group = tuple((index, chunks[index]) for index in missing[at : at + GROUP_CHUNKS])
            work = partial(_insert_chunks, root, group)
            await self._database.write("storing a blob", work, durable=False, size=sum(len(chunk) for _, chunk in group))
        await self._database.checkpoint_if_due()
        return manifest.blob

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        """See `PayloadStore`. Who writes records to the same file calls `rely_on` in that transaction instead."""
        wanted = tuple(roots)

        if wanted:
            await self._database.write("making payloads durable", partial(rely_on, wanted), durable=True)

    async def has_blob(self, root: Digest) -> bool:
        """See `PayloadReader`."""
        rows = await self._database.query("looking for a blob", "SELECT 1 FROM blobs WHERE root = ? AND missing = 0", (root,))
        return bool(rows)

    async def manifest(self, root: Digest) -> Manifest | None:
        """See `PayloadReader`. It is held against its root."""
        sql = "SELECT size, hashes FROM blobs WHERE root = ? AND missing = 0"
        rows = await self._database.query("reading a manifest", sql, (root,))
        if not rows:
            return None
        found = manifest_from_columns(root, *rows[0])
        if found is None:
            raise damaged_row(self._database.path, f"the manifest of blob {root.hex()}")
        return found

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """See `PayloadReader`. Its hash is recomputed on SQLite's thread."""
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
        """See `PayloadReader`."""
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

    async def complete(self, roots: Sequence[Digest]) -> frozenset[Digest]:
        """See `PayloadStore`."""
        found: set[Digest] = set()
        for at in range(0, len(roots), IDS_AT_ONCE):
            some = roots[at : at + IDS_AT_ONCE]
            sql = f"SELECT root FROM blobs WHERE missing = 0 AND root IN ({marks(some)})"  # noqa: S608 - question marks only
            found.update(Digest(root) for (root,) in await self._database.query("looking for blobs", sql, some))
        return frozenset(found)

    async def held(self, after: int = 0) -> tuple[HeldPayload, ...]:
        """See `PayloadStore`."""
        return await self._list(f"{_HELD} WHERE id > ? ORDER BY id", after)

    async def entry(self, root: Digest) -> HeldPayload | None:
        """See `PayloadStore`."""
        found = await self._list(f"{_HELD} WHERE root = ?", root)
        return found[0] if found else None

    async def _list(self, sql: str, parameter: int | bytes) -> tuple[HeldPayload, ...]:
        rows = await self._database.query("listing blobs", sql, (parameter,))
        try:
            return tuple(_held(row) for row in rows)
        except TypeError as error:
            raise damaged_row(self._database.path, "the list of blobs") from error

    async def drop_some(self, payload: HeldPayload) -> bool:
        """See `PayloadStore`. A group of chunks in one transaction."""
        await self._database.checkpoint_if_due()
        return await self._database.write("deleting a blob", partial(_delete_some, payload), durable=False, size=CHUNK_BYTES)

    async def return_space(self) -> int:
        """See `PayloadStore`. In small steps: bytes by which the file shrinks."""
        freed, more = 0, True
        while more:
            step, more = await self._database.vacuum_step(VACUUM_PAGES)
            freed += step
            await self._database.checkpoint_if_due()
        await self._database.truncate()
        return freed

    async def totals(self) -> tuple[int, int]:
        """See `PayloadStore`."""
        sql = "SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE missing = 0"
        blobs, payload_bytes = (await self._database.query("counting blobs", sql))[0]
        return blobs, payload_bytes


_HELD: Final = "SELECT id, root, size, begun FROM blobs"


def _held(row: tuple[Any, ...]) -> HeldPayload:
    """TypeError if a torn page has left columns of other types."""
    number, root, size, begun = row
    if not (isinstance(root, bytes) and isinstance(size, int) and isinstance(begun, int)):
        raise TypeError(f"a blob's row holds {root!r}, {size!r}, {begun!r}")
    return HeldPayload(number, Digest(root), size, Round(begun))


def marks(values: Sequence[object]) -> str:
    """A question mark for each value, for `IN (...)`."""
    return ", ".join("?" * len(values))


def rely_on(roots: Sequence[Digest], writer: sqlite3.Connection) -> None:
    """Make the running transaction, if it is a durable one, sync these payloads. MissingPayloadError if one is not complete."""
    sql = "SELECT 1 FROM blobs WHERE root = ? AND missing = 0"
    lacking = [root for root in roots if writer.execute(sql, (root,)).fetchone() is None]
    if lacking:
        raise MissingPayloadError(lacking)
    # A transaction without a dirty page syncs nothing, and writing what is there already makes none dirty.
    for missing in (1, 0):
        writer.execute("UPDATE blobs SET missing = ? WHERE root = ?", (missing, roots[0]))


def _start(manifest: Manifest, begun: Round, writer: sqlite3.Connection) -> tuple[int, ...]:
    """Enter a blob, or begin it anew; returns the indices of chunks that are not there."""
    root, hashes = manifest.blob.root, b"".join(manifest.chunks)
    writer.execute(
        "INSERT INTO blobs (root, size, missing, begun, hashes) VALUES (?1, ?2, ?3, ?4, ?5) "
        "ON CONFLICT (root) DO UPDATE SET begun = ?4, size = ?2, missing = iif(hashes = ?5, missing, ?3), hashes = ?5",
        (root, manifest.blob.size, len(manifest.chunks), begun, hashes),
    )
    blob_id, missing = writer.execute("SELECT id, missing FROM blobs WHERE root = ?", (root,)).fetchone()
    return _missing_chunks(writer, blob_id, manifest) if missing else ()


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


def _insert_group(puts: Sequence[_Put], writer: sqlite3.Connection) -> list[int | Exception]:
    """The outcome of each. One that is refused is so before anything of it is written."""
    outcomes: list[int | Exception] = []
    for put in puts:
        try:
            outcomes.append(_insert_chunks(put.root, ((put.index, put.data),), writer))
        except (KeyError, ValueError) as error:
            outcomes.append(error)
    return outcomes


def _delete_some(payload: HeldPayload, writer: sqlite3.Connection) -> bool:
    """Delete a group of chunks, then the blob: True once it is gone or was begun anew, False if there is more to do."""
    listed = (payload.number, payload.begun)
    if writer.execute("SELECT 1 FROM blobs WHERE id = ? AND begun = ?", listed).fetchone() is None:
        return True
    first = payload.number << CHUNK_ID_BITS
    deleted = writer.execute(
        "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE id >= ? AND id < ? LIMIT ?)",
        (first, first + (1 << CHUNK_ID_BITS), GROUP_CHUNKS),
    )
    if deleted.rowcount == GROUP_CHUNKS:
        return False
    writer.execute("DELETE FROM blobs WHERE id = ?", (payload.number,))
    return True
