"""The floor of work W: the same trainings and scorings in plain torch, without anything around them, in as many processes
as there are daemons: on a machine that others use, fewer would get less of it than the daemons do.

`python -m tests.bench.plain_torch DATA TRAINERS JUDGES ROWS ROUNDS PROCESSES` prints seconds a round as JSON.
"""

import json
import multiprocessing as mp
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

SCORE_ROWS = 256


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def train(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    for chosen in order.split(32):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
        optimiser.step()


def score(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(nn.functional.cross_entropy(model(inputs), targets))


def work(arrays: tuple[np.ndarray, np.ndarray], trainings: int, scorings: int, rounds: int, barrier, out) -> None:
    torch.set_num_threads(1)
    inputs = torch.from_numpy(arrays[0]).float().div_(255).unsqueeze(1)
    targets = torch.from_numpy(arrays[1]).long()
    model = net()
    for _ in range(rounds):
        barrier.wait()
        begun = time.perf_counter()
        for seed in range(trainings):
            train(model, inputs, targets, seed)
        for _ in range(scorings):
            score(model, inputs[:SCORE_ROWS], targets[:SCORE_ROWS])
        barrier.wait()
        out.put(time.perf_counter() - begun)


def run(data: Path, trainers: int, judges: int, rows: int, rounds: int, processes: int) -> float:
    """Median seconds a round."""
    with np.load(data, allow_pickle=False) as archive:
        arrays = archive["images"][:rows], archive["labels"][:rows]
    context = mp.get_context("spawn")
    barrier, out = context.Barrier(processes), context.Queue()
    shares = [(trainers * (i + 1) // processes - trainers * i // processes) for i in range(processes)]
    scorings = judges * (trainers + 1)
    scored = [(scorings * (i + 1) // processes - scorings * i // processes) for i in range(processes)]
    workers = [
        context.Process(target=work, args=(arrays, share, more, rounds, barrier, out))
        for share, more in zip(shares, scored, strict=True)
    ]
    for worker in workers:
        worker.start()
    seconds = sorted(out.get(timeout=300) for _ in range(rounds * processes))
    for worker in workers:
        worker.join(60)
    return median(seconds)


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": run(Path(path), *map(int, numbers))}))
