"""Failpoints: places before, inside and after every durable write of a daemon at which a test kills it with SIGKILL.

The product holds no test code: `install` wraps the functions through which all durable writes go. Which failpoint kills, and at
which passing, stands in a file that the test puts beside the data directory while the daemon runs, so that one start serves one
kill. It is removed before the signal: the next start is an ordinary one.
"""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bflcd.store import database, marks
from bflcd.store.database import Database

TRANSACTIONS: Final = (
    "storing the genesis",
    "storing records",
    "committing a segment",
    "starting a blob",
    "storing chunks",
    "storing a blob",
    "deleting a blob",
    "storing an address",
)
"""Every transaction of the store, by what `Database.write` is told that it is."""

STAGES: Final = ("before", "inside", "after")
"""Before BEGIN; written but not committed; committed but not answered."""

MARK: Final = ("mark: before", "mark: half a copy", "mark: one copy", "mark: two copies", "mark: after")
NEW_MARKS: Final = ("new marks: before", "new marks: written", "new marks: synced", "new marks: renamed", "new marks: after")
TABLES: Final = ("tables: before", "tables: after")
SPACE: Final = ("returning space: before", "returning space: after", "truncating the log: before", "truncating the log: after")

POINTS: Final = (
    *(f"{what}: {stage}" for what in TRANSACTIONS for stage in STAGES),
    *MARK,
    *NEW_MARKS,
    *TABLES,
    *SPACE,
)
"""All failpoints."""

FIRST_START: Final = (
    *(f"{what}: {stage}" for what in ("storing the genesis", "storing an address") for stage in STAGES),
    *NEW_MARKS,
)
"""Those that a node passes for certain only if it starts without a chain."""

LARGE_ONLY: Final = tuple(f"storing a blob: {stage}" for stage in STAGES)
"""Those of a payload that takes more than one transaction: no update of the campaign's task does."""

DAEMONS: Final = tuple(point for point in POINTS if point not in LARGE_ONLY)
"""Those that daemons of the campaign pass."""

PRUNED_ONLY: Final = (*(f"deleting a blob: {stage}" for stage in STAGES), *SPACE)
"""Those that a node passes for certain only if it prunes."""


@dataclass(frozen=True, slots=True)
class Order:
    """Kill at the `passing`-th time that `point` is reached from now on."""

    point: str
    passing: int

    def place(self, path: Path) -> None:
        """Give it to the daemon that looks at `path`."""
        new = path.with_suffix(".new")
        new.write_text(f"{self.point}|{self.passing}", encoding="utf-8")
        new.rename(path)


class Killer:
    """Counts passings, and ends the process at the one that was ordered."""

    def __init__(self, path: Path, on_hit: Callable[[str], None]) -> None:
        """`on_hit` is told right before the signal."""
        self._path = path
        self._on_hit = on_hit
        self._order: Order | None = None
        self._passed = 0
        self._turn = threading.Lock()

    def reached(self, point: str) -> None:
        """Called at each failpoint, on whatever thread passes it."""
        with self._turn:
            order = self._read()
            if order is None or order.point != point:
                return
            self._passed += 1
            if self._passed < order.passing:
                return
            self._path.unlink()
            self._on_hit(point)
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # the signal is under way: nothing may be written any more

    def _read(self) -> Order | None:
        if self._order is None:
            try:
                point, passing = self._path.read_text(encoding="utf-8").split("|")
            except FileNotFoundError:
                return None
            self._order = Order(point, int(passing))
        return self._order


class _Named:
    """The work of a transaction, and what it is called."""

    def __init__(self, what: str, work: Callable[[sqlite3.Connection], Any], reached: Callable[[str], None]) -> None:
        self.what = what
        self._work = work
        self._reached = reached

    def __call__(self, connection: sqlite3.Connection) -> Any:
        result = self._work(connection)
        self._reached(f"{self.what}: inside")
        return result


def install(reached: Callable[[str], None]) -> None:
    """Wrap every durable write of this process."""
    _wrap_transactions(reached)
    _wrap_upkeep(reached)
    _wrap_marks(reached)


def _wrap_transactions(reached: Callable[[str], None]) -> None:
    write, transact, prepare = Database.write, database._transact, database._prepare

    async def named_write(self: Database, what: str, work: Any, **options: Any) -> Any:
        return await write(self, what, _Named(what, work, reached), **options)

    def named_transact(work: _Named, durable: bool, connection: sqlite3.Connection) -> Any:
        reached(f"{work.what}: before")
        result = transact(work, durable, connection)
        reached(f"{work.what}: after")
        return result

    async def named_prepare(*arguments: Any) -> None:
        reached("tables: before")
        await prepare(*arguments)
        reached("tables: after")

    Database.write = named_write  # type: ignore[method-assign]
    database._transact = named_transact  # type: ignore[assignment]
    database._prepare = named_prepare


def _wrap_upkeep(reached: Callable[[str], None]) -> None:
    truncate, vacuum = Database.truncate, database._vacuum

    async def named_truncate(self: Database) -> None:
        reached("truncating the log: before")
        await truncate(self)
        reached("truncating the log: after")

    def named_vacuum(pages: int, connection: sqlite3.Connection) -> tuple[int, bool]:
        reached("returning space: before")
        result = vacuum(pages, connection)
        reached("returning space: after")
        return result

    Database.truncate = named_truncate  # type: ignore[method-assign]
    database._vacuum = named_vacuum


def _wrap_marks(reached: Callable[[str], None]) -> None:
    write_slot, create, sync_directory = marks._write_slot, marks._create, marks.sync_directory

    def named_write_slot(*arguments: Any) -> None:
        reached("mark: before")
        write_slot(*arguments)
        reached("mark: after")

    def named_create(path: Path) -> None:
        reached("new marks: before")
        create(path)
        reached("new marks: after")

    def named_sync_directory(directory: Path) -> None:
        reached("new marks: renamed")
        sync_directory(directory)

    marks._write_slot = named_write_slot
    marks._create = named_create
    marks.sync_directory = named_sync_directory
    marks.os = _MarkCalls(reached)  # type: ignore[assignment]


class _MarkCalls:
    """The system calls of the mark file, with failpoints between them; everything else is the module `os`."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._copies = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, descriptor: int, record: bytes, start: int) -> int:
        half = len(record) // 2
        os.pwrite(descriptor, record[:half], start)  # what a torn write leaves
        self._reached("mark: half a copy")
        written = os.pwrite(descriptor, record, start)
        self._copies += 1
        self._reached("mark: one copy" if self._copies % 2 else "mark: two copies")
        return written

    def write(self, descriptor: int, data: bytes) -> int:
        written = os.write(descriptor, data)
        self._reached("new marks: written")
        return written

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)
        self._reached("new marks: synced")
