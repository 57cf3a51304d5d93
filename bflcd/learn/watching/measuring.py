"""Counting what a model gets wrong, by class: on the worker's side, with torch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.learn.checks.answers import right_rows, transformed
from bflcd.learn.flat import FlatModel
from bflcd.learn.task import Task
from bflcd.learn.training import Cancelled, DeviceRows, JobCancelledError
from bflcd.learn.watching.errors import MOST_ROWS, ClassErrors

_ROWS_AT_ONCE = 64
"""Of one forward pass: a look that takes too long is given up between two."""

NOTHING = -1
"""What a row is called where outputs name no class."""


def draw_sample(rows: DeviceRows, most: int, seed: int) -> DeviceRows:
    """At most `most` rows, and at most MOST_ROWS, in ascending order: the same for the same rows, number and seed."""
    count = min(most, MOST_ROWS)
    if count >= len(rows):
        return rows
    drawn = np.sort(np.random.Generator(np.random.PCG64(seed)).choice(len(rows), size=count, replace=False))
    index = torch.from_numpy(drawn).to(rows.targets.device)
    return DeviceRows(rows.inputs[index], rows.targets[index])


def look(model: FlatModel, task: Task, rows: DeviceRows, cancelled: Cancelled) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether `model` is right on each row, and what class it calls each, NOTHING where the task has no classes; both [rows].

    Raises JobCancelledError, TaskError, or what the task's code raises.
    """
    model.module.eval()
    right, called = [], []
    with torch.inference_mode():
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            if cancelled():
                raise JobCancelledError
            part = rows.part(begin, begin + _ROWS_AT_ONCE)
            outputs = model.module(transformed(task, part.inputs))
            right.append(right_rows(task, outputs, part.targets).cpu().numpy())
            called.append(_called(task, outputs, len(part)))
    return np.concatenate([np.zeros(0, np.bool_), *right]), np.concatenate([np.zeros(0, np.int64), *called])


def _called(task: Task, outputs: object, rows: int) -> NDArray[np.int64]:
    if task.classifies and isinstance(outputs, Tensor) and outputs.dim() == 2:
        return outputs.argmax(dim=1).cpu().numpy()
    return np.full(rows, NOTHING, dtype=np.int64)


def count_errors(targets: Tensor, right: NDArray[np.bool_], called: NDArray[np.int64]) -> ClassErrors:
    """What was looked at, by class of `targets` [rows]; numbers below 0 mark rows that a loss ignores: then all are one class."""
    whole = not targets.dtype.is_floating_point and targets.dim() == 1
    classes = targets.cpu().numpy() if whole else np.zeros(len(targets), np.int64)
    if len(classes) and classes.min() < 0:
        classes, called = np.zeros(len(targets), np.int64), np.full(len(targets), NOTHING, np.int64)
    labels, of, rows = np.unique(classes, return_inverse=True, return_counts=True)
    wrong = ~right
    missed = np.bincount(of[wrong], minlength=len(labels))
    held = np.isin(called, labels)
    taken = np.bincount(np.searchsorted(labels, called[wrong & held]), minlength=len(labels))
    strayed = int((wrong & ~held & (called != NOTHING)).sum())
    counts = [tuple(int(number) for number in part) for part in (labels, rows, missed, taken)]
    return ClassErrors(counts[0], counts[1], counts[2], counts[3], strayed)
