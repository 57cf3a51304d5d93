"""A log that is cut at any offset and pages that were torn (row 18): a clean older store, never an invalid block, never signed twice."""

import random
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from bflcd.core.records import Record
from bflcd.core.signing_guard import Mark, holds, signing_floor
from bflcd.errors import MachineError
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round
from bflcd.wire.blocks import CertifiedSegment, header_hash
from bflcd.wire.messages import Commit
from tests.helpers.store import Chain, all_kinds, begin, extend, make_vote, ref, round_payloads
from tests.helpers.store_damage import BLOB_BYTES, FRAME, WAL_HEADER, Files, contents, findings

DENSE_BYTES = 64 * 1024
"""Logs up to this size are cut at every single offset."""


@dataclass(frozen=True, slots=True)
class History:
    """A store's files as a crash left them, and what was done to get there."""

    files: Files
    chain: Chain
    segments: list[CertifiedSegment]
    states: list[Chain]
    records: tuple[Record, ...]
    mark: Mark


async def history(directory: Path, rounds: int) -> History:
    """Some rounds with all their payloads, then everything that is signed in a round, its last vote in the mark file."""
    store = await SqliteStore.open(directory)
    chain = await begin(store)
    states, segments = [chain], []
    for _ in range(rounds):
        chain, made = await extend(store, chain, 1, BLOB_BYTES)
        states.append(chain)
        segments += made
    vote = make_vote(chain.round, view=7, kind=Commit)
    records = (*all_kinds(chain.round, ref(b"model"), ref(b"update")), vote)
    await store.persist(records[:-1])
    await store.persist(records[-1:])
    files = Files.of(directory)
    await store.close()
    mark = Mark(vote.epoch, vote.round, vote.view, vote.phase, vote.digest)
    return History(files, chain, segments, states, records, mark)


async def small_log(directory: Path) -> tuple[Files, list[int]]:
    """A store whose log holds little: the rest was copied into the file before. And the number of records by frames of the log."""
    store = await SqliteStore.open(directory)
    await extend(store, await begin(store), 1)
    await store._database.truncate()
    counts = [0]
    for view in range(40):
        await store.persist([make_vote(1, view=view)])
        frames = (len(Files.of(directory).log) - WAL_HEADER) // FRAME
        if frames * FRAME + WAL_HEADER > DENSE_BYTES + 2 * FRAME:
            break
        counts += [counts[-1]] * (frames - len(counts)) + [view + 1]
    files = Files.of(directory)
    files = files.cut(min(len(files.log), files.edges[len(counts) - 1]))
    await store.close()
    return files, counts


