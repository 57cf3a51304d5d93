"""The store of a data directory, read beside a daemon that may be running: nothing is locked, nothing can be written."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiosqlite

from bflcd.crypto.hashing import chunk_hash
from bflcd.errors import OperatorError
from bflcd.store.database import BUSY_TIMEOUT_MS, FILE_NAME, Database, machine_errors
from bflcd.store.lock import DirectoryLock
from bflcd.store.sqlite import SqliteStore


class _NoLock(DirectoryLock):
    """Stands where a writer would hold the directory's lock."""

    def __init__(self) -> None:
        self._descriptor = -1


@asynccontextmanager
async def open_reader(directory: Path) -> AsyncIterator[SqliteStore]:
    """The store in `directory` on read-only connections (SQLite's `mode=ro`): whatever would write fails.

    Raises OperatorError (`no_store`, `no_permission`), MachineError as `SqliteStore.open` does.
    """
    path = directory / FILE_NAME
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise OperatorError(
            f"{directory} holds no chain", hint="check --datadir; a node has one once it was started", code="no_store"
        ) from error
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}", hint="run as its owner", code="no_permission") from error
    async with AsyncExitStack() as stack:
        with machine_errors(path, "opening the store"):
            connections = [await stack.enter_async_context(_connect(path)) for _ in range(4)]
        yield SqliteStore(directory, _NoLock(), Database(path, *connections))


@asynccontextmanager
async def _connect(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    uri = f"file:{quote(str(path))}?mode=ro"
    async with aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000) as connection:
        await connection.create_function("chunk_hash", 1, chunk_hash, deterministic=True)
        yield connection
