"""The daemons of a testnet as child processes, none of which outlives this command."""

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final, Self

import msgspec

import bflcd
from bflc_cli.session import CommandError
from bflcd.api.token import FILE_NAME as API_FILE
from bflcd.errors import MachineError
from bflcd.faults import refused
from bflcd.files import open_regular, read_regular
from bflcd.setup.overview import FILE_NAME as OVERVIEW_FILE
from bflcd.setup.overview import NodeEntry, Overview
from bflcd.store.lock import DirectoryLock

STOP_SECONDS: Final = 5.0
"""How long daemons may take to stop before they are killed."""

CONSOLE_FILE: Final = "console.log"
"""What a daemon writes to its terminal: warnings and a last message; the log proper is log/bflcd.log."""

TAIL_BYTES: Final = 16 * 1024

MAX_OVERVIEW_BYTES: Final = 4 * 1024 * 1024
"""Of `testnet.json`: a thousand nodes take a tenth of it."""

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2), Linux: the signal that a child gets when its parent dies."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_overview(directory: Path) -> Overview:
    """`testnet.json` of the directory. Raises CommandError."""
    path = directory / OVERVIEW_FILE
    try:
        return msgspec.json.decode(read_regular(path, MAX_OVERVIEW_BYTES), type=Overview)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CommandError(
            f"{directory} is no testnet directory: it has no {OVERVIEW_FILE}",
            code="no_testnet",
            hint="make one with `bflcd testnet --nodes 10 --output DIR`",
        ) from error
    except OSError as error:
        raise refused(f"{path}", error) from error
    except (ValueError, RecursionError) as error:  # damaged in whatever way
        raise CommandError(f"{path} can't be understood: {error}", code="no_testnet", hint="make the testnet anew") from error


@dataclass(slots=True)
class Daemon:
    """One child. `code` is its exit code once it has ended; `wanted` says that we asked it to."""

    entry: NodeEntry
    datadir: Path
    process: subprocess.Popen[bytes] | None = None
    console: IO[bytes] | None = None
    code: int | None = None
    wanted: bool = False

    @property
    def running(self) -> bool:
        """Started and not yet ended."""
        return self.process is not None and self.code is None

    def poll(self) -> bool:
        """Whether it has just ended."""
        if self.process is None or self.code is not None:
            return False
        self.code = self.process.poll()
        return self.code is not None

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of what it wrote to its terminal."""
        try:
            with os.fdopen(open_regular(self.datadir / CONSOLE_FILE), "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.code is None:
            return "runs"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return f"exit code {self.code}"


@dataclass(slots=True)
class Fleet:
    """All daemons of one testnet; as a context manager it holds the directory's lock, and leaves no process behind."""

    directory: Path
    overview: Overview
    daemons: list[Daemon] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    """Names of those that did not stop by themselves."""
    lock: DirectoryLock | None = None

    def __post_init__(self) -> None:
        self.daemons = [Daemon(entry, self.directory / entry.datadir) for entry in self.overview.nodes]

    def __enter__(self) -> Self:
        """Raises CommandError (`locked`), with nothing touched, if the testnet or a node of it runs already."""
        self.lock = _hold(self.directory, f"{self.directory} is run by another command")
        try:
            for daemon in self.daemons:
                _hold_node(daemon).release()
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if self.lock is not None:
                self.lock.release()

    def start(self, daemon: Daemon) -> None:
        """Start one. Raises CommandError, `locked` if it runs already: what is there belongs to the running one."""
        try:
            with _hold_node(daemon):
                (daemon.datadir / API_FILE).unlink(missing_ok=True)  # of a killed daemon: its process may be another by now
                daemon.console = open(daemon.datadir / CONSOLE_FILE, "wb", opener=_for_owner)  # noqa: SIM115 - Path has no opener
            daemon.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                # -P: whatever lies in the working directory is no module of ours
                [sys.executable, "-P", "-m", "bflcd", "start", "--datadir", str(daemon.datadir)],
                stdin=subprocess.DEVNULL,
                stdout=daemon.console,
                stderr=subprocess.STDOUT,
                env=_environment(),
                process_group=0,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call; this process has one thread
            )
        except OSError as error:
            raise refused(f"cannot start {daemon.entry.name}", error) from error

    def ended(self) -> list[Daemon]:
        """Daemons that ended since the last call without being asked to."""
        return [daemon for daemon in self.daemons if daemon.poll() and not daemon.wanted]

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to the group of whoever is left after 5 seconds. Idempotent; finishes whatever signals come."""
        with _deaf():
            for daemon in self.daemons:
                daemon.wanted = True
                if daemon.running and daemon.process is not None:
                    daemon.process.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            for daemon in self.daemons:
                if daemon.process is None:
                    continue
                try:
                    daemon.code = daemon.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self.killed.append(daemon.entry.name)
                _kill_group(daemon.process.pid)  # its worker too, should it be left
                daemon.code = daemon.process.wait()
                if daemon.console is not None:
                    daemon.console.close()
                daemon.process = None


def _hold_node(daemon: Daemon) -> DirectoryLock:
    return _hold(daemon.datadir, f"{daemon.entry.name} runs already")


def _hold(directory: Path, what: str) -> DirectoryLock:
    """The lock on a directory. Raises CommandError (`locked`) saying `what` and whose process holds it."""
    try:
        return DirectoryLock(directory)
    except MachineError as error:
        if error.code != "locked":
            raise
        raise CommandError(
            f"{what}: {error}", code="locked", hint="look at it with `bflc-cli testnet status`, or end it first"
        ) from error


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _environment() -> dict[str, str]:
    """Ours, with the package findable from a checkout, and a terminal that only gets what matters."""
    here = str(Path(bflcd.__file__).parent.parent)
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]  # an empty one: where we stand
    if here not in (sysconfig.get_path("purelib"), *entries):
        entries.insert(0, here)
    return {"BFLCD_LOG_LEVEL": "warning", **os.environ, "PYTHONPATH": os.pathsep.join(entries)}


def _die_with_parent() -> Any:
    """What a child runs before it becomes the daemon: SIGTERM when this process dies, however it dies. None off Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 - an order, not an error
    """SIGINT, SIGTERM or SIGHUP arrived."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)


@contextmanager
def signals_stop() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise `Stopped`; only the main thread may enter."""

    def order(signum: int, _: FrameType | None) -> None:
        raise Stopped(signum)

    with _handlers(order):
        yield


@contextmanager
def _deaf() -> Iterator[None]:
    """Inside, the same signals wait for nobody: stopping the fleet takes seconds and must not be cut short."""
    with _handlers(signal.SIG_IGN):
        yield


@contextmanager
def _handlers(handler: Any) -> Iterator[None]:
    before: Sequence[Any] = [signal.signal(number, handler) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, old in zip(_SIGNALS, before, strict=True):
            signal.signal(number, old)