def records_in(directory: Path, *, thorough: bool) -> tuple[int, str]:
    """Records that SQLite sees, and what it says of its pages if asked: read on a connection that changes nothing."""
    connection = sqlite3.connect(f"file:{directory / FILE_NAME}?mode=ro", uri=True)
    try:
        (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
        return int(count), str(connection.execute("PRAGMA quick_check(1)").fetchone()[0]) if thorough else "ok"
    finally:
        connection.close()


async def cut_everywhere(tmp_path: Path, step: int) -> int:
    """Cut a small log from its end downwards, `step` bytes at a time and at every edge; returns how many cuts were made."""
    files, counts = await small_log(tmp_path / "source")
    directory = files.put(tmp_path / "cut")
    log, shm = directory / f"{FILE_NAME}-wal", directory / f"{FILE_NAME}-shm"
    near = {edge + more for edge in files.edges for more in (-1, 0, 1) if 0 <= edge + more <= len(files.log)}
    cuts = sorted({*range(0, len(files.log) + 1, step), *near}, reverse=True)
    for length in cuts:
        with log.open("r+b") as file:
            file.truncate(length)
        shm.unlink(missing_ok=True)
        whole = sum(edge <= length for edge in files.edges[1:])
        assert records_in(directory, thorough=length in near or length % 512 == 0) == (counts[whole], "ok"), length
    return len(cuts)


async def test_a_cut_within_a_frame_is_a_cut_at_its_edge(tmp_path: Path) -> None:
    """Given a log of some 64 KiB cut at every 501st offset and around every edge, then the store is that of the last whole
    transaction, and its pages are sound."""
    assert await cut_everywhere(tmp_path, 501) > DENSE_BYTES // 501


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_log_cut_at_every_single_offset(tmp_path: Path) -> None:
    """As above, at every byte."""
    assert await cut_everywhere(tmp_path, 1) > DENSE_BYTES


async def bring_forward(store: SqliteStore, known: History, head: int) -> None:
    """What catching up does: the segments that are missing, then their payloads."""
    for certified, chain in zip(known.segments[head:], known.states[head + 1 :], strict=True):
        await store.commit(certified, chain.state)
    for round_ in range(len(known.segments)):
        for data in round_payloads(round_, BLOB_BYTES):
            await store.put_blob(data)
    await store.put_blob(b"update")


async def check_older(directory: Path, known: History) -> int:
    """A store is a clean, older one with valid blocks only, the mark says whether it may sign, and it can be brought forward."""
    store = await SqliteStore.open(directory)
    try:
        assert await store.check(deep=True) == ()
        if await store.genesis() is None:
            assert signing_floor(known.mark, Round(0), has_record=False) == known.mark.round
            return -1
        head = await store.head()
        round_ = head.header.round
        assert head.hash == header_hash(known.states[round_].header)
        assert head.state == known.states[round_].state
        served = [await store.segment(Round(r)) for r in range(1, len(known.segments) + 1)]
        assert served == [*known.segments[:round_], *[None] * (len(known.segments) - round_)]
        assert [h.certificate for h in await store.headers(Round(1), 100)] == [s.certificate for s in known.segments[:round_]]
        records = await store.records(round_)
        whole = holds(known.mark, records)
        floor = signing_floor(known.mark, round_, has_record=whole)
        # Free to sign only if nothing that was signed is missing.
        assert floor is (None if whole else known.mark.round) or (whole and floor is None)
        assert whole is (
            round_ == known.chain.round and {v.digest for v in records.votes} >= {known.mark.digest} and len(records.votes) == 3
        )
        await bring_forward(store, known, round_)
        assert (await store.head()).header == known.chain.header
        assert await store.check(deep=True) == ()
        return int(round_)
    finally:
        await store.close()


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_a_cut_log_is_an_older_store_that_can_be_brought_forward(tmp_path: Path, every: int) -> None:
    """Given a log of many rounds cut at the frames' edges, one byte before and one after, when the store is opened, then it is
    whole but older, it signs nothing up to the mark's round, and the missing segments can be stored again."""
    known = await history(tmp_path / "source", 3)
    heads = set()
    for number, edge in enumerate(known.files.edges):
        for more in (-1, 0, 1)[:: 1 if every == 1 else 3] if number % every == 0 else ():
            heads.add(await check_older(known.files.cut(edge + more).put(tmp_path / "cut"), known))
    assert heads >= {-1, 0, 1, 2, 3} if every == 1 else heads >= {-1, 1, 2}


async def test_a_torn_page_in_the_log_ends_it_there(tmp_path: Path) -> None:
    """Given a frame of which only the first sectors reached the disk, when the store is opened, then it is a clean older one."""
    known = await history(tmp_path / "source", 2)
    draw = random.Random(18)
    frames = len(known.files.edges) - 1
    heads = set()
    for frame in draw.sample(range(frames), min(10, frames)):
        log = bytearray(known.files.log)
        at = WAL_HEADER + frame * FRAME + 24
        torn = draw.randrange(1, PAGE_BYTES // 512) * 512
        log[at + torn : at + PAGE_BYTES] = draw.randbytes(PAGE_BYTES - torn)
        heads.add(await check_older(Files(known.files.main, bytes(log)).put(tmp_path / "torn"), known))
    assert len(heads) >= 2


async def test_a_page_torn_by_a_checkpoint_is_mended_from_the_log(tmp_path: Path) -> None:
    """Given a power cut while the log was copied into the file, so that one page is half new and half old, when the store is
    opened, then it is the newest one: the log is reused only once the file is durable."""
    known = await history(tmp_path / "source", 2)
    whole = await SqliteStore.open(known.files.put(tmp_path / "whole"))
    expected = await contents(whole)
    await whole.close()
    draw = random.Random(18)
    for frame in draw.sample(range(len(known.files.edges) - 1), 8):
        page, data = known.files.page_of(frame)
        main = bytearray(known.files.main.ljust((page + 1) * PAGE_BYTES, b"\0"))
        torn = draw.randrange(1, PAGE_BYTES // 512) * 512
        main[page * PAGE_BYTES : page * PAGE_BYTES + torn] = data[:torn]
        store = await SqliteStore.open(Files(bytes(main), known.files.log).put(tmp_path / "torn"))
        assert await contents(store) == expected, (frame, page, torn)
        assert await store.check(deep=True) == ()
        await store.close()


async def test_a_page_torn_without_a_log_is_found_or_harmless(tmp_path: Path) -> None:
    """Given a disk that lies about what is durable, so that a page is half old and no log can mend it, then it is found."""
    known = await history(tmp_path / "source", 2)
    directory = known.files.put(tmp_path / "torn")
    database = await Database.open(directory / FILE_NAME)
    older = Files(Files.of(directory).main, b"")
    await database.truncate()
    await database.close()
    newest = Files.of(directory)
    store = await SqliteStore.open(directory)
    expected = await contents(store)
    await store.close()
    found = 0
    for page in range(len(newest.main) // PAGE_BYTES):
        main = bytearray(newest.main)
        at, half = page * PAGE_BYTES, PAGE_BYTES // 2
        main[at + half : at + PAGE_BYTES] = older.main[at + half : at + PAGE_BYTES].ljust(PAGE_BYTES - half, b"\0")
        if bytes(main) == newest.main:
            continue
        Files(bytes(main), b"").put(directory)
        if await findings(directory):
            found += 1
            continue
        store = await SqliteStore.open(directory)
        assert await contents(store) == expected, page
        await store.close()
    assert found >= 5


async def test_a_lost_log_and_a_lost_mark_file_are_noticed_apart(tmp_path: Path) -> None:
    """Given the log removed altogether, when the store is opened, then the database is behind the mark and the file is refused
    or empty, never silently another chain."""
    known = await history(tmp_path / "source", 1)
    directory = known.files.cut(0).put(tmp_path / "lost")
    assert await check_older(directory, known) == -1
    shutil.rmtree(directory)
    with pytest.raises(MachineError):
        await SqliteStore.open(Files(b"\0" * PAGE_BYTES + known.files.main, b"").put(directory))
