"""Rows of blocks and records: written inside a transaction, verified when they are read."""

import sqlite3
from pathlib import Path
from typing import Any, Final

from bflcd.core.records import Head
from bflcd.errors import PeerError
from bflcd.ledger.state import State, state_hash
from bflcd.store.chain import Placed, check_state
from bflcd.store.records import Row, contradiction
from bflcd.store.rows import checksum, damaged_row, record_columns
from bflcd.types import Digest, Round
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header, Segment
from bflcd.wire.codec import decode, encode


def insert_head(writer: sqlite3.Connection, head: Head, *, certificate: bytes | None, segment: bytes | None) -> None:
    """A block's row, and the state after it in place of the one before."""
    header, round_ = encode(head.header), head.header.round
    writer.execute(
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            round_,
            head.hash,
            header,
            certificate,
            checksum(round_, head.hash, header, certificate),
            segment,
            None if segment is None else checksum(round_, segment),
        ),
    )
    _put_state(writer, head)


def _put_state(writer: sqlite3.Connection, head: Head) -> None:
    state = encode(head.state)
    writer.execute("INSERT OR REPLACE INTO chain VALUES ('state', ?, ?)", (state, checksum("state", state)))


def insert_payloads(writer: sqlite3.Connection, head: Head, placed: tuple[Placed, ...]) -> None:
    """Rows that say which of the blocks that end in `head` name which blobs."""
    writer.executemany(
        "INSERT INTO payloads (height, round, segment, root) VALUES (?, ?, ?, ?)",
        [(item.height, item.round, head.header.round, item.root) for item in placed],
    )


def insert_record(writer: sqlite3.Connection, row: Row) -> None:
    """Insert a record; the same one is there already: fine; another in its place: InvariantError."""
    held = writer.execute(
        "SELECT digest FROM records WHERE round = ? AND kind = ? AND place = ?", (row.round, int(row.kind), row.place)
    ).fetchone()
    if held is None:
        writer.execute(
            "INSERT INTO records (round, kind, place, digest, checksum, body) VALUES (?, ?, ?, ?, ?, ?)", record_columns(row)
        )
    elif held[0] != row.digest:
        raise contradiction(row, Digest(held[0]))


BLOCKS_SQL: Final = "SELECT round, hash, header, certificate, checksum FROM segments"
"""What proves blocks without their segments."""

SEGMENTS_SQL: Final = "SELECT round, hash, header, certificate, checksum, segment, segment_checksum FROM segments"

HEAD_SQL: Final = (
    "SELECT round, hash, header, certificate, checksum, (SELECT value FROM chain WHERE name = 'state') "
    "FROM segments ORDER BY round DESC LIMIT 1"
)


def block_is_whole(columns: tuple[Any, ...]) -> bool:
    """Whether the columns of `BLOCKS_SQL`, with which the row begins, are what was written."""
    return bool(checksum(*columns[:4]) == columns[4])


def _check_block(path: Path, columns: tuple[Any, ...]) -> None:
    if not block_is_whole(columns):
        raise damaged_row(path, f"the block of round {columns[0]}")


def head_from_rows(path: Path, rows: list[tuple[Any, ...]]) -> Head:
    """The newest block and its state, both verified. LookupError if there is none."""
    if not rows:
        raise LookupError("the store holds no chain yet: initialise it with a genesis")
    _check_block(path, rows[0])
    _, digest, header, _, _, state = rows[0]
    if not isinstance(state, bytes):  # gone, or what a torn page has left
        raise damaged_row(path, "the state at the head")
    try:
        head = Head(decode(header, Header), Digest(digest), decode(state, State))
    except PeerError as error:
        raise damaged_row(path, "the state at the head") from error
    if head.header.model is None or state_hash(head.state) != head.header.model.state:
        raise damaged_row(path, "the state at the head")
    return head


def rewound(path: Path, rows: list[tuple[Any, ...]], round_: Round, state: State) -> Head:
    """The head that the model of `round_` makes, with the ledger that its header commits to. Raises ValueError, MachineError."""
    if not rows:
        raise ValueError(f"there is no model of round {round_} to return to")
    _check_block(path, rows[0])
    _, digest, header, _, _ = rows[0]
    head = Head(decode(header, Header), Digest(digest), state)
    check_state(head.header, state)
    return head


def abandon_above(writer: sqlite3.Connection, head: Head) -> None:
    """Archive every block above `head`, drop what belongs to their rounds, and make `head` the head."""
    round_ = head.header.round
    writer.execute(
        "INSERT INTO abandoned (round, hash, header, certificate, segment) "
        "SELECT round, hash, header, certificate, segment FROM segments WHERE round > ?",
        (round_,),
    )
    for sql in (
        "DELETE FROM payloads WHERE segment > ?",
        "DELETE FROM segments WHERE round > ?",
        "DELETE FROM records WHERE round > ?",
        "DELETE FROM pins WHERE round > ?",
    ):
        writer.execute(sql, (round_,))
    _put_state(writer, head)


def headers_from_rows(path: Path, first: Round, rows: list[tuple[Any, ...]]) -> tuple[CertifiedHeader, ...]:
    """Decode rows of rounds first, first + 1, ... up to the first gap. Raises MachineError(code="damaged_store")."""
    found = []
    for expected, row in enumerate(rows, first):
        round_, _, header, certificate, _ = row
        if round_ != expected:
            break
        _check_block(path, row)
        found.append(CertifiedHeader(decode(header, Header), decode(certificate, Certificate)))
    return tuple(found)


def segment_from_columns(path: Path, columns: tuple[Any, ...]) -> CertifiedSegment:
    """Decode a row of `segments`, as `SEGMENTS_SQL` gives it. Raises MachineError(code="damaged_store")."""
    round_, _, _, certificate, _, segment, whole = columns
    if not block_is_whole(columns) or checksum(round_, segment) != whole:
        raise damaged_row(path, f"the segment of round {round_}")
    return CertifiedSegment(decode(segment, Segment), decode(certificate, Certificate))
