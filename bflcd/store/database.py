"""The SQLite file: connections, pragmas, transactions, checkpoints, and what its errors mean.

Writes go through one connection, one transaction at a time. Its `synchronous` is NORMAL for chunks, whose commits append to the
write-ahead log without waiting for the disk, and FULL for everything else. Frames of the log are durable in order: the fsync of a
FULL commit covers every chunk written before it, so what a vote or a block refers to is durable with it.

Checkpoints run on a connection of their own, but never beside a transaction: SQLite before 3.51.3 can lose pages of the file if
one connection begins a checkpoint at the instant at which another starts the log anew (its documentation calls it the WAL-reset
bug). They are small instead, so that a vote waits little for one. The writer's automatic checkpoint is only an upper bound.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import aiosqlite

from bflcd.closing import aftermath
from bflcd.crypto.hashing import chunk_hash
from bflcd.errors import InvariantError, MachineError
from bflcd.faults import LOCAL_DISK, file_size_limit, limit_reached, refused
from bflcd.files import require_regular
from bflcd.store.schema import APPLICATION_ID, FIRST_VERSION, MIGRATIONS, PAGE_BYTES, migration_script, version_of

T = TypeVar("T")

FILE_NAME: Final = "chain.sqlite3"

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a statement waits for a lock that a checkpoint or another reader of the file holds."""

CHECKPOINT_WAIT_MS: Final = 50
"""How long a checkpoint waits for readers to let go of the log; what it can't do now, a later one does."""

CHECKPOINT_BYTES: Final = 8 * 1024 * 1024
"""Log written since the last checkpoint that makes a caller of chunk writes run the next one: some 20 ms of the writer's turn."""

MAX_LOG_BYTES: Final = 128 * 1024 * 1024
"""The writer checkpoints by itself above this."""

_FRAME_BYTES: Final = 2 * PAGE_BYTES
"""Least that a transaction adds to the log."""

_NEAR_BYTES: Final = 1024 * 1024
"""A file so near to a limit on its size may have been stopped by it."""

_MEANING: Final = {
    sqlite3.SQLITE_FULL: ("disk_full", "free some space on this disk, then start the node again; `bflc-cli prune` makes more"),
    sqlite3.SQLITE_IOERR: ("io_error", "check the disk, its quota and the system's log, then start the node again"),
    sqlite3.SQLITE_CANTOPEN: ("io_error", "check that the data directory exists and belongs to this user"),
    sqlite3.SQLITE_READONLY: ("io_error", "check that the data directory is writable"),
    sqlite3.SQLITE_PERM: ("io_error", "check that the data directory belongs to this user"),
    sqlite3.SQLITE_CORRUPT: ("damaged_store", "run `bflc-cli verify`; if it can't be mended, start over from the peers"),
    sqlite3.SQLITE_NOTADB: ("damaged_store", "this is no database of bflcd; restore it or start over from the peers"),
    sqlite3.SQLITE_BUSY: ("locked", "another program holds the database open; stop it"),
    sqlite3.SQLITE_LOCKED: ("locked", "another program holds the database open; stop it"),
    sqlite3.SQLITE_NOMEM: ("out_of_memory", "give the node more memory"),
    sqlite3.SQLITE_TOOBIG: ("damaged_store", "a row is larger than SQLite allows"),
    sqlite3.SQLITE_SCHEMA: ("damaged_store", "the tables are not those of this version; restore the file"),
}
"""Code and hint by SQLite's primary result code."""


_NO_WAL: Final = frozenset(
    (
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMMAP,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
    )
)
"""Extended codes of what the log needs of a file system, beyond files."""


@contextmanager
def machine_errors(path: Path, what: str) -> Iterator[None]:
    """Raise SQLite's errors inside as MachineError that names the file and what was being done."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise InvariantError(f"{what} broke a constraint of {path}: {error}") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        name = getattr(error, "sqlite_errorname", "unreadable text")
        if code is None and isinstance(error, sqlite3.OperationalError):  # Python's own: a spoiled row has text that is none
            code = sqlite3.SQLITE_CORRUPT
        if code is None:
            raise
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_IOERR and not has_space(path):
            primary = sqlite3.SQLITE_FULL  # SQLite's own word for it where it maps its index, or where a quota is used up
        meaning, hint = _limited(path, code) or _MEANING.get(primary, ("damaged_store", "run `bflc-cli verify`"))
        sizes = f"; {_told_sizes(path)}" if primary == sqlite3.SQLITE_IOERR else ""
        raise MachineError(f"{what} failed in {path}: {error} ({name}){sizes}", hint=hint, code=meaning) from error
    except UnicodeDecodeError as error:  # SQLite quotes what it could not read, and Python can't read the quotation
        code, hint = _MEANING[sqlite3.SQLITE_CORRUPT]
        raise MachineError(f"{what} failed in {path}: it has text that is none", hint=hint, code=code) from error


def _limited(path: Path, code: int) -> tuple[str, str] | None:
    """Code and hint where a limit, or the kind of the file system, is behind SQLite's word: it does not tell the system's own."""
    primary = code & 0xFF
    if code in _NO_WAL:
        return "file_system", f"this file system has no locks or no shared memory for files: {LOCAL_DISK}"
    reached = limit_reached() if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM) else None
    if reached is not None:
        return "limit", refused("", reached).hint
    limit = file_size_limit() if primary == sqlite3.SQLITE_IOERR else None
    if limit is not None and any(size + _NEAR_BYTES > limit for size in _sizes(path).values() if isinstance(size, int)):
        return "io_error", refused("", OSError(errno.EFBIG, "")).hint
    return None


def _sizes(path: Path) -> dict[str, int | str]:
    """Bytes of what lies on the disk when SQLite could not read or write it; a failing disk may only say why not."""
    found: dict[str, int | str] = {}
    for end in ("", "-wal", "-shm"):
        file = path.with_name(path.name + end)
        try:
            found[file.name] = file.stat().st_size
        except OSError as error:
            found[file.name] = error.strerror or "unreadable"
    return found


def _told_sizes(path: Path) -> str:
    sizes = _sizes(path).items()
    return ", ".join(f"{name}: {size}" if isinstance(size, str) else f"{name} has {size} bytes" for name, size in sizes)


def has_space(path: Path) -> bool:
    """Whether the file system under `path` has a page to give; True where it can't be asked."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return True
    return found.f_bavail * found.f_frsize >= PAGE_BYTES


