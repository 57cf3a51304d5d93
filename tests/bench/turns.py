"""Value and floor in turn, so that whatever else the machine does falls on both; and how much else it did, told with every row."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, Final

import psutil

BUSY: Final = 0.05
"""Share of all cores that others may have had in a run that is not told to be on a busy machine."""

PATIENCE_S: Final = 300.0

Rows = list[dict[str, Any]]


def in_turn(*works: Callable[[], object], turns: int, warm: int = 1) -> list[list[float]]:
    """Seconds of each work in each turn. The first `warm` turns are not counted."""
    found: list[list[float]] = [[] for _ in works]
    for turn in range(warm + turns):
        for seconds, work in zip(found, works, strict=True):
            begun = time.perf_counter()
            work()
            if turn >= warm:
                seconds.append(time.perf_counter() - begun)
    return found


def paired(values: Sequence[float], floors: Sequence[float]) -> dict[str, float]:
    """The ratio of a row, the median over its turns, with the lowest and the highest: a turn that was disturbed counts once."""
    ratios = [value / floor for value, floor in zip(values, floors, strict=True)]
    return {"ratio": round(median(ratios), 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2)}


def side_by_side(work: Callable[[], float], processes: int) -> list[float]:
    """What `work` returns in so many processes, which begin at the same moment. A floor gets no core that the value had to share."""
    context = multiprocessing.get_context("spawn")
    barrier, out = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_at_once, args=(work, barrier, out)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = [out.get(timeout=PATIENCE_S) for _ in workers]
    for worker in workers:
        worker.join(PATIENCE_S)
    return found


def _at_once(work: Callable[[], float], barrier: Any, out: Any) -> None:
    barrier.wait(PATIENCE_S)
    out.put(work())


class Others:
    """How many cores others had since this was made: what the machine was busy with, less this process and its ended children."""

    def __init__(self, machine: Callable[[], float] | None = None, own: Callable[[], float] | None = None) -> None:
        """Both give processor seconds so far; by default the kernel's."""
        self._machine, self._own = machine or _machine_seconds, own or _own_seconds
        self._begun, self._before = time.monotonic(), self._machine() - self._own()

    def cores(self) -> float:
        """Cores, on average."""
        return max(0.0, self._machine() - self._own() - self._before) / (time.monotonic() - self._begun)


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def marked(run: Callable[[], Iterable[dict[str, Any]] | dict[str, Any]]) -> Rows:
    """The rows of one part, each with the cores that others had meanwhile."""
    others = Others()
    found = run()
    rows = [found] if isinstance(found, dict) else list(found)
    cores = round(others.cores(), 2)
    return [{**row, "others_cores": cores, "busy_machine": is_busy(cores)} for row in rows]


def is_busy(cores: float) -> bool:
    """Whether others had so much that only ratios count."""
    return cores > BUSY * (os.cpu_count() or 1)


def report(run: Callable[[], Iterable[dict[str, Any]] | dict[str, Any]]) -> Rows:
    """Print the rows of one part as JSON, one a line, and say if the machine was busy."""
    rows = marked(run)
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if rows and rows[0]["busy_machine"]:
        cores = rows[0]["others_cores"]
        sys.stderr.write(
            f"a busy machine: others had {cores:.2f} of {os.cpu_count()} cores; of these rows only the ratios count\n"
        )
    return rows
