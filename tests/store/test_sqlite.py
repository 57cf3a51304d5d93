"""What only the store on a disk has: the lock, versions, resumed blobs, space returned, an event loop and votes that never wait."""

import asyncio
import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bflcd.core.records import Head, Pin
from bflcd.errors import MachineError, OperatorError
from bflcd.store import sqlite_chain
from bflcd.store.blobs import manifest_of
from bflcd.store.database import FILE_NAME, Database, machine_errors, pragma, run
from bflcd.store.lock import LOCK_NAME, DirectoryLock
from bflcd.store.schema import APPLICATION_ID, FIRST_VERSION, MIGRATIONS, PAGE_BYTES, version_of
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES, Round
from tests.helpers.store import all_kinds, begin, extend, make_vote, own_card, payload, put_in_chunks, ref, round_payloads


async def read_pragma(store: SqliteStore, name: str) -> int:
    return await run(store._database._writer, partial(pragma, name=name))


async def test_a_second_opener_is_refused_with_the_holder(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    with pytest.raises(MachineError) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.code == "locked"
    script = (
        "import sys; from pathlib import Path; from bflcd.store.lock import DirectoryLock; from bflcd.errors import MachineError\n"
        "try: DirectoryLock(Path(sys.argv[1]))\n"
        "except MachineError as error: print(error)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    holder = (tmp_path / LOCK_NAME).read_text().strip()
    assert done.stdout.strip() == f"the data directory {tmp_path} is in use by process {holder}"
    await store.close()
    (await asyncio.to_thread(DirectoryLock, tmp_path)).release()


async def test_a_lock_whose_file_was_removed_still_holds(tmp_path):
    """Given a node that runs, When somebody removes its lock file to get rid of a refusal, Then a second one is refused all the same:
    two would sign with one key."""
    held = DirectoryLock(tmp_path)
    (tmp_path / LOCK_NAME).unlink()
    with pytest.raises(MachineError, match="in use by process unknown") as caught:
        DirectoryLock(tmp_path)
    assert caught.value.code == "locked"
    held.release()
    DirectoryLock(tmp_path).release()


async def test_a_directory_that_can_not_be_locked_is_held_by_its_file(tmp_path, monkeypatch):
    """As on NFS, which locks only what is open for writing."""
    real = fcntl.flock

    def flock(descriptor, how):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "no")
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    held = DirectoryLock(tmp_path)
    with pytest.raises(MachineError, match=f"in use by process {os.getpid()}"):
        DirectoryLock(tmp_path)
    held.release()


async def test_a_failed_opening_releases_the_lock(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(MachineError, match="not a database"):
            await SqliteStore.open(tmp_path)


async def test_a_store_that_is_not_there_is_not_made_unless_wanted(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        await SqliteStore.open(tmp_path / "new", create=False)
    assert caught.value.code == "no_store"
    assert not (tmp_path / "new").exists()
    store = await SqliteStore.open(tmp_path / "new")
    await store.close()
    await (await SqliteStore.open(tmp_path / "new", create=False)).close()
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError) as refused:
        await SqliteStore.open(tmp_path / "file" / "new")
    assert refused.value.code == "bad_path"


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    chain, committed = await extend(store, await begin(store), 3)
    await store.persist(all_kinds(3, ref(b"model"), ref(b"update")))
    await store.remember_address(chain.state.committee[0], "/address")
    before = (await store.head(), await store.records(Round(3)), await store.addresses(), await store.headers(Round(1), 9))
    await store.close()
    again = await SqliteStore.open(tmp_path)
    assert before == (
        await again.head(),
        await again.records(Round(3)),
        await again.addresses(),
        await again.headers(Round(1), 9),
    )
    assert [await again.segment(Round(r)) for r in (1, 2, 3)] == committed
    await again.close()


async def test_a_blob_fetched_in_part_is_resumed_after_a_restart(tmp_path: Path) -> None:
    data = payload("large", 4 * CHUNK_BYTES + 9)
    manifest = manifest_of(data)
    store = await SqliteStore.open(tmp_path)
    await store.start_blob(manifest)
    for index in (1, 3):
        await store.put_chunk(manifest.blob.root, index, data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES])
    await store.close()
    store = await SqliteStore.open(tmp_path)
    assert await store.start_blob(manifest) == (0, 2, 4)
    await put_in_chunks(store, data)
    assert await store.blob(manifest.blob.root) == data
    await store.close()


async def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await begin(store)
    read = partial(read_pragma, store)
    assert await read("application_id") == APPLICATION_ID
    assert await read("user_version") == version_of(MIGRATIONS)
    assert await read("page_size") == PAGE_BYTES
    assert await read("auto_vacuum") == 2
    assert await read("foreign_keys") == 1
    assert (tmp_path / f"{FILE_NAME}-wal").exists()
    with pytest.raises(MachineError, match="readonly"):
        await store._database.query("writing", "DELETE FROM chain")
    await store.close()


async def test_votes_and_blocks_wait_for_the_disk_and_chunks_do_not(tmp_path: Path) -> None:
    """The writer's `synchronous` at each commit: FULL (2) for what others rely on, NORMAL (1) for chunks."""
    store = await SqliteStore.open(tmp_path)
    chain = await begin(store)
    read = partial(read_pragma, store)
    await put_in_chunks(store, payload("chunks"))
    assert await read("synchronous") == 1
    await store.persist([make_vote(0)])
    assert await read("synchronous") == 2
    more = await put_in_chunks(store, payload("more chunks"))
    assert await read("synchronous") == 1
    await store.make_durable([more.root])
    assert await read("synchronous") == 2
    await store.put_blob(payload("even more chunks"))
    assert await read("synchronous") == 1
    after, certified = chain.next(None)
    await store.commit(certified, after.state)
    assert await read("synchronous") == 2
    await store.put_blob(payload("even more"))
    assert await read("synchronous") == 1
    await store.close()


async def test_records_and_the_payloads_they_rely_on_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given chunks that wait for the disk, when a card relies on them, then one durable transaction is all that is paid for."""
    store = await SqliteStore.open(tmp_path)
    await begin(store)
    blob = await put_in_chunks(store, payload("chunks"))
    written: list[tuple[str, bool]] = []
    write = Database.write

    async def noting(self: Database, what: str, work: Any, *, durable: bool, size: int = 0) -> Any:
        written.append((what, durable))
        return await write(self, what, work, durable=durable, size=size)

    monkeypatch.setattr(Database, "write", noting)
    await store.persist([own_card(0, blob.root)], [blob.root])
    assert written == [("storing records", True)]
    await store.close()


async def test_a_sync_of_payloads_writes_something_and_so_syncs_all_before_it(tmp_path: Path) -> None:
    """A transaction without a change adds no frame to the log, and SQLite syncs nothing for it."""
    store = await SqliteStore.open(tmp_path)
    blob = await store.put_blob(payload("chunks"))
    log = tmp_path / f"{FILE_NAME}-wal"
    sizes = [log.stat().st_size]
    await store.make_durable([blob.root])
    sizes.append(log.stat().st_size)
    await begin(store)
    for _ in range(2):  # the second time, every record is there already
        await store.persist([own_card(0, blob.root)], [blob.root])
        sizes.append(log.stat().st_size)
    assert sizes == sorted(set(sizes))
    await store.close()


@pytest.mark.parametrize("opened", [Database.open, Database.open_read_only], ids=["to write", "to read"])
async def test_a_file_of_a_version_that_is_no_more_is_refused_and_left_alone(opened: Any, tmp_path: Path) -> None:
    """Given a file of an older protocol, when a daemon or a reader opens it, then it is told so, and not that it is damaged."""
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 2; CREATE TABLE chain (name TEXT);"
    )
    connection.close()
    before = path.read_bytes()
    with pytest.raises(MachineError, match=f"has version 2, this bflcd knows versions from {FIRST_VERSION} on") as caught:
        await opened(path)
    assert caught.value.code == "older_store"
    assert path.read_bytes() == before


async def test_a_migration_keeps_the_rows_and_a_failing_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    store = await SqliteStore.open(tmp_path)
    chain, _ = await extend(store, await begin(store), 2)
    await store.close()
    bad = "ALTER TABLE addresses ADD COLUMN seen INTEGER;\nALTER TABLE nowhere ADD COLUMN x INTEGER;"
    with pytest.raises(MachineError, match="nowhere") as caught:
        await Database.open(path, migrations=(*MIGRATIONS, bad))
    assert caught.value.code == "damaged_store"
    good = "ALTER TABLE addresses ADD COLUMN seen INTEGER;"
    database = await Database.open(path, migrations=(*MIGRATIONS, good))
    assert await run(database._writer, partial(pragma, name="user_version")) == version_of(MIGRATIONS) + 1
    assert await database.query("reading", "SELECT max(round) FROM segments") == [(chain.round,)]
    assert await database.query("reading", "SELECT count(seen) FROM addresses") == [(0,)]
    await database.close()
    with pytest.raises(MachineError, match="knows versions up to") as newer:
        await SqliteStore.open(tmp_path)
    assert newer.value.code == "newer_store"


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    connection.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(MachineError, match="another program"):
        await SqliteStore.open(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_a_prune_shrinks_the_file_by_what_it_reports(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await extend(store, await begin(store), 4, 2 * CHUNK_BYTES + 100)
    await store._database.truncate()
    path = tmp_path / FILE_NAME
    before = path.read_bytes()
    planned = await store.prune(1, dry_run=True)
    assert path.read_bytes() == before
    report = await store.prune(1, dry_run=False)
    assert len(before) - path.stat().st_size == report.freed
    assert (report.blobs, report.payload_bytes) == (planned.blobs, planned.payload_bytes)
    assert report.freed >= report.payload_bytes
    stats = await store.stats()
    assert stats.size_on_disk < 2 * stats.payload_bytes
    assert await store.check(deep=True) == ()
    assert await store.blob(ref(round_payloads(3, 2 * CHUNK_BYTES + 100)[0]).root) is not None
    await store.close()


async def test_votes_are_stored_while_a_prune_runs(tmp_path: Path) -> None:
    """Given a store with much to prune, when votes and a block are stored meanwhile, then each lands between two steps."""
    store = await SqliteStore.open(tmp_path)
    chain, _ = await extend(store, await begin(store), 8, 6 * CHUNK_BYTES)
    order: list[str] = []

    async def prune() -> None:
        await store.prune(1, dry_run=False)
        order.append("pruned")

    async with asyncio.TaskGroup() as group:
        group.create_task(prune())
        for view in range(10):
            await store.persist([make_vote(chain.round, view=view)])
            order.append("vote")
        await extend(store, chain, 1)
        order.append("commit")
    assert order == ["vote"] * 10 + ["commit", "pruned"]
    assert (await store.head()).header.round == 9
    assert await store.check(deep=True) == ()
    await store.close()


async def test_a_pin_that_comes_during_a_prune_is_respected(tmp_path: Path) -> None:
    """Given a prune under way, when a blob that it was to delete is pinned, then it stays whole."""
    store = await SqliteStore.open(tmp_path)
    chain, _ = await extend(store, await begin(store), 4, 5 * CHUNK_BYTES)
    last = round_payloads(2, 5 * CHUNK_BYTES)[2]
    doomed = await store.prune(1, dry_run=True)
    async with asyncio.TaskGroup() as group:
        pruning = group.create_task(store.prune(1, dry_run=False))
        await store.persist([Pin(ref(last).root, chain.round)])
    kept = await store.blob(ref(last).root)
    assert kept == last
    # A pin keeps one blob; a record of the running round keeps no other round.
    assert pruning.result().blobs in (doomed.blobs - 1, doomed.blobs)
    assert pruning.result().blobs == doomed.blobs - 1
    await store.close()


async def test_the_event_loop_is_free_while_blobs_are_read_and_written(tmp_path: Path) -> None:
    """No step of the loop's own thread hashes or copies a whole blob: it turns many times meanwhile."""
    store = await SqliteStore.open(tmp_path)
    data = payload("large", 24 * CHUNK_BYTES)
    turns = 0

    async def turn(until: asyncio.Event) -> None:
        nonlocal turns
        while not until.is_set():
            turns += 1
            await asyncio.sleep(0.001)

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(turn(done))
        started = time.monotonic()
        blob = await store.put_blob(data)
        assert await store.blob(blob.root) == data
        elapsed = time.monotonic() - started
        done.set()
    assert turns > elapsed / 0.1
    await store.close()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_who_reads_the_head_while_it_moves_does_not_put_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """Given a reader that looks into the database right before a block is written there, and is held up, when the block is in, be its
    caller cancelled or not, then the next block follows it."""
    store = await SqliteStore.open(tmp_path)
    chain = await begin(store)
    begun, released, real, write = threading.Event(), threading.Event(), sqlite_chain.head_from_rows, Database.write
    readers: list[asyncio.Task[Head]] = []

    def held_up(path: Path, rows: Any) -> Any:
        if not begun.is_set():
            begun.set()
            assert released.wait(10)
        return real(path, rows)

    async with asyncio.TaskGroup() as group:

        async def read_first(database: Database, *arguments: Any, **options: Any) -> None:
            readers.append(group.create_task(store.head()))
            assert await asyncio.to_thread(begun.wait, 10)
            await write(database, *arguments, **options)
            if cancelled:
                raise asyncio.CancelledError

        after, certified = chain.next(*round_payloads(0))
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_chain, "head_from_rows", held_up)
            patch.setattr(Database, "write", read_first)
            with pytest.raises(asyncio.CancelledError) if cancelled else nullcontext():
                await store.commit(certified, after.state)
            released.set()
            await readers[0]
    assert readers[0].result().header == chain.header
    assert (await store.head()).header == after.header
    last, certified = after.next(*round_payloads(1))
    await store.commit(certified, last.state)
    assert (await store.head()).header == last.header
    await store.close()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
