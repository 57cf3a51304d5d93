"""Whole daemons as processes on loopback: communities that tests start, steer, kill and read, and that never outlive their test."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec
import psutil

from bflc_cli.client import SocketTransport
from bflcd.api.place import SOCKET_NAME
from bflcd.api.token import FILE_NAME as API_FILE
from bflcd.api.token import ApiFile

ROOT: Final = Path(__file__).parents[2]
"""The repository: daemons run from it, so that tasks of the tests can be found."""

PACED_TASK: Final = "tests.helpers.paced_task:PacedDigits"
"""Digits, slowed down; named and not imported, since the module needs torch."""

STOP_SECONDS: Final = 30.0
"""What an orderly stop may take on a machine that has much else to do; an idle one needs well under a second."""

CREATE_SECONDS: Final = 300.0
"""What `bflcd testnet`, which imports torch once, may take where dozens of processes want two cores."""

POLL_SECONDS: Final = 0.1

LOG_LINES: Final = 12
"""Lines of each daemon's output in the message of a failed wait."""

_PR_SET_PDEATHSIG: Final = 1

_WARNINGS: Final = "default::ResourceWarning,default::RuntimeWarning"
"""Those that tell of a file left open or a coroutine never awaited."""

_FAULTS: Final = (" ERROR ", " CRITICAL ", "Traceback", "ResourceWarning", "RuntimeWarning", "our own fault", "never retrieved")
"""What only a bug of ours writes."""

T = TypeVar("T")


class UnreachableError(Exception):
    """The daemon does not answer: it starts, has stopped, or is paused."""


def environment(**extra: str) -> dict[str, str]:
    """The environment of a daemon: ours without settings of bflcd, one thread for every library."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("BFLCD_")}
    return {**own, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": _WARNINGS, **extra}


def bflcd(*arguments: str | Path, seconds: float = 60.0, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the daemon's command to its end, in a process."""
    return subprocess.run(
        [sys.executable, "-m", "bflcd", *map(str, arguments)],
        cwd=ROOT,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        preexec_fn=_die_with_us,
    )