class Database:
    """The open file. Statements on `reader` and `payload_reader` see every committed transaction."""

    def __init__(self, path: Path, *connections: aiosqlite.Connection) -> None:
        """Take the open connections: writer, checkpointer, two readers. Use `open`."""
        self.path = path
        self._writer, self._checkpointer, self._reader, self._payload_reader = connections
        self._turn = asyncio.Lock()
        self._log_bytes = 0
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, migrations: tuple[str, ...] = MIGRATIONS) -> Self:
        """Open or make the file at `path`, bring it to the current version.

        Raises MachineError: damaged_store, io_error, disk_full, newer_store and older_store (made by a version of bflcd that is
        newer, or too old).
        """
        async with _opening(path) as opened:
            writer = await _connect(path, "rwc", opened)
            await _prepare(writer, path, migrations)
            checkpointer = await _connect(path, "rw", opened)
            await checkpointer.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
            await _connect(path, "ro", opened)
            await _connect(path, "ro", opened)
        return cls(path, *opened)

    @classmethod
    async def open_read_only(cls, path: Path) -> Self:
        """Open the file at `path` beside whoever writes it: whatever would write fails. Raises MachineError as `open` does."""
        async with _opening(path) as opened:
            for _ in range(4):
                await _connect(path, "ro", opened)
            await _check_version(opened[0], path, MIGRATIONS)
        return cls(path, *opened)

    async def close(self) -> None:
        """Finish the running transaction and close. Idempotent."""
        async with self._turn:
            if self._closed:
                return
            self._closed = True
            with machine_errors(self.path, "closing the store"):
                for connection in (self._payload_reader, self._reader, self._checkpointer, self._writer):
                    await connection.close()

    async def write(self, what: str, work: Callable[[sqlite3.Connection], T], *, durable: bool, size: int = 0) -> T:
        """Run `work` on the writer's thread inside one transaction, rolled back whole on any error; what it returned.

        `durable`: returns once this and everything before it is on the disk. `size`: bytes that it will write. The transaction
        is one trip to the thread: a busy machine delays it once, and a cancelled caller leaves it whole, in or out.
        """
        async with self._turn:
            self._log_bytes += size + _FRAME_BYTES
            with machine_errors(self.path, what):
                return await run(self._writer, partial(_transact, work, durable))

    async def latest(self, what: str, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a SELECT behind everything that was ever queued on the writer, even by a cancelled caller."""
        async with self._turn:
            with machine_errors(self.path, what):
                return [tuple(row) for row in await self._writer.execute_fetchall(sql)]

    async def query(self, what: str, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT over chain, records and indexes."""
        with machine_errors(self.path, what):
            return [tuple(row) for row in await self._reader.execute_fetchall(sql, parameters)]

    async def query_payloads(self, what: str, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT over chunks, on a connection of its own: a vote's look-up never waits for a model's bytes."""
        with machine_errors(self.path, what):
            return [tuple(row) for row in await self._payload_reader.execute_fetchall(sql, parameters)]

    async def checkpoint_if_due(self) -> None:
        """Copy the log into the file if much was written since the last time; readers go on meanwhile, writers wait."""
        if self._log_bytes >= CHECKPOINT_BYTES:
            async with self._turn:
                if self._log_bytes >= CHECKPOINT_BYTES:
                    await self._checkpoint("PASSIVE")

    async def truncate(self) -> None:
        """Copy the log into the file, and return the space of both to the disk as far as readers allow."""
        async with self._turn:
            await self._checkpoint("TRUNCATE")

    async def _checkpoint(self, mode: str) -> None:
        """A checkpoint, by whoever holds the turn. What readers still need of the log, a later one copies."""
        with machine_errors(self.path, "a checkpoint"):
            await self._checkpointer.execute_fetchall(f"PRAGMA wal_checkpoint({mode})")
        self._log_bytes = 0

    async def vacuum_step(self, pages: int) -> tuple[int, bool]:
        """Move up to `pages` free pages to the file's end and cut them off: bytes returned, and whether more are free."""
        async with self._turn:
            self._log_bytes += pages * PAGE_BYTES
            with machine_errors(self.path, "returning space"):
                return await run(self._writer, partial(_vacuum, pages))

    async def integrity(self) -> tuple[str, ...]:
        """What SQLite's own check finds in pages and indexes; nothing if all is well."""
        connection = await _connect(self.path, "ro", [])
        try:
            rows = await connection.execute_fetchall("PRAGMA integrity_check(100)")
            found = tuple(str(row[0]) for row in rows)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            found = (str(error),)
        finally:
            await connection.close()
        return () if found == ("ok",) else found

    def size_on_disk(self) -> int:
        """Bytes of the file and its log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())


async def run(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """What `work` returns for the connection, on its thread, after everything that was asked of it before.

    aiosqlite has a name for each single statement, but none of the public ones runs several in one trip to the thread.
    """
    result: T = await connection._execute(work, connection._conn)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return result


def _transact(work: Callable[[sqlite3.Connection], T], durable: bool, connection: sqlite3.Connection) -> T:
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.commit()
    except BaseException:
        with aftermath("a transaction"):
            connection.rollback()
        raise
    return result


def _vacuum(pages: int, connection: sqlite3.Connection) -> tuple[int, bool]:
    connection.execute("PRAGMA synchronous = NORMAL")
    before = pragma(connection, "page_count")
    # A script, since the statement gives a row without columns for each page, at which a cursor would stop.
    connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    after = pragma(connection, "page_count")
    return (before - after) * PAGE_BYTES, before > after and pragma(connection, "freelist_count") > 0


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """The value of an integer pragma."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@asynccontextmanager
async def _opening(path: Path) -> AsyncIterator[list[aiosqlite.Connection]]:
    """A list for the connections that are opened inside; if that fails they are closed again."""
    opened: list[aiosqlite.Connection] = []
    for end in ("", "-wal", "-shm"):
        require_regular(path.with_name(path.name + end))
    try:
        with machine_errors(path, "opening the store"):
            yield opened
    except BaseException:
        for connection in reversed(opened):
            with aftermath("a connection to the store"):
                await connection.close()
        raise


async def _connect(path: Path, mode: str, opened: list[aiosqlite.Connection]) -> aiosqlite.Connection:
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}"
    connection = await aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    opened.append(connection)
    await connection.execute("PRAGMA temp_store = MEMORY")  # the data directory may be the only place that can be written to
    await connection.create_function("chunk_hash", 1, chunk_hash, deterministic=True)
    return connection


async def _check_version(connection: aiosqlite.Connection, path: Path, migrations: tuple[str, ...]) -> int:
    """The file's version, 0 if it is new. Raises MachineError: damaged_store (no file of ours), newer_store, older_store."""
    version, application, tables = [
        int(next(iter(await connection.execute_fetchall(sql)))[0])
        for sql in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_schema")
    ]
    if tables and application != APPLICATION_ID:
        raise MachineError(f"{path} is a database of another program", hint="choose another data directory", code="damaged_store")
    if version > version_of(migrations):
        raise MachineError(
            f"{path} has version {version}, this bflcd knows versions up to {version_of(migrations)}",
            hint="it was made by a newer bflcd: install that one",
            code="newer_store",
        )
    if tables and version < FIRST_VERSION:
        raise MachineError(
            f"{path} has version {version}, this bflcd knows versions from {FIRST_VERSION} on",
            hint="it was made by an older bflcd, whose protocol is no more: install that one, or begin in an empty directory",
            code="older_store",
        )
    return version


async def _prepare(writer: aiosqlite.Connection, path: Path, migrations: tuple[str, ...]) -> None:
    """Pragmas and migrations; those before the first table take effect only in a new file."""
    await writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    await writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
    version, current = await _check_version(writer, path, migrations), version_of(migrations)
    mode = next(iter(await writer.execute_fetchall("PRAGMA journal_mode = WAL")))[0]
    if mode != "wal":
        raise MachineError(f"{path}: this file system allows no write-ahead log", hint=LOCAL_DISK, code="file_system")
    await writer.execute("PRAGMA synchronous = FULL")
    await writer.execute("PRAGMA foreign_keys = ON")
    await writer.execute("PRAGMA secure_delete = OFF")  # nothing here is secret, and zeroing doubles what a prune writes
    await writer.execute(f"PRAGMA wal_autocheckpoint = {MAX_LOG_BYTES // PAGE_BYTES}")
    await writer.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES}")
    if version < current:
        try:
            await writer.executescript(f"PRAGMA application_id = {APPLICATION_ID};" + migration_script(version, migrations))
        except sqlite3.Error as error:
            await writer.rollback()
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise MachineError(
                    f"{path} can't be brought from version {version} to {current}: {error}; it is as it was",
                    hint="restore the file from a backup, or start over from the peers",
                    code="damaged_store",
                ) from error
            raise
