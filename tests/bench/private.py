"""What privacy costs trainers: `python -m tests.bench.private accuracy` and `... cost` print the tables of docs/measurements/privacy.md.

Accuracy: the laboratory's communities on scikit-learn's digits, dealt evenly, with four judges beside the trainers; each device has a
budget for all rounds. Cost: processor time of the same epoch, plain and private, in turns in one process.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from bflcd.lab.config import SimulationConfig
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.private.descent import PrivateDescent
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.private.noise import Chance
from bflcd.learn.task import Rows, Task
from bflcd.learn.tasks.digits import DigitsTask
from bflcd.learn.tasks.femnist import FemnistTask
from bflcd.learn.training import Descent, DeviceRows, descend

JUDGES = 4
EPSILONS = (1.0, 3.0, 8.0)
TURNS = 5
BATCHES = 10
BATCH = 32


def ends(trainers: int, seed: int, *, rounds: int, **settings: float) -> tuple[float, int]:
    """Accuracy on the test rows at the end, and how many honest offers were refused."""
    config = SimulationConfig(
        task="digits",
        partition="equal",
        devices=trainers + JUDGES,
        active=1.0,
        rounds=rounds,
        every=rounds,
        seed=seed,
        **settings,  # type: ignore[arg-type] - whole and broken numbers by name
    )
    simulation, refused, record = Simulation(config, Machine("cpu", threads=1)), 0, {}
    while not simulation.done:
        record = simulation.advance()
        refused += record["refused_honest"]
    return float(record["accuracy"]), refused


def accuracy_rows(options: argparse.Namespace) -> Iterator[str]:
    """The table's rows, as they are found."""
    private = {"dp_clip": options.clip, "dp_lot": options.lot, "learning_rate": options.rate, "momentum": options.momentum}
    for trainers in options.trainers:
        cells = []
        for epsilon in (*options.epsilon, None):
            settings = {} if epsilon is None else {**private, "dp_epsilon": epsilon}
            found = [ends(trainers, seed, rounds=options.rounds, **settings) for seed in range(options.seeds)]
            accuracies = [100 * accuracy for accuracy, _ in found]
            spread = f" ± {statistics.stdev(accuracies):.1f}" if len(found) > 1 else ""
            cells.append(f"{statistics.fmean(accuracies):.1f}{spread} ({statistics.fmean(refused for _, refused in found):.0f})")
        yield f"| {trainers} | {' | '.join(cells)} |"


def cost_rows() -> Iterator[str]:
    """Median of the ratios of processor time, private by plain, a network each."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images = Rows(rng.integers(0, 256, (BATCHES * BATCH, 28, 28), dtype=np.uint8), rng.integers(0, 62, BATCHES * BATCH))
    cases: tuple[tuple[str, Task, Rows], ...] = (
        ("digits", DigitsTask({}), DigitsTask({}).load(DataConfig(count=4)).own.first(BATCHES * BATCH)),
        ("light", FemnistTask({"model": "light"}), images),
        ("cnn", FemnistTask({"model": "cnn"}), images),
    )
    for name, task, rows in cases:
        module = task.build_model()
        model = FlatModel(module, tensors_of(module), torch.device("cpu"))
        data, plan = DeviceRows.of(rows, model.device), Descent(0.01, 0.9, BATCH, 1, 1)
        private = PrivateDescent(Mechanism(1000, 1.0, BATCHES, BATCHES), Chance())
        spent = [
            (_spent(lambda: descend(model, task, data, plan)), _spent(lambda: private(model, task, data, plan)))  # noqa: B023
            for _ in range(TURNS)
        ]
        plain, noisy = (statistics.median(side) for side in zip(*spent, strict=True))
        ratio = statistics.median(after / before for before, after in spent)
        yield f"| `{name}` | {len(model.weights)} | {1000 * plain / BATCHES:.1f} | {1000 * noisy / BATCHES:.1f} | {ratio:.1f} |"


def _spent(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.private", description=__doc__)
    parser.add_argument("what", choices=("accuracy", "cost"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--trainers", type=int, nargs="+", default=[6, 10, 20])
    parser.add_argument("--epsilon", type=float, nargs="*", default=list(EPSILONS))
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--lot", type=int, default=4096)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9)
    options = parser.parse_args()
    for row in accuracy_rows(options) if options.what == "accuracy" else cost_rows():
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
