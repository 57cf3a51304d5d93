"""A daemon alone: seconds from start to API, resident memory without torch; and a decision beside a gossip hop (design 12)."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.bench.hop import gossip_hop
from tests.bench.turns import paired
from tests.bench.work_w import Running, ask_text, status, testnet

STARTS = 5
TURNS, ROUNDS = 3, 20


def run() -> list[dict[str, Any]]:
    """The rows of a lone daemon, then of a community of five on the digits."""
    return [*_alone(), *_deciding()]


def _alone() -> list[dict[str, Any]]:
    seconds, memory = [], []
    with tempfile.TemporaryDirectory(prefix="bflc-bench-") as folder:
        directory = Path(folder) / "net"
        command = [sys.executable, "-m", "bflcd", "testnet", "--nodes", "5", "--output", str(directory)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for _ in range(STARTS):
            running = Running(directory, 1)
            begun = time.monotonic()
            running.start(running.datadirs[0])
            while status(running.datadirs[0]) is None:
                time.sleep(0.01)
            seconds.append(time.monotonic() - begun)
            time.sleep(6)
            memory.append(psutil.Process(running.processes[running.datadirs[0]].pid).memory_info().rss >> 20)
            running.stop()
    return [
        {"row": "daemon: start to API, s", "value": round(median(seconds), 2), "budget": "<= 3"},
        {"row": "daemon without torch: resident memory, MiB", "value": max(memory), "budget": "<= 150"},
    ]


def _deciding() -> list[dict[str, Any]]:
    hops, values = [], []
    for _ in range(TURNS):
        hops.append(gossip_hop())
        with testnet(5, "--task", "digits", "--rounds", str(ROUNDS)) as running:
            running.wait(ROUNDS, 120)
            decided = sum(_metric(d, "bflc_decision_seconds_sum") for d in running.datadirs)
            values.append(decided / sum(_metric(d, "bflc_decision_seconds_count") for d in running.datadirs))
    return [
        {
            "row": "deciding a segment, 4 members, ms (mean, from q cards to the certificate stored)",
            "value": round(median(values) * 1e3, 1),
            "floor": round(median(hops) * 1e3, 2),
            "floor_is": "one gossip hop (median)",
            **paired(values, hops),
            "budget": "<= 6 hops",
        }
    ]


def _metric(datadir: Path, name: str) -> float:
    for line in ask_text(datadir, "/metrics").splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0.0
