"""The store of a data directory, read beside a daemon that may be running: nothing is locked, nothing can be written."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bflcd.errors import OperatorError
from bflcd.faults import refused
from bflcd.files import open_regular
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.sqlite import SqliteStore


@asynccontextmanager
async def open_reader(directory: Path) -> AsyncIterator[SqliteStore]:
    """The store in `directory` on read-only connections (SQLite's `mode=ro`): whatever would write fails.

    Raises OperatorError (`no_store`, `no_permission`), MachineError as `SqliteStore.open` does.
    """
    path = directory / FILE_NAME
    try:
        os.close(open_regular(path))
    except FileNotFoundError as error:
        raise OperatorError(
            f"{directory} holds no chain", hint="check --datadir; a node has one once it was started", code="no_store"
        ) from error
    except OSError as error:
        raise refused(f"{path}", error) from error
    store = SqliteStore(directory, None, await Database.open_read_only(path))
    try:
        yield store
    finally:
        await store.close()
