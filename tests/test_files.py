"""Files that stand where nobody put them on purpose: nothing waits for a pipe, nothing is read without end, nothing is half written."""

import errno
import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from bflc_cli.client import read_api_file
from bflc_cli.fleet import read_overview
from bflc_cli.main import main
from bflcd.__main__ import main as bflcd
from bflcd.api.token import remove_api_file
from bflcd.config import load_config
from bflcd.errors import BflcError, MachineError, OperatorError
from bflcd.files import beside, check_place, read_regular, require_regular, write_whole
from bflcd.setup.datadir import DataDir
from bflcd.setup.genesis_file import read_genesis
from bflcd.store.database import Database
from bflcd.store.lock import DirectoryLock
from bflcd.store.marks import MarkFile

PATIENCE = 30
"""Seconds after which a test that waits for a pipe is interrupted, and fails."""


@pytest.fixture(autouse=True)
def _nothing_waits():
    def interrupted(*_):
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, interrupted)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


async def open_database(folder):
    await (await Database.open(folder / "chain.sqlite3")).close()


READERS = {
    "config.toml": lambda folder: load_config(folder, {}, {}),
    "genesis.json": lambda folder: read_genesis(folder / "genesis.json"),
    "api.json": read_api_file,
    "testnet.json": read_overview,
    "marks": lambda folder: MarkFile(folder / "marks"),
    "LOCK": DirectoryLock,
}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(BflcError, match=re.escape(str(tmp_path / name))) as caught:
        READERS[name](tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["chain.sqlite3", "chain.sqlite3-wal", "chain.sqlite3-shm"])
async def test_the_database_waits_for_no_pipe(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OperatorError, match=f"{name}: a pipe or a device"):
        await open_database(tmp_path)


def test_an_api_file_that_is_a_pipe_is_no_reason_to_hang_at_the_end(tmp_path):
    os.mkfifo(tmp_path / "api.json")
    with pytest.raises(MachineError, match="a pipe or a device"):
        remove_api_file(tmp_path, "token")


def test_a_data_directory_with_a_pipe_in_it_is_refused_with_the_remedy(tmp_path):
    tmp_path.chmod(0o700)
    os.mkfifo(tmp_path / "bflcd.log", 0o600)
    with pytest.raises(OperatorError, match="a pipe or a device") as caught:
        DataDir(tmp_path).check()
    assert (caught.value.code, caught.value.hint) == ("bad_datadir", f"rm {tmp_path / 'bflcd.log'}")


def test_the_log_that_is_a_pipe_is_told(tmp_path, capsys):
    (tmp_path / "log").mkdir()
    os.mkfifo(tmp_path / "log" / "bflcd.log")
    assert main(["--datadir", str(tmp_path), "logs"]) == 1
    assert "a pipe or a device" in capsys.readouterr().err


def test_no_more_is_read_than_is_meant(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_regular(tmp_path / "file", 99) == b"x" * 100
    assert read_regular(tmp_path / "file", 10) == b"x" * 11
    with pytest.raises(OSError, match="a pipe or a device"):
        read_regular(Path("/dev/zero"), 10)
    require_regular(tmp_path / "absent")


@contextmanager
def full_disk(monkeypatch):
    """After three bytes of a file."""

    def write(path, data, _):
        path.write_bytes(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("bflcd.files._write_new", write)
        yield


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"first")
    with full_disk(monkeypatch), pytest.raises(MachineError) as caught:
        write_whole(path, b"second")
    assert (caught.value.code, path.read_bytes(), len(list(tmp_path.iterdir()))) == ("disk_full", b"first", 1)


@pytest.mark.parametrize("place", ["/dev/null", "/dev/full"])
def test_no_device_is_replaced_by_a_file(place):
    """Given the superuser, who may replace what all of the machine needs, When a file shall go there, Then it is refused."""
    with pytest.raises(OperatorError, match="a pipe or a device"):
        write_whole(Path(place), b"data")


def test_a_try_that_failed_leaves_the_place_for_the_next(tmp_path, monkeypatch):
    """Given a disk that fills up while a node or a genesis is made, When there is space again, Then the same command makes it."""
    command = ["init", "--datadir", str(tmp_path / "node")]
    with full_disk(monkeypatch):
        assert bflcd(command) == 1
    assert list((tmp_path / "node").iterdir()) == []
    assert bflcd(command) == 0


NO_FILES = {".": "a directory", "/": "a directory", "..": "a directory", "nowhere/x": "No such file", "file/x": "Not a directory"}


@pytest.mark.parametrize("output", NO_FILES)
def test_a_place_for_no_file_is_refused_before_the_work_and_when_it_is_written(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for use in (check_place, lambda path: write_whole(path, b"data")):
        with pytest.raises(OperatorError, match=f"cannot be written: {NO_FILES[output]}") as caught:
            use(Path(output))
        assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("mode", "others"), [(0o700, 0), (0o755, 0o044)])
def test_what_is_written_into_a_directory_of_its_owners_is_its_owners_too(tmp_path, mode, others):
    """Given `export` into a data directory, When its node starts again, Then nothing in it may be read by others."""
    tmp_path.chmod(mode)
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "model", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o077 == others


def test_what_a_killed_command_left_or_somebody_laid_down_is_in_no_ones_way(tmp_path, monkeypatch):
    """Given containers, in each of which a command has the same process id, Then no two use the same name beside a file."""
    names = {beside(tmp_path / ("n" * 255)).name for _ in range(100)}
    assert len(names) == 100
    drawn = beside(tmp_path / "x")
    drawn.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("bflcd.files.beside", lambda _: drawn)
    with pytest.raises(OperatorError):
        write_whole(tmp_path / "x", b"data")
    assert not (tmp_path / "elsewhere").exists()
