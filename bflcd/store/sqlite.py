"""The block store in one SQLite file of a data directory: chain side and payloads in one log."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bflcd.closing import closing
from bflcd.core.records import Record
from bflcd.errors import OperatorError
from bflcd.faults import is_there, refused
from bflcd.store.blobs import SqlitePayloads
from bflcd.store.block_store import BlockStore
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.lock import DirectoryLock
from bflcd.store.sqlite_chain import SqliteChain
from bflcd.types import Digest


class SqliteStore(BlockStore):
    """`BlockStore` on a data directory, which it holds alone unless it only reads."""

    def __init__(self, directory: Path, lock: DirectoryLock | None, database: Database) -> None:
        """Take an open database, with the lock under which it may be written. Use `open`."""
        self.directory = directory
        self._lock = lock
        self._database = database
        self._chain = SqliteChain(database)
        super().__init__(self._chain, SqlitePayloads(database))

    @classmethod
    async def open(cls, directory: Path, *, create: bool = True, lock: DirectoryLock | None = None) -> Self:
        """Open the store in `directory`, which is made if `create`. A `lock` that is held already goes back with the store.

        Raises OperatorError(code="no_store") if there is none and it may not be made; MachineError: locked (another process
        has it open), newer_store, damaged_store, disk_full, io_error.
        """
        if not create and not is_there(directory / FILE_NAME):
            raise OperatorError(f"{directory} holds no chain", hint="check --datadir", code="no_store")
        try:
            await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise refused(f"cannot make the data directory {directory}", error) from error
        held = DirectoryLock(directory) if lock is None else lock
        try:
            return cls(directory, held, await Database.open(directory / FILE_NAME))
        except BaseException:
            held.release()
            raise

    async def close(self) -> None:
        """See `BlockStore`."""
        async with closing("the lock of the data directory", self._release):
            await super().close()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    async def _persist(self, records: Sequence[Record], relies_on: tuple[Digest, ...]) -> None:
        """Records and payloads share a log: the sync of one transaction that finds the payloads complete makes both durable."""
        await self._chain.persist(records, relies_on)
