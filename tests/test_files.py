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
from bflcd.files import read_regular, require_regular, write_whole
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

    def write(path, data):
        with path.open("wb") as file:
            file.write(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_bytes", write)
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
