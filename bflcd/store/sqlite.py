"""The block store in one SQLite file: blocks, the ledger at the head, records of the undecided round, blobs, addresses."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bflcd.core.records import Head, Pin, Record, RoundRecords
from bflcd.errors import MachineError, OperatorError
from bflcd.ledger.state import State
from bflcd.params import BlobRef, Genesis
from bflcd.store.blobs import BlobTable
from bflcd.store.blocks import (
    BLOCKS_SQL,
    HEAD_SQL,
    SEGMENTS_SQL,
    abandon_above,
    head_from_rows,
    headers_from_rows,
    insert_head,
    insert_payloads,
    insert_record,
    rewound,
    segment_from_columns,
)
from bflcd.store.chain import Placed, genesis_head, placed_payloads, successor, wrong_chain
from bflcd.store.checks import check_store
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.lock import DirectoryLock
from bflcd.store.protocol import MAX_ADDRESSES, Damage, PruneReport, StoreStats
from bflcd.store.pruner import Pruner
from bflcd.store.records import check_round, pins_of, round_records, row_of
from bflcd.store.rows import checksum, damaged_row, row_from_columns
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.codec import decode, encode
from bflcd.wire.requests import Manifest


class SqliteStore:
    """`BlockStore` on a data directory, which it holds alone unless it only reads."""

    def __init__(self, directory: Path, lock: DirectoryLock | None, database: Database) -> None:
        """Take an open database, with the lock under which it may be written. Use `open`."""
        self.directory = directory
        self._lock = lock
        self._database = database
        self._blobs = BlobTable(database)
        self._pruner = Pruner(database, self._blobs)
        self._head: Head | None = None
        self._payload_changes = 0
        self._oldest_payload: tuple[int, Round] | None = None

    @classmethod
    async def open(cls, directory: Path, *, create: bool = True) -> Self:
        """Open the store in `directory`, which is made if `create`.

        Raises OperatorError(code="no_store") if there is none and it may not be made; MachineError: locked (another process
        has it open), newer_store, damaged_store, disk_full, io_error.
        """
        if not create and not (directory / FILE_NAME).exists():
            raise OperatorError(f"{directory} holds no chain", hint="check --datadir", code="no_store")
        try:
            await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"cannot make the data directory {directory}: {error.strerror}", code="io_error") from error
        lock = DirectoryLock(directory)
        try:
            return cls(directory, lock, await Database.open(directory / FILE_NAME))
        except BaseException:
            lock.release()
            raise

    async def close(self) -> None:
        """See `BlockStore`."""
        try:
            await self._database.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    # The chain

    async def genesis(self) -> Genesis | None:
        """See `BlockStore`."""
        rows = await self._database.query("reading the genesis", "SELECT value, checksum FROM chain WHERE name = 'genesis'")
        if not rows:
            return None
        value, whole = rows[0]
        if checksum("genesis", value) != whole:
            raise damaged_row(self._database.path, "the genesis")
        return decode(value, Genesis)

    async def initialise(self, genesis: Genesis, header: Header, state: State) -> None:
        """See `BlockStore`."""
        held = await self.genesis()
        if held is not None:
            if held != genesis:
                raise wrong_chain(self.directory, held, genesis)
            return
        head = genesis_head(genesis, header, state)
        value = encode(genesis)

        def work(writer: sqlite3.Connection) -> None:
            writer.execute("INSERT INTO chain VALUES ('genesis', ?, ?)", (value, checksum("genesis", value)))
            insert_head(writer, head, certificate=None, segment=None)
            if header.blob is not None:
                insert_payloads(writer, head, (Placed(header.height, header.round, header.blob),))

        await self._database.write("storing the genesis", work, durable=True)
        self._payload_changes += 1
        self._head = head

    async def head(self) -> Head:
        """See `BlockStore`. LookupError before `initialise`."""
        if self._head is None:
            rows = await self._database.latest("reading the head", HEAD_SQL)
            self._head = await asyncio.to_thread(head_from_rows, self._database.path, rows)
        return self._head

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """See `BlockStore`."""
        previous = await self.head()
        head = await asyncio.to_thread(successor, previous, certified, state)
        segment, certificate = await asyncio.to_thread(lambda: (encode(certified.segment), encode(certified.certificate)))

        def work(writer: sqlite3.Connection) -> None:
            insert_head(writer, head, certificate=certificate, segment=segment)
            insert_payloads(writer, head, placed_payloads(certified))
            writer.execute("DELETE FROM records WHERE round < ?", (head.header.round,))
            writer.execute("DELETE FROM pins WHERE round < ?", (head.header.round,))

        self._head = None  # until it is known to be in: a cancelled commit may have gone through
        await self._database.write("committing a segment", work, durable=True, size=len(segment))
        self._payload_changes += 1
        self._head = head
        await self._database.checkpoint_if_due()

    async def rewind(self, round_: Round, state: State) -> None:
        """See `BlockStore`."""
        rows = await self._database.query("reading a block", f"{BLOCKS_SQL} WHERE round = ?", (round_,))
        head = await asyncio.to_thread(rewound, self._database.path, rows, round_, state)

        def work(writer: sqlite3.Connection) -> None:
            abandon_above(writer, head)

        self._head = None
        await self._database.write("taking blocks back", work, durable=True)
        self._blobs.unsettle()
        self._payload_changes += 1
        self._head = head

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """See `BlockStore`."""
        rows = await self._database.query(
            "reading a segment",
            f"{SEGMENTS_SQL} WHERE round = ? AND segment IS NOT NULL",
            (round_,),
        )
        return await asyncio.to_thread(segment_from_columns, self._database.path, rows[0]) if rows else None

    async def certificate(self, round_: Round) -> Certificate | None:
        """See `BlockStore`."""
        found = await self.headers(round_, 1) if round_ >= 1 else ()
        return found[0].certificate if found else None

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """See `BlockStore`."""
        if first < 1 or count < 0:
            raise ValueError(f"certified headers begin with round 1, not {first}; count {count}")
        rows = await self._database.query(
            "reading headers",
            f"{BLOCKS_SQL} WHERE round >= ? ORDER BY round LIMIT ?",
            (first, count),
        )
        return await asyncio.to_thread(headers_from_rows, self._database.path, first, rows)

    # Records of the undecided round

    async def persist(self, records: Sequence[Record]) -> None:
        """See `BlockStore`."""
        rows = [row_of(record) for record in records if not isinstance(record, Pin)]
        pins = {(record.round, root) for record in records for root in pins_of(record)}

        def work(writer: sqlite3.Connection) -> None:
            (newest,) = writer.execute("SELECT max(round) FROM segments").fetchone()
            for record in records:
                check_round(record, Round(newest or 0))
            for row in rows:
                insert_record(writer, row)
            writer.executemany(
                "INSERT OR IGNORE INTO pins VALUES (?, ?, ?)",
                [(round_, root, checksum(round_, root)) for round_, root in sorted(pins)],
            )

        await self._database.write("storing records", work, durable=True)

    async def records(self, round_: Round) -> RoundRecords:
        """See `BlockStore`."""
        sql = "SELECT round, kind, place, digest, checksum, body FROM records WHERE round = ? ORDER BY id"
        rows = await self._database.query("reading records", sql, (round_,))
        path = self._database.path
        return await asyncio.to_thread(lambda: round_records(row_from_columns(path, row) for row in rows))

    # Blobs

    async def start_blob(self, manifest: Manifest) -> tuple[int, ...]:
        """See `BlockStore`."""
        return await self._blobs.start(manifest, await self._round())

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """See `BlockStore`."""
        done = await self._blobs.put_chunk(root, index, data)
        if done:
            self._payload_changes += 1
        return done

    async def put_blob(self, data: bytes) -> BlobRef:
        """See `BlockStore`."""
        blob = await self._blobs.put_blob(data, await self._round())
        self._payload_changes += 1
        return blob

    async def has_blob(self, root: Digest) -> bool:
        """See `BlockStore`."""
        return await self._blobs.has(root)

    async def manifest(self, root: Digest) -> Manifest | None:
        """See `BlockStore`."""
        return await self._blobs.manifest(root)

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """See `BlockStore`."""
        return await self._blobs.chunk(root, index)

    async def blob(self, root: Digest) -> bytes | None:
        """See `BlockStore`."""
        return await self._blobs.blob(root)

    async def unpublished(self) -> tuple[Digest, ...]:
        """See `BlockStore`."""
        return tuple(payload.root for payload in await self._blobs.payloads() if payload.newest is None)

    async def drop_blob(self, root: Digest) -> None:
        """See `BlockStore`. Which block names it stays on record, so a blob that one needs is missing from then on."""
        self._payload_changes += 1
        await self._blobs.delete(root, _always)

    # Pruning

    async def prune(self, keep: int, *, dry_run: bool) -> PruneReport:
        """See `BlockStore`. A dry run estimates the bytes to be freed by the payloads' sizes."""
        report = await self._pruner.prune(keep, dry_run=dry_run)
        self._payload_changes += 1
        return report

    async def discard_stale(self, round_: Round) -> None:
        """See `BlockStore`."""
        await self._pruner.discard_stale(round_)

    # For people

    async def stats(self) -> StoreStats:
        """See `BlockStore`."""
        sql = "SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE missing = 0"
        blobs, payload_bytes = (await self._database.query("counting blobs", sql))[0]
        size = await asyncio.to_thread(self._database.size_on_disk)
        return StoreStats(size, blobs, payload_bytes, await self._first_complete_round())

    async def _first_complete_round(self) -> Round:
        changes, known = self._payload_changes, self._oldest_payload
        if known is None or known[0] != changes:
            rows = await self._database.query(
                "counting blobs",
                "SELECT round FROM payloads p WHERE NOT EXISTS "
                "(SELECT 1 FROM blobs b WHERE b.root = p.root AND b.missing = 0) ORDER BY height DESC LIMIT 1",
            )
            if rows and not isinstance(rows[0][0], int):  # what a torn page leaves
                raise damaged_row(self._database.path, "the index of payloads")
            known = (changes, Round(rows[0][0] + 1) if rows else Round(0))
            self._oldest_payload = known
        return known[1]

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """See `BlockStore`."""
        return await check_store(self._database, deep=deep)

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """See `BlockStore`."""
        rows = await self._database.query("reading addresses", "SELECT node, address FROM addresses ORDER BY id DESC")
        # A row that a torn page has spoiled is no loss: the book is a hint, and an address is authenticated when it is dialled.
        return tuple((NodeId(node), address) for node, address in rows if isinstance(node, bytes) and isinstance(address, str))

    async def remember_address(self, node: NodeId, address: str) -> None:
        """See `BlockStore`."""

        def work(writer: sqlite3.Connection) -> None:
            writer.execute("INSERT OR REPLACE INTO addresses (node, address) VALUES (?, ?)", (node, address))
            writer.execute(
                "DELETE FROM addresses WHERE id <= (SELECT id FROM addresses ORDER BY id DESC LIMIT 1 OFFSET ?)", (MAX_ADDRESSES,)
            )

        await self._database.write("storing an address", work, durable=False)

    async def _round(self) -> Round:
        """The undecided round, or 0 before there is a chain."""
        try:
            return (await self.head()).header.round
        except LookupError:
            return Round(0)


def _always(_: sqlite3.Connection) -> bool:
    return True
