"""Work W: eight trainers and a committee of four as daemons, beside plain torch doing the same trainings and scorings (design 12).

`BFLC_DATA=DIR python -m tests.bench.work_w` prints its rows. DIR holds `mnist_by_nist_writer.npz`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from bflc_cli.client import SocketTransport
from bflcd.api.place import SOCKET_NAME
from tests.bench.turns import report

NODES, TRAINERS, JUDGES, ROWS, ROUNDS = 12, 8, 4, 600, 10
FILE = "mnist_by_nist_writer.npz"
START_SECONDS = 180


def data_file() -> Path | None:
    """The data set, where BFLC_DATA says so."""
    folder = os.environ.get("BFLC_DATA")
    path = Path(folder) / FILE if folder else None
    return path if path is not None and path.exists() else None


def ask(datadir: Path, path: str) -> Any:
    """One answer of a daemon's API."""
    return json.loads(ask_text(datadir, path))["data"]


def ask_text(datadir: Path, path: str) -> str:
    """One answer of a daemon's API, as it is."""
    with httpx.Client(transport=SocketTransport(datadir / SOCKET_NAME)) as client:
        return client.get(f"http://localhost{path}", timeout=10).raise_for_status().text


def status(datadir: Path) -> dict[str, Any] | None:
    """A daemon's status, or None while it can't be asked."""
    try:
        found: dict[str, Any] = ask(datadir, "/v1/status")
    except (OSError, httpx.HTTPError, ValueError, KeyError):
        return None
    return found


class Running:
    """Daemons of a testnet directory."""

    def __init__(self, directory: Path, nodes: int) -> None:
        self.datadirs = [directory / f"node{i}" for i in range(nodes)]
        self.processes: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, datadir: Path) -> None:
        """Start one daemon; its output goes into a file beside the data directory."""
        out = datadir.with_suffix(".out").open("ab")  # beside it: what is in it is closed to others, or refused
        command = [sys.executable, "-m", "bflcd", "start", "--datadir", str(datadir), "--log-level", "info"]
        self.processes[datadir] = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def stop(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def wait(self, round_: int, seconds: float, among: list[Path] | None = None) -> float:
        """Until every daemon has committed the model of `round_`; returns the seconds waited. Asks one at a time, to cost little."""
        begun = time.monotonic()
        waiting = list(among or self.datadirs)
        while waiting:
            while waiting and (found := status(waiting[0])) is not None and found["round"] >= round_:
                waiting.pop(0)
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"{[d.name for d in waiting]} did not reach round {round_} in {seconds:.0f} s")
            time.sleep(0.25)
        return time.monotonic() - begun


@contextmanager
def testnet(nodes: int, *options: str) -> Iterator[Running]:
    """A started testnet in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="bflc-bench-") as folder:
        directory = Path(folder) / "net"
        command = [sys.executable, "-m", "bflcd", "testnet", "--nodes", str(nodes), "--output", str(directory), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        running = Running(directory, nodes)
        for datadir in running.datadirs:
            running.start(datadir)
        try:
            yield running
        finally:
            running.stop()


def round_seconds(datadir: Path) -> list[float]:
    """Seconds between the certificates of consecutive models, as one node stored them: by the log, in milliseconds."""
    history = ask(datadir, "/v1/history?first=1&count=1000")
    return [row["seconds"] for row in history]


def private_memory(running: Running) -> list[int]:
    """Unique set size of each node: daemon and worker together, bytes."""
    sizes = []
    for process in running.processes.values():
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
        sizes.append(sum(member.memory_full_info().uss for member in family))
    return sizes


def cpu_seconds(running: Running) -> tuple[float, float]:
    """CPU seconds so far, of all daemons and of all workers."""
    daemons = workers = 0.0
    for process in running.processes.values():
        parent = psutil.Process(process.pid)
        times = parent.cpu_times()
        daemons += times.user + times.system
        for child in parent.children(recursive=True):
            times = child.cpu_times()
            workers += times.user + times.system
    return daemons, workers


def w_options(data: Path, rounds: int) -> tuple[str, ...]:
    """Work W as a testnet: 600 rows a node, all of them trained on."""
    return (
        *("--task", "femnist", "--data", str(data), "--partition", "writer", "--limit", str(ROWS)),
        *("--rounds", str(rounds), "--committee-size", str(JUDGES), "--places", str(TRAINERS)),
        *("--param", "validation_fraction=0", "--param", "score_rows=256"),
    )


def run() -> list[dict[str, Any]]:
    """Rows of the benchmark table; empty without the data."""
    data = data_file()
    if data is None:
        return []
    from tests.bench.plain_torch import run as floor_of

    floors = [floor_of(data, TRAINERS, JUDGES, ROWS, 5, NODES)]
    with testnet(NODES, *w_options(data, ROUNDS)) as running:
        running.wait(1, START_SECONDS)
        before, at = cpu_seconds(running), time.monotonic()
        first = status(running.datadirs[0])
        running.wait(ROUNDS, START_SECONDS)
        after, seconds = cpu_seconds(running), time.monotonic() - at
        rounds = round_seconds(running.datadirs[0])
        memory = private_memory(running)
    floors.append(floor_of(data, TRAINERS, JUDGES, ROWS, 5, NODES))
    steady, floor = median(rounds[1:]), sum(floors) / 2
    passed = ROUNDS - (first["round"] if first else 1)
    return [
        {
            "row": "work W, s/round",
            "value": round(steady, 2),
            "floor": round(floor, 2),
            "ratio": round(steady / floor, 2),
            "budget": 1.25,
        },
        {
            "row": "work W, CPU s/round of 12 daemons (without / of workers)",
            "value": round((after[0] - before[0]) / passed, 2),
            "floor": round((after[1] - before[1]) / passed, 2),
            "ratio": None,
            "budget": None,
            "note": f"{seconds:.0f} s for {passed} rounds",
        },
        {"row": "work W, private memory of a node, MiB", "value": max(memory) >> 20, "floor": None, "ratio": None, "budget": 450},
    ]


if __name__ == "__main__":
    report(run)