def wait_for(
    predicate: Callable[[], T],
    seconds: float,
    what: str,
    *,
    report: Callable[[], str] = str,
    check: Callable[[], None] = lambda: None,
) -> T:
    """Poll until `predicate` gives something true, and return that; `check` may raise at each poll. A daemon that does not answer
    counts as false. Fails with `what` and `report()` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        check()
        try:
            found = predicate()
        except UnreachableError:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}\n{report()}")
        time.sleep(POLL_SECONDS)


@dataclass(slots=True)
class Daemon:
    """One data directory and the process that runs on it, if any."""

    name: str
    datadir: Path
    node_id: str = ""
    address: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    paused: bool = False
    flags: tuple[str, ...] = ()
    """Those of the last start."""

    @property
    def output(self) -> Path:
        """What it wrote to both standard streams, over all its starts."""
        return self.datadir.with_suffix(".out")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *flags: str) -> None:
        """Start it in a session of its own; returns at once. `flags` of `bflcd start`."""
        assert not self.running, f"{self.name} runs already"
        self.flags = flags
        (self.datadir / API_FILE).unlink(missing_ok=True)  # left by a kill; the process that it names may by now be another's
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bflcd", "start", "--datadir", str(self.datadir), *flags],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_us,  # noqa: PLW1509 - nothing but a system call
            )
        self.paused = False

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM; returns the exit code. Fails if it does not end in time."""
        assert self.process is not None
        self.resume()
        self.process.terminate()
        return self.wait(seconds)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:.0f} s\n{self.tail()}") from None

    def kill(self) -> None:
        """SIGKILL to the daemon alone; its worker has to notice by itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self.paused and self.running:
            os.kill(self.pid, signal.SIGCONT)
        self.paused = False

    def leftovers(self) -> list[psutil.Process]:
        """Living processes of its session: the daemon, its worker."""
        return [] if self.process is None else [p for p in psutil.process_iter() if _session_of(p) == self.process.pid]

    def sweep(self) -> None:
        """SIGKILL to whatever of it still lives: daemon and worker share a process group."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def worker(self) -> psutil.Process | None:
        """Its compute worker, once there is one."""
        try:
            return next((c for c in psutil.Process(self.pid).children() if "bflcd.learn.worker" in c.cmdline()), None)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return None

    # -- its API ------------------------------------------------------------------------------------------------------

    def api(self) -> ApiFile:
        """What stands in its `api.json`. Raises UnreachableError."""
        try:
            return msgspec.json.decode((self.datadir / API_FILE).read_bytes(), type=ApiFile)
        except FileNotFoundError as error:
            raise UnreachableError(f"{self.name} has no {API_FILE}") from error

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request at its socket. Raises UnreachableError."""
        try:
            with httpx.Client(trust_env=False, timeout=20.0, transport=SocketTransport(self.datadir / SOCKET_NAME)) as client:
                return client.request(method, f"http://localhost{path}", **arguments)
        except (httpx.TransportError, FileNotFoundError) as error:
            raise UnreachableError(f"{self.name} does not answer: {error}") from error

    def get(self, path: str) -> Any:
        """The data of an answer. Raises UnreachableError, also while it starts; fails on an error."""
        response = self.request("GET", path)
        if response.status_code == 503 and response.json()["code"] == "starting":
            raise UnreachableError(f"{self.name} is still starting")
        assert response.status_code == 200, f"{self.name} {path}: {response.status_code} {response.text}"
        return response.json()["data"]

    def status(self) -> dict[str, Any]:
        return self.get("/v1/status")

    def round(self) -> int:
        """Round of its newest model."""
        return self.status()["round"]

    def history(self, first: int = 1) -> dict[int, dict[str, Any]]:
        """Its committed models from round `first` on, at most a thousand."""
        return {row["round"]: row for row in self.get(f"/v1/history?first={first}&count=1000")}

    def member(self) -> dict[str, Any]:
        """Its own entry in the ledger, as it knows it."""
        return next(row for row in self.get("/v1/members") if row["me"])

    # -- its output ---------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """All that it wrote."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def tail(self, lines: int = LOG_LINES) -> str:
        """Its state and last lines, for people."""
        code = "never started" if self.process is None else "running" if self.running else f"exit code {self.process.returncode}"
        last = "\n".join(f"    {line}" for line in self.text().splitlines()[-lines:])
        return f"  {self.name}: {code}{', paused' if self.paused else ''}; {self._standing()}\n{last}"

    def _standing(self) -> str:
        if not self.running or self.paused:
            return "asked nothing"
        try:
            status = self.status()
        except (UnreachableError, AssertionError) as error:
            return str(error)
        shown = ("round", "view", "role", "phase", "peers", "waiting_for", "warnings")
        return ", ".join(f"{key} {status[key]}" for key in shown)


