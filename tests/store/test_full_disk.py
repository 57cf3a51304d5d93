"""A disk that is full at any write of a round (row 16): it is named, nothing acknowledged is lost, nothing is signed twice."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bflcd.errors import MachineError
from bflcd.store.marks import MarkFile
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from tests.helpers.daemons import ROOT
from tests.helpers.store import Chain, begin
from tests.helpers.store_damage import Files, quick_place
from tests.helpers.store_round import StoredRound

DISK_BYTES = 12 * 2**20
BLOCK = 4096
"""Bytes by which a tmpfs gives space."""


async def two_rounds(directory: Path) -> tuple[Chain, Files, bytes]:
    """The files of a node after two rounds, closed."""
    store = await SqliteStore.open(directory)
    marks = MarkFile(directory / "marks")
    chain = await begin(store)
    for _ in range(2):
        chain = await StoredRound(store, marks, chain).play()
    await store.close()
    marks.close()
    return chain, Files.of(directory), (directory / "marks").read_bytes()


def put(directory: Path, files: Files, marks: bytes) -> Path:
    files.put(directory)
    (directory / "marks").write_bytes(marks)
    return directory


async def test_no_page_is_left_at_any_write_of_a_round(tmp_path: Path) -> None:
    """Given a database that may grow by n pages, for every n up to a whole round's need, when a round is played, then the failure
    is a full disk by name, the same store goes on where it stood once there is space, and so does one that is opened anew."""
    chain, files, marks_bytes = await two_rounds(tmp_path / "source")
    failed_at = set()
    for pages in range(200):
        directory = put(tmp_path / "full", files, marks_bytes)
        store, marks = await SqliteStore.open(directory), MarkFile(directory / "marks")
        writer = store._database._writer
        await writer.execute(f"PRAGMA max_page_count = {len(files.main) // PAGE_BYTES + pages}")
        played = StoredRound(store, marks, chain)
        try:
            await played.play()
        except MachineError as error:
            failed_at.add((error.code, "space" in error.hint, played.done))
        else:
            await close(store, marks)
            break
        await played.check(store)
        if pages % 2:
            await close(store, marks)
            store, marks = await SqliteStore.open(directory), MarkFile(directory / "marks")
            played.store, played.marks = store, marks
            await played.check(store)
        await store._database._writer.execute("PRAGMA max_page_count = 100000")
        after = await played.play()
        assert (await store.head()).header == after.header
        assert await store.check(deep=True) == ()
        await close(store, marks)
    else:
        pytest.fail("a round never had enough pages")
    assert failed_at >= {("disk_full", True, done) for done in (0, 2, 4)}, failed_at
    assert {(code, hint) for code, hint, _ in failed_at} == {("disk_full", True)}


async def close(store: SqliteStore, marks: MarkFile) -> None:
    await store.close()
    marks.close()


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A file system of `DISK_BYTES`; skips where that is not allowed."""
    directory = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        directory.rmdir()
        pytest.skip("a small file system needs the right to mount one")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)
    directory.rmdir()


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_no_block_is_left_at_any_write_of_a_round(tmp_path: Path, tiny_disk: Path, step: int) -> None:
    """Given a real file system with n free blocks, for n up to a whole round's need, when a round is played, then the failure is
    named, and after a restart, at first still without space, all is there, and with space the round is finished."""
    chain, files, marks_bytes = await two_rounds(tmp_path / "source")
    failed_at = {}
    for blocks in sorted({*range(0, 12, 3), *range(0, 2000, step)}):  # the first few: not even opening it succeeds
        directory = put(tiny_disk / "node", files, marks_bytes)
        ballast = tiny_disk / "ballast"
        free = os.statvfs(tiny_disk).f_bavail * BLOCK
        ballast.write_bytes(bytes(free - blocks * BLOCK))
        assert os.statvfs(tiny_disk).f_bavail <= blocks
        store = marks = None
        played = StoredRound(store, marks, chain)  # type: ignore[arg-type]
        try:
            played.store = store = await SqliteStore.open(directory)
            played.marks = marks = MarkFile(directory / "marks")
            await played.play()
            finished = True
        except MachineError as error:
            finished = False
            failed_at[blocks] = (error.code, played.done, str(error))
        if store is not None:
            await store.close()
        if marks is not None:
            marks.close()
        ballast.unlink()
        store, marks = await SqliteStore.open(directory), MarkFile(directory / "marks")
        await played.check(store)
        played.store, played.marks = store, marks
        after = await played.play()
        assert (await store.head()).header == after.header
        await close(store, marks)
        shutil.rmtree(directory)
        if finished:
            break
    else:
        pytest.fail("a round never had enough space")
    assert {code for code, _, _ in failed_at.values()} == {"disk_full"}, failed_at
    assert len({done for _, done, _ in failed_at.values()}) >= 3, failed_at


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from bflcd.errors import MachineError
from bflcd.store.marks import MarkFile
from bflcd.store.sqlite import SqliteStore
from tests.helpers.store_round import StoredRound
from tests.store.test_full_disk import put, two_rounds

async def main(place, step):
    chain, files, marks_bytes = await two_rounds(place / "source")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for limit in range(len(files.main), 20 * 2**20, step):
        directory = put(place / "full", files, marks_bytes)
        store, marks = await SqliteStore.open(directory), MarkFile(directory / "marks")
        played = StoredRound(store, marks, chain)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            await played.play()
            code = "finished"
        except MachineError as error:
            code = error.code
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await played.check(store)
        await store.close()
        marks.close()
        played.store, played.marks = await SqliteStore.open(directory), MarkFile(directory / "marks")
        await played.check(played.store)
        print(limit, code, played.done, flush=True)
        await played.play()
        await played.store.close()
        played.marks.close()
        if code == "finished":
            return
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.parametrize("step", [70_001, pytest.param(4096, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_limit_on_the_size_of_files_at_any_write_of_a_round(step: int) -> None:
    """Given a limit on how large a file may grow, from none at all in small steps to enough, when a round is played, then the
    failure is named, and without the limit the round is finished."""
    with quick_place() as place:
        command = [sys.executable, "-c", LIMITED, str(place), str(step)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert {code for _, code, _ in rows[:-1]} <= {"disk_full", "io_error"}
    assert rows[-1][1] == "finished"
    assert len({steps for _, _, steps in rows}) >= 4, rows
