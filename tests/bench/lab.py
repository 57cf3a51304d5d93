"""The laboratory beside a plain torch loop over devices, and beside Flower's simulation engine, on the same work in the same run.

`python -m tests.bench.lab [--flower PYTHON]`: PYTHON (else BFLC_FLOWER of the environment) is an interpreter that has
`flwr[simulation]` and torch; without it Flower is left out. Each contender is a process of its own, watched from outside: seconds
a round in steady state (median after the first), time to the end of the first round, CPU seconds and proportional memory of all its
processes together. On a machine with CUDA the laboratory and the loop are measured there too, in devices a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from tests.bench.turns import report

DEVICES, ROWS, ROUNDS, CLASSES = 100, 100, 6, 62
BATCH, RATE, MOMENTUM = 32, 0.05, 0.9
PROCESSES = 2
SAMPLE_SECONDS = 0.25
HERE = Path(__file__).parent


@dataclass
class Measurements:
    """What one contender took. `rounds`: seconds of each after the first."""

    first: float
    rounds: list[float]
    cpu: float
    memory: float

    @property
    def steady(self) -> float:
        return median(self.rounds)


def work_file(folder: Path) -> Path:
    """The rows of all devices as one array file: random images, since no value matters for time."""
    rng = np.random.default_rng(0)
    path = folder / "work.npz"
    images = rng.integers(0, 256, (DEVICES * ROWS, 28, 28), dtype=np.uint8)
    np.savez(path, images=images, labels=rng.integers(0, CLASSES, DEVICES * ROWS).astype(np.int64))
    return path


def watch(command: list[str]) -> Measurements:
    """Run a contender to its end; it prints `round N SECONDS` (Unix time) as each round ends."""
    begun = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    session, cpu, memory = process.pid, {}, 0.0
    while process.poll() is None:
        total = 0.0
        for member in psutil.process_iter():
            try:
                if member.pid != session and session not in {p.pid for p in member.parents()}:
                    continue
                times = member.cpu_times()
                cpu[member.pid] = times.user + times.system
                total += member.memory_full_info().pss
            except psutil.Error:
                continue
        memory = max(memory, total)
        time.sleep(SAMPLE_SECONDS)
    assert process.stdout is not None
    ends = [float(line.split()[2]) for line in process.stdout.read().splitlines() if line.startswith("round ")]
    if process.returncode or len(ends) < ROUNDS:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} after {len(ends)} rounds")
    steps = [later - earlier for earlier, later in pairwise(ends)]
    return Measurements(ends[0] - begun, steps, sum(cpu.values()), memory / 2**20)


def run(flower: str | None = None) -> list[dict[str, Any]]:
    """A row for each figure: the laboratory's value beside each rival's; `flower`: an interpreter that has it."""
    flower = flower or os.environ.get("BFLC_FLOWER")
    with tempfile.TemporaryDirectory() as folder:
        data = str(work_file(Path(folder)))
        ours = watch([sys.executable, "-m", "tests.bench.lab", "--contender", "lab", "--data", data])
        rivals = {"a plain loop": watch([sys.executable, str(HERE / "lab_loop.py"), data])}
        if flower is not None:
            rivals["Flower's simulation"] = watch([flower, str(HERE / "lab_flower.py"), data])
        again = watch([sys.executable, "-m", "tests.bench.lab", "--contender", "lab", "--data", data])
    rows = []
    for name, rival in rivals.items():
        for what, mine, other, budget in (
            ("s/round", (ours.steady + again.steady) / 2, rival.steady, "<= 1"),
            ("CPU s in all", (ours.cpu + again.cpu) / 2, rival.cpu, "<= 0.5" if "Flower" in name else None),
            ("memory, MiB", (ours.memory + again.memory) / 2, rival.memory, "<= 0.5" if "Flower" in name else None),
            ("s to the end of round 1", (ours.first + again.first) / 2, rival.first, "<= 0.5" if "Flower" in name else None),
        ):
            rows.append(
                {
                    "row": f"laboratory, {DEVICES} devices of {ROWS} rows on a CPU, {what}",
                    "value": round(mine, 2),
                    "floor": round(other, 2),
                    "floor_is": name,
                    "ratio": round(mine / other, 2),
                    "budget": budget,
                }
            )
    return rows + gpu_rows()


def gpu_rows() -> list[dict[str, Any]]:
    """Devices a second on a GPU beside the plain loop there, by network and precision; none without CUDA."""
    import torch

    if not torch.cuda.is_available():
        return []
    from tests.bench.lab_gpu import rows

    return rows()


def contender(data: str) -> None:
    """The laboratory's own process: rounds of Basic FL over all devices, nothing measured on test rows."""
    import torch

    from bflcd.lab.engine.base import Pace, Trainee
    from bflcd.lab.engine.loop import LoopEngine
    from bflcd.lab.rules import AggregationInput, fedavg
    from bflcd.learn.flat import FlatModel, tensors_of
    from bflcd.learn.task import Rows, find_task
    from bflcd.learn.training import DeviceRows

    with np.load(data, allow_pickle=False) as archive:
        rows = Rows(archive["images"], archive["labels"])
    task = find_task("femnist", {"classes": str(CLASSES)})
    engine = LoopEngine(task, DeviceRows.of(rows, torch.device("cpu")))
    module = task.build_model()
    model = FlatModel(module, tensors_of(module), torch.device("cpu")).weights.clone()
    claims = torch.full((DEVICES,), float(ROWS))
    for number in range(ROUNDS):
        trainees = [Trainee(np.arange(i * ROWS, (i + 1) * ROWS), number * DEVICES + i) for i in range(DEVICES)]
        updates = engine.train(model, trainees, Pace(RATE, MOMENTUM, BATCH, 1))
        model = model + fedavg(AggregationInput(updates, claims, 0))
        print("round", number + 1, time.time(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flower", help="an interpreter with flwr[simulation] and torch")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        contender(given.data)
    else:
        report(lambda: run(given.flower))