@dataclass
class Community:
    """A testnet directory and its daemons."""

    path: Path
    chain_id: str
    task: str
    nodes: list[Daemon]
    expected: set[str] = field(default_factory=set)
    """Names of the daemons that should be running: one that ends by itself fails every wait."""

    @classmethod
    def create(cls, path: Path, nodes: int, *options: str, task: str = PACED_TASK) -> "Community":
        """Make it with `bflcd testnet`."""
        made = bflcd("testnet", "--nodes", str(nodes), "--output", path, "--task", task, *options, seconds=CREATE_SECONDS)
        assert made.returncode == 0, made.stderr
        plan = msgspec.json.decode((path / "testnet.json").read_bytes())
        daemons = [Daemon(n["name"], path / n["datadir"], n["node_id"], n["address"]) for n in plan["nodes"]]
        return cls(path, plan["chain_id"], plan["task"], daemons)

    def __iter__(self) -> Iterator[Daemon]:
        return iter(self.nodes)

    def __getitem__(self, index: int) -> Daemon:
        return self.nodes[index]

    def by_id(self, node_id: str) -> Daemon:
        return next(node for node in self.nodes if node.node_id == node_id)

    def running(self) -> list[Daemon]:
        return [node for node in self.nodes if node.running and not node.paused]

    def start(self, nodes: Iterable[Daemon] | None = None, *flags: str) -> None:
        """Start some, by default all; from now on they should be running."""
        for node in self.nodes if nodes is None else nodes:
            node.start(*flags)
            self.expected.add(node.name)

    def kill(self, *nodes: Daemon) -> None:
        """SIGKILL to all of them before the first is waited for."""
        for node in nodes:
            self.expected.discard(node.name)
            os.kill(node.pid, signal.SIGKILL)
        for node in nodes:
            node.kill()

    def stop(self, *nodes: Daemon) -> list[int]:
        """SIGTERM to all of them at once; returns the exit codes."""
        for node in nodes:
            self.expected.discard(node.name)
            node.resume()
            os.kill(node.pid, signal.SIGTERM)
        return [node.wait() for node in nodes]

    def close(self) -> None:
        """End every process of it, whatever state it is in."""
        for node in self.nodes:
            node.sweep()
        for node in self.nodes:
            if node.process is not None:
                node.process.wait()

    # -- waiting ------------------------------------------------------------------------------------------------------

    def report(self) -> str:
        """Every daemon's standing and last lines."""
        return "\n".join(node.tail() for node in self.nodes)

    def check(self) -> None:
        """Fail if a daemon ended that should be running."""
        dead = [node for node in self.nodes if node.name in self.expected and not node.running]
        if dead:
            raise AssertionError("ended by themselves:\n" + "\n".join(node.tail(40) for node in dead))

    def wait_for(self, predicate: Callable[[], T], seconds: float, what: str) -> T:
        """As the function, with this community's report, failing at once when a daemon ended by itself."""
        return wait_for(predicate, seconds, what, report=self.report, check=self.check)

    def wait_round(self, round_: int, seconds: float, nodes: Sequence[Daemon] | None = None) -> None:
        """Until every one of `nodes`, by default those that run, has committed the model of `round_`."""
        wanted = self.running() if nodes is None else nodes
        names = ", ".join(node.name for node in wanted)
        self.wait_for(lambda: all(node.round() >= round_ for node in wanted), seconds, f"round {round_} on {names}")

    def wait_rounds(self, count: int, seconds: float, nodes: Sequence[Daemon] | None = None) -> int:
        """Until `count` more rounds than the foremost has now are closed everywhere; returns that round."""
        wanted = self.running() if nodes is None else nodes
        target = self.wait_for(lambda: max(node.round() for node in wanted) + 1, seconds, "an answer") - 1 + count
        self.wait_round(target, seconds, wanted)
        return target

    # -- judging ------------------------------------------------------------------------------------------------------

    def hashes(self, nodes: Sequence[Daemon] | None = None) -> dict[int, str]:
        """Hash of each committed model block. Fails if two daemons disagree about one."""
        found: dict[int, str] = {}
        for node in self.running() if nodes is None else nodes:
            for round_, row in node.history().items():
                assert found.setdefault(round_, row["hash"]) == row["hash"], f"a fork at round {round_}, seen on {node.name}"
        return found

    def faults(self) -> list[str]:
        """Lines that only a bug of ours brings about."""
        lines = [(node.name, line) for node in self.nodes for line in node.text().splitlines()]
        return [f"{name}: {line}" for name, line in lines if any(sign in line for sign in _FAULTS)]


@contextmanager
def community(path: Path, nodes: int, *options: str, task: str = PACED_TASK) -> Iterator[Community]:
    """A community whose processes all end with the block."""
    made = Community.create(path, nodes, *options, task=task)
    try:
        yield made
    finally:
        made.close()


def _session_of(process: psutil.Process) -> int:
    """The session of a living process, or 0."""
    try:
        return 0 if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        return 0


def _die_with_us() -> None:
    """In the child, before it runs: the kernel kills it when the test run dies, however that dies (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
