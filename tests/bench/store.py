"""Storing a round: its segment and blobs through the store, beside the same bytes through bare sqlite3 with the same pragmas."""

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bflcd.store.blobs import manifest_of
from bflcd.store.database import CHECKPOINT_BYTES
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.codec import encode
from bflcd.wire.requests import Manifest
from tests.helpers.store import Chain, begin, extend, make_vote, round_payloads

REPEATS = 6
ROUNDS = 4
"""In a row, so that checkpoints are part of what is measured."""
BLOB_BYTES = 4 * CHUNK_BYTES + 1000


def run() -> list[dict[str, Any]]:
    """Two rows: milliseconds a round, the least of some repeats; and how long a vote waits while a prune runs."""
    return asyncio.run(_rows())


async def _rows() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        ours, floor = await _rounds(Path(directory))
    with tempfile.TemporaryDirectory() as directory:
        alone, beside = await _votes(Path(directory))
    return [
        {
            "row": f"storing a round of {3 * BLOB_BYTES / 2**20:.0f} MiB, ms",
            "value": round(ours * 1e3, 1),
            "floor": round(floor * 1e3, 1),
            "floor_is": "bare sqlite3, same pragmas",
            "ratio": round(ours / floor, 2),
            "budget": "<= 1.3",
        },
        {
            "row": "storing a vote while a prune runs, worst, ms",
            "value": round(beside * 1e3, 1),
            "floor": round(alone * 1e3, 1),
            "floor_is": "the same, nothing else running, worst",
            "ratio": round(beside / alone, 2),
            "budget": "some 50 ms a step",
        },
    ]


async def _rounds(directory: Path) -> tuple[float, float]:
    """Seconds a round, ours and bare, in turn, so that noise falls on both. Two blobs come in chunks at once, one is made here."""
    store, bare = await SqliteStore.open(directory / "ours"), _Bare(directory / "bare.sqlite3")
    chain: Chain = await begin(store)
    ours, floor = [], []
    try:
        for _ in range(REPEATS * ROUNDS):
            blobs = round_payloads(chain.round, BLOB_BYTES)
            chain, certified = chain.next(*blobs)
            chunks = [[data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)] for data in blobs]
            manifests = [manifest_of(data) for data in blobs]
            begun = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for manifest, parts in zip(manifests[1:], chunks[1:], strict=True):
                    group.create_task(_fetched(store, manifest, parts))
            await store.put_blob(blobs[0])
            await store.commit(certified, chain.state)
            ours.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            bare.store(chunks, certified)
            floor.append(time.perf_counter() - begun)
    finally:
        await store.close()
        bare.close()
    return _least(ours), _least(floor)


async def _fetched(store: SqliteStore, manifest: Manifest, parts: list[bytes]) -> None:
    for index in await store.start_blob(manifest):
        await store.put_chunk(manifest.blob.root, index, parts[index])


def _least(seconds: list[float]) -> float:
    """Seconds a round in the quickest repeat."""
    return min(sum(seconds[at : at + ROUNDS]) for at in range(0, len(seconds), ROUNDS)) / ROUNDS


async def _votes(directory: Path) -> tuple[float, float]:
    """Worst seconds of storing a vote: with nothing else running, and while a prune runs."""
    store = await SqliteStore.open(directory)
    try:
        chain, _ = await extend(store, await begin(store), 10, 2 * BLOB_BYTES)
        alone = max([await _vote(store, chain, view) for view in range(30)])
        beside = []
        async with asyncio.TaskGroup() as group:
            pruning = group.create_task(store.prune(1, dry_run=False))
            while not pruning.done():
                beside.append(await _vote(store, chain, 1000 + len(beside)))
        return alone, max(beside)
    finally:
        await store.close()


async def _vote(store: SqliteStore, chain: Chain, view: int) -> float:
    vote = make_vote(chain.round, view=view)
    begun = time.perf_counter()
    await store.persist([vote])
    return time.perf_counter() - begun


class _Bare:
    """A file with the same pragmas and one table of blobs."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in (f"page_size = {PAGE_BYTES}", "auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}")
        self._connection.execute("CREATE TABLE chunks (id INTEGER PRIMARY KEY, hash BLOB NOT NULL, data BLOB NOT NULL) STRICT")

    def store(self, blobs: list[list[bytes]], certified: CertifiedSegment) -> None:
        """One transaction with everything that the round has."""
        self._connection.execute("BEGIN IMMEDIATE")
        rows = [(bytes(32), part) for parts in blobs for part in parts] + [(bytes(32), encode(certified))]
        self._connection.executemany("INSERT INTO chunks (hash, data) VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
