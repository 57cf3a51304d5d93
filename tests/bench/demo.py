"""A round of the demo (ten daemons, four judges, six trainers, digits) beside its torch work and eight gossip hops (design 12)."""

import time
from statistics import mean, median
from typing import Any

import torch

from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import ScoreJob, TrainJob, UpdateToScore
from bflcd.learn.scoring import Scorer
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, initial_model, never, train
from bflcd.params import TaskSpec
from bflcd.types import Digest, Round
from tests.bench.hop import gossip_hop
from tests.bench.turns import paired, side_by_side
from tests.bench.work_w import round_seconds, testnet

NODES, TRAINERS, JUDGES, ROUNDS, HOPS, CORES = 10, 6, 4, 20, 8, 2
TURNS = 3


def run() -> list[dict[str, Any]]:
    """One row. The torch work is timed in as many processes at once as there are cores, and shared out over them."""
    values, works, hops = [], [], []
    for _ in range(TURNS):
        works.append(mean(side_by_side(_torch_seconds, CORES)) / CORES)
        hops.append(gossip_hop())
        with testnet(NODES, "--task", "digits", "--rounds", str(ROUNDS)) as running:
            running.wait(ROUNDS, 180)
            values.append(median(round_seconds(running.datadirs[0])[1:]))
    floors = [work + HOPS * hop for work, hop in zip(works, hops, strict=True)]
    return [
        {
            "row": "a round of the demo, s",
            "value": round(median(values), 3),
            "floor": round(median(floors), 3),
            "floor_is": f"torch work {median(works):.3f} and {HOPS} gossip hops of {median(hops) * 1e3:.1f} ms",
            **paired(values, floors),
            "budget": "<= 1.25",
        }
    ]


def _torch_seconds() -> float:
    """Six trainings and four times (six updates and the base) scored, through the worker's own code, median of five rounds."""
    torch.set_num_threads(1)
    task = find_task("digits", {})
    tensors, base = initial_model(task, 0)
    spec = TaskSpec("digits", (), tensors)
    data = task.load(DataConfig(None, "dirichlet", 0, NODES, 0, 0.5, 0))
    rows = DeviceRows.of(data.own, torch.device("cpu"))
    model = FlatModel(task.build_model(), tensors, torch.device("cpu"))
    found = []
    for round_ in range(6):
        begun = time.perf_counter()
        results = [
            train(model, task, spec, rows, TrainJob(Round(0), base, seed, "u"), cancelled=never) for seed in range(TRAINERS)
        ]
        candidates = tuple(UpdateToScore(Digest(bytes([n]) * 32), result.update, "u") for n, result in enumerate(results))
        for judge in range(JUDGES):
            Scorer(model, task, rows).score(ScoreJob(Round(0), base, candidates, judge, 256, 4), never)
        if round_:
            found.append(time.perf_counter() - begun)
    return median(found)
