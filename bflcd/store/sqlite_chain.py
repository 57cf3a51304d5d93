"""The chain side in SQLite: blocks, the ledger at the head, records of the undecided round, the index of payloads, addresses."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from bflcd.core.records import Head, Pin, Record, RoundRecords
from bflcd.ledger.state import State
from bflcd.params import Genesis
from bflcd.store.blobs import IDS_AT_ONCE, marks, rely_on
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
from bflcd.store.checks import check_chain
from bflcd.store.database import Database
from bflcd.store.protocol import MAX_ADDRESSES, Damage
from bflcd.store.pruning import Needs
from bflcd.store.records import check_round, pins_of, round_records, row_of
from bflcd.store.rows import checksum, damaged_row, row_from_columns
from bflcd.types import Digest, Height, NodeId, Round
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.codec import decode, encode


class SqliteChain:
    """`ChainSide` on an open database; in one file with `SqlitePayloads`, or beside a payload store of another make."""

    def __init__(self, database: Database) -> None:
        """The chain in `database`, which is closed with it."""
        self._database = database
        self._head: Head | None = None
        self._moves = 0
        """Times that the head was about to move: who reads it from the database meanwhile may have read the one before."""

    async def close(self) -> None:
        """See `ChainSide`."""
        await self._database.close()

    def size_on_disk(self) -> int:
        """See `ChainSide`."""
        return self._database.size_on_disk()

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """See `ChainSide`. The pages of the whole file are looked at, whoever keeps tables in it."""
        return await check_chain(self._database, deep=deep)

    async def genesis(self) -> Genesis | None:
        """See `ChainStore`."""
        rows = await self._database.query("reading the genesis", "SELECT value, checksum FROM chain WHERE name = 'genesis'")
        if not rows:
            return None
        value, whole = rows[0]
        if checksum("genesis", value) != whole:
            raise damaged_row(self._database.path, "the genesis")
        return decode(value, Genesis)

    async def initialise(self, genesis: Genesis, header: Header, state: State) -> None:
        """See `ChainStore`."""
        held = await self.genesis()
        if held is not None:
            if held != genesis:
                raise wrong_chain(self._database.path.parent, held, genesis)
            return
        head = genesis_head(genesis, header, state)
        value = encode(genesis)

        def work(writer: sqlite3.Connection) -> None:
            writer.execute("INSERT INTO chain VALUES ('genesis', ?, ?)", (value, checksum("genesis", value)))
            insert_head(writer, head, certificate=None, segment=None)
            if header.blob is not None:
                insert_payloads(writer, head, (Placed(header.height, header.round, header.blob.root),))

        await self._database.write("storing the genesis", work, durable=True)
        self._head = head

    async def head(self) -> Head:
        """See `ChainStore`."""
        if self._head is not None:
            return self._head
        moves = self._moves
        rows = await self._database.latest("reading the head", HEAD_SQL)
        found = await asyncio.to_thread(head_from_rows, self._database.path, rows)
        if self._head is None and self._moves == moves:
            self._head = found
        return found

    def _forget_head(self) -> None:
        self._head = None
        self._moves += 1

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """See `ChainStore`."""
        previous = await self.head()
        head, segment, certificate = await asyncio.to_thread(
            lambda: (successor(previous, certified, state), encode(certified.segment), encode(certified.certificate))
        )

        def work(writer: sqlite3.Connection) -> None:
            insert_head(writer, head, certificate=certificate, segment=segment)
            insert_payloads(writer, head, placed_payloads(certified))
            writer.execute("DELETE FROM records WHERE round < ?", (head.header.round,))
            writer.execute("DELETE FROM pins WHERE round < ?", (head.header.round,))

        self._forget_head()  # until it is known to be in: a cancelled commit may have gone through
        try:
            await self._database.write("committing a segment", work, durable=True, size=len(segment))
        except BaseException:
            self._forget_head()  # of whoever has read it before that
            raise
        self._head = head
        await self._database.checkpoint_if_due()

    async def rewind(self, round_: Round, state: State) -> None:
        """See `ChainStore`."""
        rows = await self._database.query("reading a block", f"{BLOCKS_SQL} WHERE round = ?", (round_,))
        head = await asyncio.to_thread(rewound, self._database.path, rows, round_, state)

        def work(writer: sqlite3.Connection) -> None:
            abandon_above(writer, head)

        self._forget_head()
        await self._database.write("taking blocks back", work, durable=True)
        self._head = head

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """See `ChainStore`."""
        rows = await self._database.query(
            "reading a segment",
            f"{SEGMENTS_SQL} WHERE round = ? AND segment IS NOT NULL",
            (round_,),
        )
        return await asyncio.to_thread(segment_from_columns, self._database.path, rows[0]) if rows else None

    async def certificate(self, round_: Round) -> Certificate | None:
        """See `ChainStore`."""
        found = await self.headers(round_, 1) if round_ >= 1 else ()
        return found[0].certificate if found else None

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """See `ChainStore`."""
        if first < 1 or count < 0:
            raise ValueError(f"certified headers begin with round 1, not {first}; count {count}")
        rows = await self._database.query(
            "reading headers",
            f"{BLOCKS_SQL} WHERE round >= ? ORDER BY round LIMIT ?",
            (first, count),
        )
        return await asyncio.to_thread(headers_from_rows, self._database.path, first, rows)

    # Records of the undecided round

    async def persist(self, records: Sequence[Record], relies_on: tuple[Digest, ...] = ()) -> None:
        """See `RecordStore`. `relies_on`: payloads in the same file, which the transaction makes durable with the records;
        MissingPayloadError if one is not complete."""
        rows = [row_of(record) for record in records if not isinstance(record, Pin)]
        pins = {(record.round, root) for record in records for root in pins_of(record)}

        def work(writer: sqlite3.Connection) -> None:
            (newest,) = writer.execute("SELECT max(round) FROM segments").fetchone()
            if relies_on:
                rely_on(relies_on, writer)
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
        """See `RecordStore`."""
        sql = "SELECT round, kind, place, digest, checksum, body FROM records WHERE round = ? ORDER BY id"
        rows = await self._database.query("reading records", sql, (round_,))
        path = self._database.path
        return await asyncio.to_thread(lambda: round_records(row_from_columns(path, row) for row in rows))

    # The index of payloads

    async def needs(self) -> Needs:
        """See `PayloadIndex`. Raises MachineError if a torn page has left columns of other types."""
        rounds = await self._database.query("pruning", _ROUNDS)
        return needs_from_rows(self._database, rounds, await self._database.query("pruning", _PINS, (0,)))

    async def pinned(self, first: Round) -> frozenset[Digest]:
        """See `PayloadIndex`."""
        return _roots(self._database, await self._database.query("pruning", _PINS, (first,)))

    async def named(self, roots: Sequence[Digest]) -> dict[Digest, Round]:
        """See `PayloadIndex`."""
        found: dict[Digest, Round] = {}
        for at in range(0, len(roots), IDS_AT_ONCE):
            some = roots[at : at + IDS_AT_ONCE]
            sql = f"SELECT root, max(round) FROM payloads WHERE root IN ({marks(some)}) GROUP BY root"  # noqa: S608 - question marks only
            for root, round_ in await self._database.query("looking up payloads", sql, some):
                if not isinstance(round_, int):
                    raise damaged_row(self._database.path, "the index of payloads")
                found[Digest(root)] = Round(round_)
        return found

    async def placed(self, above: Height, below: Height | None, count: int) -> tuple[Placed, ...]:
        """See `PayloadIndex`."""
        sql = "SELECT height, round, root FROM payloads WHERE height > ?1 AND height < ?2 ORDER BY height DESC LIMIT ?3"
        rows = await self._database.query("counting blobs", sql, (above, _ABOVE_ALL if below is None else below, count))
        if not all(isinstance(round_, int) and isinstance(root, bytes) for _, round_, root in rows):
            raise damaged_row(self._database.path, "the index of payloads")
        return tuple(Placed(Height(height), Round(round_), Digest(root)) for height, round_, root in rows)

    async def height_before(self, round_: Round) -> Height:
        """See `PayloadIndex`."""
        rows = await self._database.query("pruning", "SELECT max(height) FROM payloads WHERE round < ?", (round_,))
        return Height(rows[0][0] or 0)

    # The address book

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """See `AddressBook`."""
        rows = await self._database.query("reading addresses", "SELECT node, address FROM addresses ORDER BY id DESC")
        # A row that a torn page has spoiled is no loss: the book is a hint, and an address is authenticated when it is dialled.
        return tuple((NodeId(node), address) for node, address in rows if isinstance(node, bytes) and isinstance(address, str))

    async def remember_address(self, node: NodeId, address: str) -> None:
        """See `AddressBook`."""

        def work(writer: sqlite3.Connection) -> None:
            writer.execute("INSERT OR REPLACE INTO addresses (node, address) VALUES (?, ?)", (node, address))
            writer.execute(
                "DELETE FROM addresses WHERE id <= (SELECT id FROM addresses ORDER BY id DESC LIMIT 1 OFFSET ?)", (MAX_ADDRESSES,)
            )

        await self._database.write("storing an address", work, durable=False)


def needs_from_rows(database: Database, rounds: list[tuple[Any, ...]], pins: list[tuple[Any, ...]]) -> Needs:
    """Raises MachineError if a torn page has left columns of other types: a pin that can't be read must not be forgotten."""
    if not all(isinstance(value, int | None) for row in rounds for value in row):
        raise damaged_row(database.path, "the list of undecided rounds")
    return Needs(Round(rounds[0][0] or 0), frozenset(Round(row[1] or 0) for row in rounds), _roots(database, pins))


def _roots(database: Database, pins: list[tuple[Any, ...]]) -> frozenset[Digest]:
    if not all(isinstance(root, bytes) for (root,) in pins):
        raise damaged_row(database.path, "the list of pins")
    return frozenset(Digest(root) for (root,) in pins)


_ROUNDS: Final = (
    "SELECT max(round), max(round) FROM segments UNION SELECT (SELECT max(round) FROM segments), round FROM records "
    "UNION SELECT (SELECT max(round) FROM segments), round FROM pins"
)
"""The head's round beside each undecided one, the head's among them."""

_PINS: Final = "SELECT root FROM pins WHERE round >= ?"

_ABOVE_ALL: Final = 2**63 - 1
"""Above every height."""
