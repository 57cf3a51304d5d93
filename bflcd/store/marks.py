"""The mark file: the last thing this node signed, outside the database (design 6.3).

SQLite opens a log that was cut at a frame's edge as a clean older database, which would let the node sign a place twice. The
mark is written after the database and before a message leaves, so a database without the mark's record is known to be behind.

The file has two slots, written in turn, each holding the same checksummed record twice in sectors of its own. A crash while
writing spoils at most the slot being written, whose mark was not acknowledged; a flipped bit spoils one copy of two.
"""

import asyncio
import os
import struct
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Final

from bflcd.core.signing_guard import Mark
from bflcd.errors import InvariantError, MachineError
from bflcd.faults import is_there, sync_directory
from bflcd.files import read_regular
from bflcd.store.lock import disk_error
from bflcd.types import HASH_BYTES, Digest, Epoch, Round, View

SECTOR_BYTES: Final = 4096
"""Larger than any disk's sector: what one torn write can spoil."""

FILE_BYTES: Final = 4 * SECTOR_BYTES
"""Two slots of two copies."""

_MAGIC: Final = b"bflcmark"
_RECORD: Final = struct.Struct(f">8sQQQQI{HASH_BYTES}s")
"""Magic, sequence number, epoch, round, view, phase, digest. Sequence 0: nothing was signed yet."""

_CHECKSUM_BYTES: Final = 16


def _encode(sequence: int, mark: Mark) -> bytes:
    record = _RECORD.pack(_MAGIC, sequence, mark.epoch, mark.round, mark.view, mark.phase, mark.digest)
    return record + blake2b(record, digest_size=_CHECKSUM_BYTES).digest()


def _decode(sector: bytes) -> tuple[int, Mark] | None:
    """Sequence number and mark of a copy, or None if its checksum is wrong."""
    record, checksum = sector[: _RECORD.size], sector[_RECORD.size : _RECORD.size + _CHECKSUM_BYTES]
    if blake2b(record, digest_size=_CHECKSUM_BYTES).digest() != checksum:
        return None
    magic, sequence, epoch, round_, view, phase, digest = _RECORD.unpack(record)
    if magic != _MAGIC:
        return None
    return sequence, Mark(Epoch(epoch), Round(round_), View(view), phase, Digest(digest))


_NOTHING: Final = Mark(Epoch(0), Round(0), View(0), 0, Digest(bytes(HASH_BYTES)))
"""What a fresh file holds, under sequence number 0."""


def read(path: Path) -> tuple[int, Mark | None]:
    """Sequence number and mark in the file at `path`; the mark is None if nothing was signed yet.

    Raises MachineError(code="damaged_mark") if the file has the wrong size or no intact copy, io_error if it can't be read.
    """
    try:
        data = read_regular(path, FILE_BYTES)
    except OSError as error:
        raise disk_error(f"cannot read the mark file {path}", error) from error
    copies = [_decode(data[at : at + SECTOR_BYTES]) for at in range(0, len(data), SECTOR_BYTES)]
    intact = [copy for copy in copies if copy is not None]
    if len(data) != FILE_BYTES or not intact:
        raise MachineError(
            f"the mark file {path} is damaged: {len(data)} bytes, {len(intact)} of 4 copies intact; "
            "what this node signed last is unknown, so it must not sign",
            hint="restore the file, or start over with a fresh data directory and a new key",
            code="damaged_mark",
        )
    sequence, mark = max(intact, key=lambda copy: copy[0])
    return sequence, mark if sequence else None


class MarkFile:
    """The open mark file of a data directory. One holder at a time: the directory's lock sees to that."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, making it if it is not there. Raises MachineError as `read` does."""
        self.path = path
        if not is_there(path):
            _create(path)
        self._sequence, self._mark = read(path)
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error(f"cannot open the mark file {path}", error) from error
        self._turn = threading.Lock()

    def highest(self) -> Mark | None:
        """The last mark written; round and epoch never go back."""
        return self._mark

    async def write(self, mark: Mark) -> None:
        """Make `mark` durable; when it returns, the message may leave. Runs in a thread, in the order of the calls.

        Raises InvariantError if the round goes back, or the epoch within one; MachineError (disk_full, io_error) if the disk
        fails.
        """
        await asyncio.to_thread(self.write_now, mark)

    def write_now(self, mark: Mark) -> None:
        """`write`, blocking: one write and one fdatasync."""
        with self._turn:
            if self._descriptor < 0:
                raise InvariantError(f"the mark file {self.path} is closed")
            if self._mark is not None and (mark.round, mark.epoch) < (self._mark.round, self._mark.epoch):
                raise InvariantError(
                    f"a signature in round {mark.round}, epoch {mark.epoch} after one in "
                    f"round {self._mark.round}, epoch {self._mark.epoch}"
                )
            if mark == self._mark:
                return
            _write_slot(self._descriptor, self.path, self._sequence + 1, mark)
            self._sequence, self._mark = self._sequence + 1, mark

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._turn:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def _write_slot(descriptor: int, path: Path, sequence: int, mark: Mark) -> None:
    record, start = _encode(sequence, mark), (sequence % 2) * 2 * SECTOR_BYTES
    try:
        os.pwrite(descriptor, record, start)
        os.pwrite(descriptor, record, start + SECTOR_BYTES)
        os.fdatasync(descriptor)
    except OSError as error:
        raise disk_error(f"nothing may be sent: cannot write the mark file {path}", error) from error


def _create(path: Path) -> None:
    """A file that holds `_NOTHING` four times, complete or absent."""
    temporary = path.with_name(path.name + ".new")
    sector = _encode(0, _NOTHING).ljust(SECTOR_BYTES, b"\0")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, sector * 4)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise disk_error(f"cannot make the mark file {path}", error) from error
