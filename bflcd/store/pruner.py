"""Pruning on the disk: the rule asked again for each blob, deletion in small steps, free pages returned to the disk."""

import sqlite3
from typing import Any, Final

from bflcd.store.blobs import BlobTable, payload_of
from bflcd.store.database import Database
from bflcd.store.protocol import PruneReport
from bflcd.store.pruning import Needs, first_kept, is_stale, may_prune, prunable
from bflcd.store.rows import damaged_row
from bflcd.store.schema import PAGE_BYTES
from bflcd.types import Digest, Height, Round

VACUUM_PAGES: Final = 2 * 1024 * 1024 // PAGE_BYTES
"""Pages that one step returns to the disk: some 5 ms of the writer."""


class Pruner:
    """Removes blobs that nothing needs any more."""

    def __init__(self, database: Database, blobs: BlobTable) -> None:
        """Blobs and blocks of `database`."""
        self._database = database
        self._blobs = blobs

    async def prune(self, keep: int, *, dry_run: bool) -> PruneReport:
        """See `BlockStore.prune`."""
        rounds, pins = await self._database.query("pruning", _ROUNDS), await self._database.query("pruning", _PINS, (0,))
        needs = self._needs(rounds, pins)
        doomed = prunable(await self._blobs.payloads(), needs, keep)
        kept = first_kept(needs, keep)
        height = await self._database.query("pruning", "SELECT max(height) FROM payloads WHERE round < ?", (kept,))
        report_height = Height(height[0][0] or 0)
        if dry_run:
            size = sum(payload.size for payload in doomed)
            return PruneReport(report_height, kept, len(doomed), size, size)
        gone = [payload for payload in doomed if await self._prune_one(payload.root, keep)]
        freed = await self._return_space() if gone else 0
        return PruneReport(report_height, kept, len(gone), sum(payload.size for payload in gone), freed)

    async def _prune_one(self, root: Digest, keep: int) -> bool:
        def may_go(writer: sqlite3.Connection) -> bool:
            # The rule once more inside each deleting transaction: a record or a block may have come that needs the blob.
            payload = payload_of(writer, root)
            needs = self._needs(writer.execute(_ROUNDS).fetchall(), writer.execute(_PINS, (0,)).fetchall())
            return payload is not None and may_prune(payload, needs, keep)

        return await self._blobs.delete(root, may_go)

    async def discard_stale(self, round_: Round) -> None:
        """See `BlockStore.discard_stale`."""
        pinned = self._roots(await self._database.query("pruning", _PINS, (round_,)))
        for payload in await self._blobs.unsettled():
            if is_stale(payload, pinned, round_):
                await self._discard_one(payload.root, round_)
        await self._blobs.settle()

    async def _discard_one(self, root: Digest, round_: Round) -> None:
        def may_go(writer: sqlite3.Connection) -> bool:
            payload = payload_of(writer, root)
            pinned = self._roots(writer.execute(_PINS, (round_,)).fetchall())
            return payload is not None and is_stale(payload, pinned, round_)

        await self._blobs.delete(root, may_go)

    def _needs(self, rounds: list[tuple[Any, ...]], pins: list[tuple[Any, ...]]) -> Needs:
        """Raises MachineError if a torn page has left columns of other types: a pin that can't be read must not be forgotten."""
        if not all(isinstance(value, int | None) for row in rounds for value in row):
            raise damaged_row(self._database.path, "the list of undecided rounds")
        return Needs(Round(rounds[0][0] or 0), frozenset(Round(row[1] or 0) for row in rounds), self._roots(pins))

    def _roots(self, pins: list[tuple[Any, ...]]) -> frozenset[Digest]:
        if not all(isinstance(root, bytes) for (root,) in pins):
            raise damaged_row(self._database.path, "the list of pins")
        return frozenset(Digest(root) for (root,) in pins)

    async def _return_space(self) -> int:
        """Return free pages to the disk in small steps: bytes by which the file shrinks."""
        freed, more = 0, True
        while more:
            step, more = await self._database.vacuum_step(VACUUM_PAGES)
            freed += step
            await self._database.checkpoint_if_due()
        await self._database.truncate()
        return freed


_ROUNDS: Final = (
    "SELECT max(round), max(round) FROM segments UNION SELECT (SELECT max(round) FROM segments), round FROM records "
    "UNION SELECT (SELECT max(round) FROM segments), round FROM pins"
)
"""The head's round beside each undecided one, the head's among them."""

_PINS: Final = "SELECT root FROM pins WHERE round >= ?"
