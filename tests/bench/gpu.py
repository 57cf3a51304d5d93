"""Scoring P updates at once on a GPU, beside P times scoring one in a loop there (design 12). No rows without CUDA."""

import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import ScoreJob, UpdateToScore
from bflcd.learn.scoring import Scorer
from bflcd.learn.task import Rows, find_task
from bflcd.learn.training import DeviceRows, initial_model, never
from bflcd.types import Digest, Round
from bflcd.wire.tensors import join_payload

ROWS, CLASSES, REPEATS = 256, 10, 5
COUNTS = (8, 32, 64)


def run() -> list[dict[str, Any]]:
    """A row for each model and number of updates."""
    if not torch.cuda.is_available():
        return []
    return [_row(kind, count) for kind in ("cnn", "alexnet") for count in COUNTS]


def _row(kind: str, count: int) -> dict[str, Any]:
    task = find_task("femnist", {"classes": str(CLASSES), "model": kind})
    tensors, base = initial_model(task, 1)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (ROWS, 28, 28), dtype=np.uint8)
    rows = DeviceRows.of(Rows(images, rng.integers(0, CLASSES, ROWS).astype(np.int64)), torch.device("cuda"))
    scorer = Scorer(FlatModel(task.build_model(), tensors, torch.device("cuda")), task, rows)
    size = sum(int(np.prod(tensor.shape)) for tensor in tensors)
    updates = tuple(
        UpdateToScore(
            Digest(bytes([number]) * 32),
            join_payload(np.zeros(0, np.int64), rng.normal(0, 1e-3, size).astype(np.float32), tensors, label="u"),
            "u",
        )
        for number in range(count)
    )
    job = ScoreJob(Round(0), base, updates, 3, ROWS, 4)
    value = _seconds(scorer, [job])
    floor = _seconds(scorer, [replace(job, candidates=(update,)) for update in updates])
    return {
        "row": f"scoring {count} updates on a GPU, {kind}, ms",
        "value": round(value * 1e3, 1),
        "floor": round(floor * 1e3, 1),
        "floor_is": "one at a time",
        "ratio": round(value / floor, 2),
        "budget": "<= 0.5",
    }


def _seconds(scorer: Scorer, jobs: list[ScoreJob]) -> float:
    found = []
    for repeat in range(REPEATS + 1):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for job in jobs:
            scorer.score(job, never)
        torch.cuda.synchronize()
        if repeat:
            found.append(time.perf_counter() - begun)
    return median(found)