async def test_a_cancelled_commit_is_in_or_out(tmp_path: Path, steps: int) -> None:
    """Given a commit that is cancelled at any of its steps, then the head is the one before or after, and the store goes on."""
    store = await SqliteStore.open(tmp_path)
    chain, _ = await extend(store, await begin(store), 1)
    after, certified = chain.next(*round_payloads(1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(store.commit(certified, after.state))
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        task.cancel()
    head = await store.head()
    assert head.header in (chain.header, after.header)
    if head.header == chain.header:
        await store.commit(certified, after.state)
    assert (await store.head()).header == after.header
    assert await store.segment(Round(2)) == certified
    await store.persist([make_vote(2)])
    await store.close()
    again = await SqliteStore.open(tmp_path)
    assert (await again.head()).header == after.header
    await again.close()


async def test_chunks_that_come_together_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given more chunks at once than a group has, then the first is written at once, what came meanwhile by groups: a vote
    waits for one at most."""
    store = await SqliteStore.open(tmp_path)
    data = payload("large", 10 * CHUNK_BYTES)
    manifest = manifest_of(data)
    await store.start_blob(manifest)
    sizes: list[int] = []
    write = Database.write

    async def counted(database: Database, what: str, work: Any, *, durable: bool, size: int = 0) -> Any:
        sizes.append(size // CHUNK_BYTES)
        return await write(database, what, work, durable=durable, size=size)

    monkeypatch.setattr(Database, "write", counted)
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    told = await asyncio.gather(*(store.put_chunk(manifest.blob.root, at, chunk) for at, chunk in enumerate(chunks)))
    assert sizes == [1, 4, 4, 1]
    assert told == [False] * 9 + [True]
    assert await store.blob(manifest.blob.root) == data
    await store.close()


async def test_a_disk_that_is_full_is_told_to_each_whose_chunk_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given chunks that come together and a write that fails, then each hears of it, and once there is room they are taken."""
    store = await SqliteStore.open(tmp_path)
    data = payload("large", 3 * CHUNK_BYTES)
    manifest = manifest_of(data)
    await store.start_blob(manifest)
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]

    async def puts() -> list[object]:
        given = (store.put_chunk(manifest.blob.root, at, chunk) for at, chunk in enumerate(chunks))
        return await asyncio.gather(*given, return_exceptions=True)

    async def full(_database: Database, what: str, *_: object, **__: object) -> None:
        raise MachineError(f"{what} failed", hint="free some space", code="disk_full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", full)
        assert [type(told) for told in await puts()] == [MachineError] * 3
    assert await puts() == [False, False, True]
    assert await store.blob(manifest.blob.root) == data
    await store.close()


async def test_a_schema_whose_text_is_no_text_is_damage_and_no_crash(tmp_path: Path) -> None:
    """Given a byte of a table's name that is no UTF-8, when SQLite quotes it, then the file is named and nothing else is raised."""
    await (await SqliteStore.open(tmp_path)).close()
    file = tmp_path / FILE_NAME
    data = file.read_bytes()
    for name in (b"sqlite_sequence", b"CREATE TABLE addresses"):
        at = data.index(name) + len(name) - 1
        file.write_bytes(data[:at] + b"\xa0" + data[at + 1 :])
        with pytest.raises(MachineError, match=FILE_NAME) as caught:
            await SqliteStore.open(tmp_path)
        assert caught.value.code == "damaged_store"


async def test_no_checkpoint_runs_beside_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite before 3.51.3 can lose pages there: every checkpoint has the writer's turn."""
    database = await Database.open(tmp_path / FILE_NAME)
    try:
        monkeypatch.setattr("bflcd.store.database.CHECKPOINT_BYTES", 1)
        turns = []
        execute = database._checkpointer.execute_fetchall

        async def watched(sql: str) -> object:
            turns.append((sql, database._turn.locked()))
            return await execute(sql)

        monkeypatch.setattr(database._checkpointer, "execute_fetchall", watched)
        await database.write("a write", lambda writer: writer.execute("PRAGMA user_version"), durable=False)
        await asyncio.gather(database.checkpoint_if_due(), database.checkpoint_if_due())
        await database.truncate()
        assert turns == [("PRAGMA wal_checkpoint(PASSIVE)", True), ("PRAGMA wal_checkpoint(TRUNCATE)", True)]
    finally:
        await database.close()


def test_an_io_error_says_what_lies_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(bytes(17))
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode, broken.sqlite_errorname = sqlite3.SQLITE_IOERR_SHORT_READ, "SQLITE_IOERR_SHORT_READ"
    with (
        pytest.raises(MachineError, match=f"{FILE_NAME} has 17 bytes, {FILE_NAME}-wal: No such file") as told,
        machine_errors(path, "reading"),
    ):
        raise broken
    assert told.value.code == "io_error"


async def test_nothing_of_the_store_lies_outside_its_directory(tmp_path):
    """Every connection keeps in memory what SQLite would put into a temporary file: there may be no place for one."""
    database = await Database.open(tmp_path / FILE_NAME)
    reader = await Database.open_read_only(tmp_path / FILE_NAME)
    for opened in (database, reader):
        for connection in (opened._writer, opened._checkpointer, opened._reader, opened._payload_reader):
            assert [tuple(row) for row in await connection.execute_fetchall("PRAGMA temp_store")] == [(2,)]
        await opened.close()


async def test_a_directory_whose_name_is_no_utf8_holds_a_store(tmp_path):
    directory = tmp_path / os.fsdecode(b"node-\xff%41")
    store = await SqliteStore.open(directory)
    await store.close()
    assert (directory / FILE_NAME).exists()
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(MachineError, match="no lock for a whole file") as caught:
        DirectoryLock(tmp_path)
    assert (caught.value.code, "local file system" in caught.value.hint) == ("file_system", True)


@pytest.mark.parametrize(
    ("code", "meaning", "hint"),
    [
        (sqlite3.SQLITE_IOERR_SHMMAP, "file_system", "shared memory"),
        (sqlite3.SQLITE_CANTOPEN, "limit", "ulimit -n"),
        (sqlite3.SQLITE_IOERR_WRITE, "io_error", "ulimit -f"),
    ],
)
def test_limits_and_file_systems_are_seen_behind_sqlites_word(tmp_path, monkeypatch, code, meaning, hint):
    """Given a limit on open files, and one on the size of files that is reached, Then its own word of it is what is told."""
    path = tmp_path / FILE_NAME
    path.write_bytes(b"0" * 4096)
    reached = OSError(errno.EMFILE, "Too many open files") if meaning == "limit" else None
    monkeypatch.setattr("bflcd.store.database.limit_reached", lambda: reached)
    monkeypatch.setattr("bflcd.store.database.file_size_limit", lambda: 4096)
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_X"
    with pytest.raises(MachineError) as caught, machine_errors(path, "opening"):
        raise error
    assert caught.value.code == meaning
    assert hint in caught.value.hint
