"""Devices trained a second on a GPU: the laboratory's stacks beside a plain loop over devices there, same network and precision."""

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from bflcd.lab.engine.base import Pace, Precision, Trainee
from bflcd.lab.engine.stacked import StackedEngine
from bflcd.learn.task import Rows, Task, find_task
from bflcd.learn.training import DeviceRows
from tests.bench.turns import in_turn, paired

STACK, ROWS, BATCH, LOOPED, CLASSES = 128, 128, 32, 16, 62
REPEATS = 3


def rows() -> list[dict[str, Any]]:
    """A row for each network and precision."""
    return [_row(kind, precision) for kind in ("light", "cnn", "alexnet") for precision in ("float32", "bf16")]


def _row(kind: str, precision: Precision) -> dict[str, Any]:
    task = find_task("femnist", {"classes": str(CLASSES), "model": kind})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STACK * ROWS, 28, 28), dtype=np.uint8)
    pool = DeviceRows.of(Rows(images, rng.integers(0, CLASSES, len(images)).astype(np.int64)), torch.device("cuda"))
    engine = StackedEngine(task, pool, precision=precision, stack=STACK)
    trainees = [Trainee(np.arange(i * ROWS, (i + 1) * ROWS), i) for i in range(STACK)]
    model = torch.randn(engine.weights, device="cuda") * 0.01
    ours, loop = in_turn(
        lambda: _finished(lambda: engine.train(model, trainees, Pace(0.01, 0.9, BATCH, 1))),
        lambda: _finished(lambda: _loop(task, pool, precision)),
        turns=REPEATS,
    )
    speeds, floors = [STACK / seconds for seconds in ours], [LOOPED / seconds for seconds in loop]
    return {
        "row": f"laboratory on a GPU, {kind} in {precision}, devices/s",
        "value": round(median(speeds)),
        "floor": round(median(floors)),
        "floor_is": "a plain loop",
        **paired(speeds, floors),
        "budget": ">= 3",
    }


def _loop(task: Task, pool: DeviceRows, precision: Precision) -> None:
    """Device after device, step after step."""
    for device in range(LOOPED):
        model = task.build_model().cuda()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        for begin in range(device * ROWS, (device + 1) * ROWS, BATCH):
            chosen = torch.arange(begin, begin + BATCH, device="cuda")
            optimiser.zero_grad()
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
                outputs = model(task.transform(pool.inputs[chosen]))
            task.row_loss(outputs.float(), pool.targets[chosen]).mean().backward()
            optimiser.step()


def _finished(work: Callable[[], object]) -> None:
    torch.cuda.synchronize()
    work()
    torch.cuda.synchronize()
