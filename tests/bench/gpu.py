"""Scoring P updates at once on a GPU, beside P times scoring one in a loop there (design 12). No rows without CUDA."""

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
from tests.bench.turns import in_turn, paired

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
    alone = [replace(job, candidates=(update,)) for update in updates]
    values, floors = in_turn(lambda: _score(scorer, [job]), lambda: _score(scorer, alone), turns=REPEATS)
    return {
        "row": f"scoring {count} updates on a GPU, {kind}, ms",
        "value": round(median(values) * 1e3, 1),
        "floor": round(median(floors) * 1e3, 1),
        "floor_is": "one at a time",
        **paired(values, floors),
        "budget": "<= 0.5",
    }


def _score(scorer: Scorer, jobs: list[ScoreJob]) -> None:
    torch.cuda.synchronize()
    for job in jobs:
        scorer.score(job, never)
    torch.cuda.synchronize()
