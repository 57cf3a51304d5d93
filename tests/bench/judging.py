"""What the judgement's rules cost a judge: a job as the defaults ask for it beside the same updates' paired gains alone."""

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any, Final

import numpy as np
import torch

from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import ScoreJob, UpdateToScore
from bflcd.learn.scoring import Scorer
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, initial_model, never
from bflcd.params import Params
from bflcd.types import Digest, Round
from bflcd.wire.tensors import join_payload, split_payload
from tests.bench.turns import paired

ROWS: Final = 256
CLASSES: Final = 10
NETWORKS: Final = (("digits", {}, (64,)), ("femnist", {"model": "light", "classes": str(CLASSES)}, (28, 28)))
"""Tasks, their options, and the shape of one row: what costs depends on shapes, so rows are drawn at random."""

UPDATES: Final = (6, 24)
TURNS: Final = 9


def run() -> Iterator[dict[str, Any]]:
    """A row for each network and number of updates: CPU milliseconds of both, in turn, with a fresh scorer each."""
    torch.set_num_threads(1)
    for name, options, shape in NETWORKS:
        for updates in UPDATES:
            yield _row(name, options, shape, updates)


def _row(name: str, options: dict[str, str], shape: tuple[int, ...], updates: int) -> dict[str, Any]:
    task = find_task(name, options)
    tensors, base = initial_model(task, 0)
    drawn = np.random.default_rng(0)
    pixels = torch.from_numpy(drawn.integers(0, 256, (ROWS, *shape), dtype=np.uint8))
    rows = DeviceRows(pixels if len(shape) > 1 else pixels.float() / 256, torch.from_numpy(drawn.integers(0, CLASSES, ROWS)))
    model = FlatModel(task.build_model(), tensors, torch.device("cpu"))
    counters, floats = split_payload(base, tensors, label=None)

    def moved(label: str | None) -> bytes:
        step = drawn.normal(0, 0.01, floats.size).astype(np.float32)
        return join_payload(counters, step if label else floats + step, tensors, label=label)

    candidates = tuple(UpdateToScore(Digest(bytes([n]) * 32), moved("u"), "u") for n in range(updates))
    params = Params()
    plain = ScoreJob(Round(1), base, candidates, 0, ROWS, params.score_damping)
    whole = replace(
        plain, alike=params.copy_likeness, before=moved(None), fresh=params.fresh_gains, balanced=params.balanced_gains
    )
    values, floors = [], []
    for turn in range(TURNS + 1):
        for found, job in ((values, whole), (floors, plain)):
            begun = time.process_time()
            Scorer(model, task, rows).score(job, never)
            if turn:
                found.append((time.process_time() - begun) * 1e3)
    return {
        "row": f"judging {updates} updates of {name} on {ROWS} rows, ms (CPU)",
        "value": round(median(values), 1),
        "floor": round(median(floors), 1),
        "floor_is": "their paired gains alone",
        **paired(values, floors),
        "budget": "<= 1.1",
    }
