"""What a task's own code gives back, checked where it is used: its author is told what came and what is expected."""

import math
from typing import Any, Final

import numpy as np
from torch import Tensor, nn

from bflcd.errors import OperatorError
from bflcd.learn.data import DataConfig
from bflcd.learn.protocol import WorkerError
from bflcd.learn.task import Dataset, Rows, Task
from bflcd.params import TaskSpec
from bflcd.wire.training import Training

_ARRAY_KINDS: Final = "biuf"
"""Kinds of numpy's types that rows may be of: truth values, whole numbers, floats."""


class TaskError(WorkerError):
    """A task's method gave back what can't be used."""

    def __init__(self, method: str, found: object, expected: str) -> None:
        super().__init__(f"the task's {method} returned {said(found)}; expected {expected}", Training.TASK)


def said(found: object) -> str:
    """What something is, in few words and without its contents."""
    if isinstance(found, Tensor):
        return f"a tensor {str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
    if isinstance(found, np.ndarray):
        return f"an array {found.dtype} {list(found.shape)}"
    return f"the number {found!r}" if isinstance(found, (int, float)) else f"an object of type {type(found).__name__}"


def transformed(task: Task, inputs: Tensor) -> Tensor:
    """A batch as the model takes it. Raises TaskError."""
    found: object = task.transform(inputs)
    if not isinstance(found, Tensor):
        raise TaskError("transform", found, "a tensor, the batch as the model takes it")
    return found


def row_losses(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each row, floats [rows]. Raises TaskError."""
    found: object = task.row_loss(outputs, targets)
    rows = len(targets)
    if not isinstance(found, Tensor) or tuple(found.shape) != (rows,) or not found.is_floating_point():
        raise TaskError(
            "row_loss", found, f"floats [{rows}], one loss a row (reduction='none', then the mean over all but the rows)"
        )
    return found


def right_rows(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether each row is right, bool [rows]. Raises TaskError."""
    found: object = task.correct(outputs, targets)
    rows = len(targets)
    if not isinstance(found, Tensor) or tuple(found.shape) != (rows,) or str(found.dtype) != "torch.bool":
        raise TaskError("correct", found, f"bool [{rows}], one truth value a row")
    return found


def rate_of(task: Task, spec: TaskSpec, round_: int) -> float:
    """The learning rate of a round. Raises TaskError."""
    found: object = task.learning_rate(spec, round_)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found) or found < 0:
        raise TaskError("learning_rate", found, "a finite number from 0 on")
    return float(found)


def built_model(task: Task) -> nn.Module:
    """A new model. Raises OperatorError (`bad_task`)."""
    found: object = task.build_model()
    if not isinstance(found, nn.Module):
        raise bad_task("build_model", found, "a torch.nn.Module")
    return found


def loaded(task: Task, data: DataConfig) -> Dataset:
    """This node's data, with at least one row of its own. Raises OperatorError (`bad_task`, `bad_data`, `missing_data`)."""
    found: object = task.load(data)
    if not isinstance(found, Dataset):
        raise bad_task("load", found, "a bflcd.learn.task.Dataset")
    _check_rows("own", found.own)
    if found.test is not None:
        _check_rows("test", found.test)
    if len(found.own) == 0:
        raise OperatorError(
            f"part {data.index} of {data.count} holds no row", hint="deal the data into fewer parts", code="bad_data"
        )
    return found


def pinned(task: Task, data: DataConfig | None) -> dict[str, str]:
    """The options for the genesis. Raises OperatorError (`bad_task`)."""
    found: Any = task.pin(data)
    if not isinstance(found, dict) or not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise bad_task("pin", found, "a dict of option names and their values, all of them texts")
    return found


def bad_task(method: str, found: object, expected: str) -> OperatorError:
    """The error for a task whose method gives back something else before the first job."""
    return OperatorError(
        f"the task's {method} returned {said(found)}; expected {expected}", hint="mend the task", code="bad_task"
    )


def _check_rows(which: str, rows: object) -> None:
    if not isinstance(rows, Rows):
        raise bad_task(f"load ({which})", rows, "bflcd.learn.task.Rows")
    for name, array in (("inputs", rows.inputs), ("targets", rows.targets)):
        found: object = array
        usable = isinstance(found, np.ndarray) and found.ndim > 0 and found.dtype.kind in _ARRAY_KINDS and found.dtype.isnative
        if not usable:
            raise bad_task(
                f"load ({which}.{name})", found, "a numpy array of numbers in this machine's byte order, one entry a row"
            )
