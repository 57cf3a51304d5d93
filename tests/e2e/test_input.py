"""What operators get wrong: each ends with one clear line, the right exit code, no traceback, and nothing lost."""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bflcd.store.lock import DirectoryLock
from tests.helpers.daemons import CREATE_SECONDS, Daemon, bflcd, wait_for

NOT_KEPT = ("log", "LOCK", "api.json", "api.sock", "chain.sqlite3-wal", "chain.sqlite3-shm")
"""What a refused start may touch."""

DEAD_ADDRESS = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A testnet of five; its first directory is what the cases start from."""
    place = tmp_path_factory.mktemp("input") / "net"
    made = bflcd("testnet", "--nodes", "5", "--output", place, seconds=CREATE_SECONDS)
    assert made.returncode == 0, made.stderr
    return place


@pytest.fixture
def datadir(directories: Path, tmp_path: Path) -> Path:
    """A data directory of its own, complete and never started."""
    return Path(shutil.copytree(directories / "node0", tmp_path / "node"))


def kept(datadir: Path) -> dict[str, str]:
    """Content of what the operator would miss."""
    files = [path for path in datadir.iterdir() if path.is_file() and path.name not in NOT_KEPT]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Hold a refusal against what every refusal owes its reader."""
    told = done.stderr + done.stdout
    assert done.returncode == code, told
    assert "Traceback" not in told
    lines = [line for line in done.stderr.splitlines() if line.startswith("bflcd: ")]
    assert len(lines) == 1, told
    for word in words:
        assert word in told, told


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(datadir: Path) -> None:
        with (datadir / name).open("a") as file:
            file.write(text)

    return change


def overwrite_database(datadir: Path) -> None:
    (datadir / "chain.sqlite3").write_bytes(os.urandom(65_536))


def open_key(datadir: Path) -> None:
    (datadir / "node.key").chmod(0o644)


def only_key(datadir: Path) -> None:
    for name in ("genesis.json", "config.toml", "model.safetensors"):
        (datadir / name).unlink(missing_ok=True)


def other_model(datadir: Path) -> None:
    next(path for path in datadir.iterdir() if "model" in path.name).write_bytes(bytes(1000))


STARTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], int, tuple[str, ...]]] = {
    "malformed TOML": (append("config.toml", "\n[node\n"), (), 2, ("config.toml", "TOML")),
    "unknown key": (append("config.toml", "\n[api2]\nprot = 1\n"), (), 2, ("config.toml", "api2")),
    "bad multiaddr": (lambda _: None, ("--bootstrap", "127.0.0.1:4001"), 2, ("127.0.0.1:4001", "--bootstrap")),
    "bootstrap without id": (lambda _: None, ("--bootstrap", "/ip4/127.0.0.1/tcp/4001"), 2, ("/p2p/",)),
    "contradicting flags": (lambda _: None, ("--archive", "--prune-keep", "2"), 2, ("--archive", "--prune-keep")),
    "wrong chain": (lambda _: None, ("--chain-id", "ab" * 32), 1, ("abab", "--chain-id")),
    "open key": (open_key, (), 1, ("node.key", "chmod -R go-rwx")),
    "damaged database": (overwrite_database, (), 1, ("chain.sqlite3", "hint")),
    "wrong model": (other_model, (), 2, ("model", "genesis.json")),
    "no genesis": (only_key, (), 1, ("genesis", "--bootstrap")),
}
"""What is done to the directory, the flags, the exit code, words of the message."""


@pytest.mark.parametrize("case", STARTS)
def test_a_wrong_start_is_refused(datadir: Path, case: str):
    """Given a data directory, When one thing about it or the command line is wrong,
    Then `bflcd start` ends with the right exit code and one line that names it, and leaves every file as it was.
    """
    spoil, flags, code, words = STARTS[case]
    spoil(datadir)
    before = kept(datadir)

    refused(bflcd("start", "--datadir", datadir, *flags), code, *words)

    assert {name: digest for name, digest in kept(datadir).items() if name in before} == before


def test_a_taken_port_is_named(datadir: Path):
    """Given a port that another program listens on, When the node is to listen there, Then it ends with 1 and names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(bflcd("start", "--datadir", datadir, "--listen", f"/ip4/127.0.0.1/tcp/{port}"), 1, str(port))
        refused(bflcd("start", "--datadir", datadir, "--api-listen", f"127.0.0.1:{port}"), 1, str(port))


def test_one_daemon_a_directory(datadir: Path):
    """Given a directory that a running process holds, When another daemon starts on it, Then that ends with 1 and names the process."""
    with DirectoryLock(datadir):
        refused(bflcd("start", "--datadir", datadir), 1, str(datadir), str(os.getpid()))


TESTNETS: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "unknown task": (("--task", "no_such_task"), 1, ("no_such_task",)),
    "unknown option": (("--option", "colour=red"), 1, ("colour",)),
    "missing data": (("--task", "femnist", "--data", "/nowhere/at/all.npz"), 1, ("/nowhere/at/all.npz",)),
    "no data": (("--task", "femnist"), 1, ("--data",)),
    "malformed npz": (("--task", "femnist", "--data", "{bad}"), 1, ("bad.npz",)),
    "truncated npz": (("--task", "femnist", "--data", "{cut}"), 1, ("cut.npz",)),
    "too few nodes": (("--committee-size", "9"), 2, ("6 members", "committee of 9")),
}


@pytest.mark.parametrize("case", TESTNETS)
def test_a_wrong_testnet_is_refused(tmp_path: Path, case: str):
    """Given a wrong task, option, data file or size, When a testnet is made of it, Then it is refused and nothing is left half made."""
    flags, code, words = TESTNETS[case]
    bad, cut, whole = tmp_path / "bad.npz", tmp_path / "cut.npz", tmp_path / "whole.npz"
    bad.write_bytes(b"PK\x03\x04 this is no archive")
    np.savez(whole, x=np.zeros((10, 28, 28), np.uint8), y=np.zeros(10, np.int64))
    cut.write_bytes(whole.read_bytes()[:-200])
    given: Any = [flag.format(bad=bad, cut=cut) for flag in flags]

    refused(bflcd("testnet", "--nodes", "6", "--output", tmp_path / "net", *given, seconds=CREATE_SECONDS), code, *words)

    assert not (tmp_path / "net").exists() or not any((tmp_path / "net").iterdir())


@pytest.fixture(scope="module", autouse=True)
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A new node whose only first peer does not answer. It warns after ten seconds, so it runs beside the other tests from the first on."""
    node = Daemon("lonely", tmp_path_factory.mktemp("lonely") / "node")
    node.start("--bootstrap", DEAD_ADDRESS, "--chain-id", "ab" * 32)
    yield node
    node.sweep()
    node.wait()


def test_an_unreachable_bootstrap_is_named(lonely: Daemon):
    """Given a new node whose only first peer does not answer, When it runs for a while,
    Then it keeps running, its status names the address and the step that failed, and SIGTERM ends it with 0.
    """
    warned = wait_for(lambda: lonely.status()["warnings"], 60, "a warning", report=lonely.tail)
    assert any(DEAD_ADDRESS in text and "connect" in text for text in warned), warned
    assert "--bootstrap" in lonely.status()["waiting_for"]
    assert lonely.stop() == 0
