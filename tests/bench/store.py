"""Storing a round: its segment and blobs through the store, beside the same bytes through bare sqlite3 with the same pragmas.

`python -m tests.bench.store` prints the rows.
"""

import asyncio
import itertools
import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

import uvloop

from bflcd.crypto.hashing import root_of
from bflcd.store.blobs import manifest_of
from bflcd.store.database import CHECKPOINT_BYTES
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.codec import encode
from bflcd.wire.requests import Manifest
from tests.bench.turns import Rows, paired, report
from tests.helpers.store import Chain, begin, extend, make_vote, round_payloads

TURNS = 8
ROUNDS = 4
"""A turn, so that checkpoints are part of what is measured."""
BLOB_BYTES = 4 * CHUNK_BYTES + 1000
VOTES, PRUNES = 30, 5


def run() -> Rows:
    """Two rows: milliseconds a round, and how long a vote waits while a prune runs."""
    return uvloop.run(_rows())


async def _rows() -> Rows:
    with tempfile.TemporaryDirectory() as directory:
        ours, floor, hashing, cpu = await _rounds(Path(directory))
    with tempfile.TemporaryDirectory() as directory:
        alone, beside = await _votes(Path(directory))
    bare = [whole - hashes for whole, hashes in zip(floor, hashing, strict=True)]
    return [
        {
            "row": f"storing a round of {3 * BLOB_BYTES / 2**20:.0f} MiB, ms",
            "value": round(median(ours) * 1e3, 1),
            "floor": round(median(floor) * 1e3, 1),
            "floor_is": "bare sqlite3, same pragmas, and the address of the blob made here",
            **paired(ours, floor),
            "budget": "<= 1.3",
            "ratio_to_bare_sqlite": paired(ours, bare)["ratio"],
            "cpu_ratio": cpu,
        },
        {
            "row": "storing a vote while a prune runs, worst, ms",
            "value": round(median(beside) * 1e3, 1),
            "floor": round(median(alone) * 1e3, 1),
            "floor_is": "the same, nothing else running, worst",
            **paired(beside, alone),
            "budget": "some 50 ms a step",
        },
    ]


async def _rounds(directory: Path) -> tuple[list[float], list[float], list[float], float]:
    """Seconds a round of each turn: ours; bare; and of the bare, its hashes; then the ratio of all processor time. Two blobs come in chunks at once, with their hashes, and
    one is made here: its address is its hash, so a store by address hashes it, however it is made."""
    store, bare = await SqliteStore.open(directory / "ours"), _Bare(directory / "bare.sqlite3")
    chain: Chain = await begin(store)
    ours, floor, hashing, cpu = [], [], [], [0.0, 0.0]
    try:
        for _ in range((1 + TURNS) * ROUNDS):
            blobs = round_payloads(chain.round, BLOB_BYTES)
            chain, certified = chain.next(*blobs)
            chunks = [[data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)] for data in blobs]
            manifests = [manifest_of(data) for data in blobs]
            begun, used = time.perf_counter(), time.process_time()
            async with asyncio.TaskGroup() as group:
                for manifest, parts in zip(manifests[1:], chunks[1:], strict=True):
                    group.create_task(_fetched(store, manifest, parts))
            await store.put_blob(blobs[0])
            await store.commit(certified, chain.state)
            ours.append(time.perf_counter() - begun)
            cpu[0] += time.process_time() - used
            begun, used = time.perf_counter(), time.process_time()
            root_of(blobs[0])
            hashing.append(time.perf_counter() - begun)
            bare.store(chunks, certified)
            floor.append(time.perf_counter() - begun)
            cpu[1] += time.process_time() - used
    finally:
        await store.close()
        bare.close()
    return _by_turn(ours), _by_turn(floor), _by_turn(hashing), round(cpu[0] / cpu[1], 2)


async def _fetched(store: SqliteStore, manifest: Manifest, parts: list[bytes]) -> None:
    for index in await store.start_blob(manifest):
        await store.put_chunk(manifest.blob.root, index, parts[index])


def _by_turn(seconds: list[float]) -> list[float]:
    """Seconds a round in each turn but the first, which warms up."""
    return [sum(seconds[at : at + ROUNDS]) / ROUNDS for at in range(ROUNDS, len(seconds), ROUNDS)]


async def _votes(directory: Path) -> tuple[list[float], list[float]]:
    """Worst seconds of storing a vote in each turn: with nothing else running, and while a prune runs."""
    store = await SqliteStore.open(directory)
    try:
        chain, views = await begin(store), itertools.count()
        alone, beside = [], []
        for _ in range(PRUNES):
            chain, _ = await extend(store, chain, 10, 2 * BLOB_BYTES)
            alone.append(max([await _vote(store, chain, next(views)) for _ in range(VOTES)]))
            waits = []
            async with asyncio.TaskGroup() as group:
                pruning = group.create_task(store.prune(1, dry_run=False))
                while not pruning.done():
                    waits.append(await _vote(store, chain, next(views)))
            beside.append(max(waits))
        return alone, beside
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
    report(run)
