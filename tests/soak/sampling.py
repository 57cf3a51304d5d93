"""What a running daemon holds of its machine: memory, descriptors, tasks, threads, bytes of each of its files."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.helpers.daemons import Daemon, UnreachableError

_METRIC = re.compile(r"^(bflc_round|bflc_tasks|bflc_peers) (\S+)$", re.MULTILINE)

FILES = {
    "database": ("chain.sqlite3",),
    "write-ahead log": ("chain.sqlite3-wal",),
    "marks": ("marks",),
    "log": ("log/bflcd.log", "log/bflcd.log.1", "log/bflcd.log.2", "log/bflcd.log.3"),
}
"""Files of a data directory by what they are; the log is what it and its rotated parts hold together."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one node: `values` by quantity; bytes, or counts."""

    seconds: float
    node: str
    round: int
    values: dict[str, float] = field(default_factory=dict)


def take(node: Daemon, seconds: float) -> Sample | None:
    """Look at a node, `seconds` after the start of the run; None where it did not answer, or ended meanwhile."""
    try:
        answer = node.request("GET", "/metrics")
        process = psutil.Process(node.pid)
        values = _of_process(process, "")
        worker = node.worker()
        if worker is not None:
            values |= _of_process(worker, "worker ")
    except (UnreachableError, psutil.NoSuchProcess):
        return None
    metrics = {name: float(value) for name, value in _METRIC.findall(answer.text)}
    values |= {"tasks": metrics["bflc_tasks"], "peers": metrics["bflc_peers"]}
    values |= {name: float(sum(_size(node.datadir / part) for part in parts)) for name, parts in FILES.items()}
    return Sample(round(seconds, 3), node.name, int(metrics["bflc_round"]), values)


def _of_process(process: psutil.Process, prefix: str) -> dict[str, float]:
    with process.oneshot():
        memory: Any = process.memory_full_info()
        return {
            f"{prefix}private memory": float(memory.uss),
            f"{prefix}resident memory": float(memory.rss),
            f"{prefix}descriptors": float(process.num_fds()),
            f"{prefix}threads": float(process.num_threads()),
        }


def _size(path: Path) -> int:
    """Bytes of a file, 0 where there is none: a log that was just rotated, a write-ahead log of a closed database."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
