"""Checksums of rows: SQLite does not notice a flipped bit, so every row of the chain carries a hash of its columns."""

from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from bflcd.crypto.hashing import blob_root
from bflcd.errors import MachineError
from bflcd.params import BlobRef
from bflcd.store.records import Kind, Row
from bflcd.types import HASH_BYTES, Digest, Round
from bflcd.wire.requests import Manifest

CHECKSUM_BYTES: Final = 16


def checksum(*columns: bytes | str | int | None) -> bytes:
    """Hash over the columns of a row, each with its type and length."""
    state = blake2b(digest_size=CHECKSUM_BYTES, person=b"bflc1.row")
    for column in columns:
        raw = column if isinstance(column, bytes) else repr(column).encode()
        state.update(f"{type(column).__name__}:{len(raw)}:".encode())
        state.update(raw)
    return state.digest()


def damaged_row(path: Path, where: str) -> MachineError:
    """The refusal to use a row whose checksum is wrong."""
    return MachineError(
        f"{path} is damaged: {where} is not what was written",
        hint="run `bflc-cli verify`; if it can't be mended, start over from the peers",
        code="damaged_store",
    )


def record_columns(row: Row) -> tuple[int, int, bytes, bytes, bytes, bytes]:
    """Columns of the table `records` but its id: round, kind, place, digest, checksum, body."""
    whole = checksum(row.round, int(row.kind), row.place, row.digest, row.body)
    return row.round, int(row.kind), row.place, row.digest, whole, row.body


def row_from_columns(path: Path, columns: tuple[Any, ...]) -> Row:
    """The reverse of `record_columns`. Raises MachineError(code="damaged_store")."""
    round_, kind, place, digest, whole, body = columns
    if checksum(round_, kind, place, digest, body) != whole:
        raise damaged_row(path, f"a record of round {round_}")
    return Row(Round(round_), Kind(kind), place, Digest(digest), body)


def manifest_from_columns(root: Digest, size: int, hashes: bytes) -> Manifest | None:
    """The manifest in a row of `blobs`, or None if it does not hash to its root, or a torn page has left other types."""
    if not (isinstance(root, bytes) and isinstance(size, int) and isinstance(hashes, bytes)):
        return None
    chunks = tuple(Digest(hashes[at : at + HASH_BYTES]) for at in range(0, len(hashes), HASH_BYTES))
    try:
        return Manifest(BlobRef(root, size), chunks) if blob_root(size, chunks) == root else None
    except ValueError:
        return None
