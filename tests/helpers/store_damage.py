"""Files of a store, spoiled in every way a disk can: cut, torn, flipped; and what a store answers after that."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bflcd.errors import MachineError
from bflcd.store.database import FILE_NAME
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round
from tests.helpers.store import payload, ref, round_payloads

WAL_HEADER: Final = 32
"""Bytes before the first frame of a log (SQLite's file format, section 4)."""

FRAME: Final = 24 + PAGE_BYTES
"""Bytes of a frame: its header, then the page."""

ROUNDS: Final = 6
"""Rounds that `contents` asks for."""

BLOB_BYTES: Final = 20_000
"""Size of the payloads that `contents` asks for."""


@contextmanager
def quick_place() -> Iterator[Path]:
    """A folder in memory where there is one: what is killed or limited there is not the disk, and thousands of syncs cost nothing."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="bflc-store-", dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Files:
    """A store's two files as bytes."""

    main: bytes
    log: bytes

    @classmethod
    def of(cls, directory: Path) -> "Files":
        """What lies in `directory` at this instant: what a crash would leave."""
        log = directory / f"{FILE_NAME}-wal"
        return cls((directory / FILE_NAME).read_bytes(), log.read_bytes() if log.exists() else b"")

    def put(self, directory: Path) -> Path:
        """Write them into `directory`, made new; returns it."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        (directory / FILE_NAME).write_bytes(self.main)
        if self.log:
            (directory / f"{FILE_NAME}-wal").write_bytes(self.log)
        return directory

    def cut(self, length: int) -> "Files":
        """The log cut after `length` bytes."""
        return Files(self.main, self.log[:length])

    @property
    def edges(self) -> tuple[int, ...]:
        """Lengths at which the log ends with a whole frame; the first is an empty log."""
        return tuple(range(WAL_HEADER, len(self.log) + 1, FRAME))

    def page_of(self, frame: int) -> tuple[int, bytes]:
        """Number, from 0, and bytes of the page in a frame of the log."""
        at = WAL_HEADER + frame * FRAME
        return int.from_bytes(self.log[at : at + 4], "big") - 1, self.log[at + 24 : at + FRAME]


def flipped(data: bytes, position: int, bit: int) -> bytes:
    """`data` with one bit the other way."""
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def used_positions(data: bytes, count: int, draw: random.Random) -> list[int]:
    """`count` positions: most of them of bytes that are not zero, some of them in the file's header, some anywhere."""
    used = [at for at in range(len(data)) if data[at]]
    anywhere, header = max(1, count // 8), max(1, count // 16)
    some = draw.sample(used, count - anywhere - header)
    return [*some, *(draw.randrange(100) for _ in range(header)), *(draw.randrange(len(data)) for _ in range(anywhere))]


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a store is asked for."""

    values: tuple[Any, ...]


async def contents(store: SqliteStore) -> Contents:
    """Every answer of a store that holds `ROUNDS` rounds at most, with payloads of `BLOB_BYTES`; not the address book, a hint."""
    rounds = [Round(r) for r in range(ROUNDS)]
    values = [
        await store.genesis(),
        await store.head(),
        *[await store.segment(r) for r in rounds],
        await store.headers(Round(1), 10),
        *[await store.records(r) for r in rounds],
        *[await store.blob(ref(data).root) for r in range(3) for data in round_payloads(r, BLOB_BYTES)],
        await store.manifest(ref(payload("model 0")).root),
        await store.prune(1, dry_run=True),
    ]
    return Contents(tuple(values))


async def findings(directory: Path) -> tuple[str, ...]:
    """What opening and a deep check say."""
    try:
        store = await SqliteStore.open(directory)
    except MachineError as error:
        return (f"{error.code}: {error}",)
    try:
        return tuple(f"{damage.where}: {damage.text}" for damage in await store.check(deep=True))
    finally:
        await store.close()
