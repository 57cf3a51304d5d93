"""Killed, cut, full: whatever was acknowledged is there, and what is there is whole (rows 16 to 18)."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bflcd.core.signing_guard import Mark, holds, signing_floor
from bflcd.errors import MachineError
from bflcd.store.database import FILE_NAME
from bflcd.store.marks import MarkFile
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round
from bflcd.wire.messages import Commit
from tests.helpers.store import begin, extend, make_vote, payload, round_payloads
from tests.helpers.store_writer import check_acknowledged

ROOT = Path(__file__).parents[2]
WAL_HEADER, FRAME_HEADER = 32, 24


def run_and_kill(directory: Path, mode: str, acknowledgements: int, delay: float) -> list[str]:
    """Start the writer, kill it `delay` seconds after so many lines; every line that it wrote."""
    command = [sys.executable, "-m", "tests.helpers.store_writer", str(directory), mode]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledgements)]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGKILL)
        return [line.strip() for line in (*lines, *process.stdout.readlines())]


@pytest.mark.parametrize("mode", ["archive", "prune"])
async def test_killed_at_any_instant_nothing_acknowledged_is_lost(tmp_path: Path, mode: str) -> None:
    """Given a writer that is killed over and over, when its store is opened again, then all that it acknowledged is there."""
    draw = random.Random(17)
    for _ in range(7):
        lines = await asyncio.to_thread(run_and_kill, tmp_path, mode, draw.randrange(1, 30), draw.random() * 0.02)
        await check_acknowledged(tmp_path, lines, kept=1000 if mode == "archive" else 3)


async def test_a_log_cut_anywhere_is_an_older_store_and_the_mark_notices(tmp_path: Path) -> None:
    """Given a store whose log is cut at a frame's edge or within a frame, when it is opened, then it is whole but older, and
    unless it holds the last vote, nothing may be signed in that round."""
    source, marks = tmp_path / "source", MarkFile(tmp_path / "marks")
    store = await SqliteStore.open(source)
    chain, _ = await extend(store, await begin(store), 2)
    vote = make_vote(chain.round, kind=Commit)
    await store.persist([make_vote(chain.round)])
    await store.persist([vote])
    mark = Mark(vote.epoch, vote.round, vote.view, vote.phase, vote.digest)
    await marks.write(mark)
    file, log = (source / FILE_NAME).read_bytes(), (source / f"{FILE_NAME}-wal").read_bytes()
    await store.close()
    frame = FRAME_HEADER + PAGE_BYTES
    frames = (len(log) - WAL_HEADER) // frame
    assert frames > 10
    edges = [WAL_HEADER + number * frame for number in range(frames + 1)]
    within = [edge + random.Random(edge).randrange(1, frame) for edge in edges[:-1:4]]
    heads = set()
    for cut in (0, 16, *edges, *within):
        directory = tmp_path / f"cut {cut}"
        directory.mkdir()
        (directory / FILE_NAME).write_bytes(file)
        (directory / f"{FILE_NAME}-wal").write_bytes(log[:cut])
        older = await SqliteStore.open(directory)
        try:
            assert await older.check(deep=True) == ()
            head = None if await older.genesis() is None else await older.head()
            round_ = Round(0) if head is None else head.header.round
            heads.add(None if head is None else round_)
            whole = holds(mark, await older.records(round_))
            assert whole is (cut == edges[-1])
            assert signing_floor(marks.highest(), round_, has_record=whole) == (None if whole else chain.round)
        finally:
            await older.close()
        shutil.rmtree(directory)
    marks.close()
    assert heads == {None, 0, 1, 2}


@pytest.mark.parametrize("what", ["persist", "commit", "put_blob", "address"])
async def test_a_full_disk_is_named_and_leaves_the_store_as_it_was(tmp_path: Path, what: str) -> None:
    """Given a file that may not grow, when a write fails, then it says so, nothing of it is stored, and with space it goes on."""
    store = await SqliteStore.open(tmp_path)
    chain, _ = await extend(store, await begin(store), 1)
    writer = store._database._writer
    await writer.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the present size
    after, certified = chain.next(*round_payloads(1, 2**20))
    head = await store.head()

    async def write() -> None:
        if what == "persist":
            for view in range(400):
                await store.persist([make_vote(1, view=view)])
        elif what == "commit":
            for name in range(400):
                await store.remember_address(chain.state.committee[0], f"/{name}/" + "x" * 200)
            await store.commit(certified, after.state)
        elif what == "put_blob":
            await store.put_blob(payload("large", 3 * 2**20))
        else:
            for name in range(1000):
                await store.remember_address(chain.state.committee[0], f"/{name}/" + "x" * 200)

    with pytest.raises(MachineError) as caught:
        await write()
    assert caught.value.code == "disk_full"
    assert "space" in caught.value.hint
    assert FILE_NAME in str(caught.value)
    assert await store.head() == head
    assert await store.check(deep=True) == ()
    await writer.execute("PRAGMA max_page_count = 1000000")
    await store.commit(certified, after.state)
    await store.close()
    again = await SqliteStore.open(tmp_path)
    assert (await again.head()).header == after.header
    await again.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 64 MiB."""
    directory = Path(tempfile.mkdtemp())
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = (
        mounted and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", directory], check=False).returncode == 0
    )
    if not mounted:
        directory.rmdir()
        pytest.skip("a small file system needs the right to mount one")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)  # a failed test may have left it open
    directory.rmdir()


async def test_on_a_disk_that_is_really_full(small_disk: Path) -> None:
    """Given 64 MiB of disk, when rounds are stored until it is full and the operator then frees 24 MiB, then the failure was named,
    all acknowledged rounds are there after a restart, and a prune makes room again."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(24 * 2**20))
    store = await SqliteStore.open(small_disk)
    chain = await begin(store)
    acknowledged = chain
    with pytest.raises(MachineError) as caught:  # noqa: PT012
        for _ in range(100):
            acknowledged = chain
            chain, _ = await extend(store, chain, 1, 2**20)
    assert caught.value.code == "disk_full"
    await store.close()
    filler.unlink()
    again = await SqliteStore.open(small_disk)
    assert (await again.head()).header == acknowledged.header
    assert await again.check(deep=True) == ()
    report = await again.prune(1, dry_run=False)
    assert report.freed > 5_000_000
    await extend(again, acknowledged, 3, 2**20)
    await again.close()


async def test_a_file_that_may_not_grow_is_an_io_error(tmp_path: Path) -> None:
    """Given a limit on the size of files, when it is reached, then the error is named, and what was stored opens again."""
    script = (
        "import asyncio, resource, signal, sys; from pathlib import Path\n"
        "from bflcd.errors import MachineError; from bflcd.store.sqlite import SqliteStore; from tests.helpers.store import begin, extend\n"
        "async def main():\n"
        "    store = await SqliteStore.open(Path(sys.argv[1])); chain = await begin(store)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 2**20,) * 2); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    try:\n"
        "        for _ in range(100):\n"
        "            chain, _ = await extend(store, chain, 1, 200_000); print(chain.round, flush=True)\n"
        "    except MachineError as error: print(error.code, flush=True)\n"
        "    finally: await store.close()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    *rounds, code = done.stdout.split()
    assert code in ("io_error", "disk_full"), done.stderr
    store = await SqliteStore.open(tmp_path)
    assert (await store.head()).header.round == int(rounds[-1])
    assert await store.check(deep=True) == ()
    await store.close()
