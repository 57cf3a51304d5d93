"""Where the fault lies when rows can't be learned from: in the data, the task's code, the model, or the learning rate.

Rows and places are counted from 0, rows among this node's own. What is said names places, values and counts, and stays on this
machine: its operator mends the data by it.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.errors import OperatorError
from bflcd.learn.checks.answers import right_rows, row_losses, transformed
from bflcd.learn.checks.place import said_of
from bflcd.learn.data import bad_data
from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import WorkerError
from bflcd.learn.task import Rows, Task
from bflcd.learn.training import DeviceRows
from bflcd.wire.training import Training

CHUNK: Final = 256
"""Rows looked at together."""

PROBED: Final = 2
"""Rows of the trial before the first job: batch normalisation and losses by row need more than one."""

IGNORED_LABEL: Final = -100
"""torch's cross entropy leaves such a row out."""


def try_out(task: Task, model: FlatModel, rows: Rows, which: str) -> None:
    """Judge a first few rows, and look for rows that nothing can be learned from, before any job.

    `which`: of what rows are spoken. Raises OperatorError: `bad_task` for what the task's code does, `bad_data` for its rows.
    """
    try:
        outputs = _forward(task, model, DeviceRows.of(rows.first(PROBED), model.device))
        _check_labels(task, outputs, rows.targets, which)
        with torch.no_grad():
            few = DeviceRows.of(rows.first(PROBED), model.device)
            row_losses(task, outputs, few.targets)
            right_rows(task, outputs, few.targets)
    except OperatorError:
        raise
    except Exception as error:
        raise OperatorError(
            f"the task can't judge {which} rows: {error if isinstance(error, WorkerError) else said_of(error)}",
            hint="mend the task, or the data that it reads",
            code="bad_task",
        ) from error
    for begin in range(0, len(rows), CHUNK):
        suspects = begin + _not_finite_rows(rows.inputs[begin : begin + CHUNK])
        if suspects.size:
            found = _first_bad(task, model, rows, suspects)
            if found is not None:
                raise bad_data(
                    f"{which} rows: {found}", "mend or leave out such rows, or have the task's load or transform do it"
                )


def why_it_raised(task: Task, model: FlatModel, rows: DeviceRows, base: bytes, error: Exception) -> str:
    """What training from `base` raised, with the first row that raises the like alone, if there is one.

    Only asked on a CPU: a GPU that raised once may raise at everything.
    """
    text = said_of(error)
    model.load(base)
    for number in range(0, len(rows), CHUNK):
        if not _raises(task, model, rows.part(number, number + CHUNK)):
            continue
        for row in range(number, min(number + CHUNK, len(rows))):
            raised = _raises(task, model, rows.part(row, row + 1))
            if raised is not None and type(raised) is type(error):
                return f"row {row} of its own, target {_value(rows.targets[row])}: {said_of(raised)}"
    return text


def why_not_finite(task: Task, model: FlatModel, rows: DeviceRows, base: bytes, told: str) -> WorkerError:
    """Why training from `base` ended in weights that are not finite: by a row that never was, or since it diverged."""
    model.load(base)
    count, first = 0, None
    for begin in range(0, len(rows), CHUNK):
        part = rows.part(begin, begin + CHUNK)
        with torch.no_grad():
            losses = row_losses(task, _forward(task, model, part), part.targets)
        bad = (~losses.isfinite()).nonzero().flatten().tolist()
        count += len(bad)
        if bad and first is None:
            first = begin + int(bad[0])
    if first is None:
        return WorkerError(
            f"training diverged: {told}, while the round's model gives every row a finite loss; "
            "the community needs a lower learning rate in its genesis, or inputs of a smaller scale",
            Training.TASK,
        )
    text = f"{_place(task, rows, first)}; so it is with {count} of {len(rows)} rows; mend or leave out such rows"
    return WorkerError(text, Training.DATA)


def _forward(task: Task, model: FlatModel, rows: DeviceRows) -> Tensor:
    model.module.eval()
    with torch.no_grad():
        outputs: Tensor = model.module(transformed(task, rows.inputs))
    return outputs


def _raises(task: Task, model: FlatModel, rows: DeviceRows) -> Exception | None:
    try:
        row_losses(task, _forward(task, model, rows), rows.targets)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return error
    return None


def _check_labels(task: Task, outputs: object, targets: NDArray[Any], which: str) -> None:
    """Classes have to be those that the outputs tell apart, where the task's loss is the usual cross entropy."""
    usual = type(task).row_loss is Task.row_loss and isinstance(outputs, Tensor) and outputs.dim() == 2 and targets.ndim == 1
    if not usual or not np.issubdtype(targets.dtype, np.integer):
        return
    assert isinstance(outputs, Tensor)
    classes = outputs.shape[1]
    wrong = np.flatnonzero(((targets < 0) | (targets >= classes)) & (targets != IGNORED_LABEL))
    if wrong.size:
        raise bad_data(
            f"{which} rows: the target of row {wrong[0]} is {targets[wrong[0]]}, and the model tells {classes} classes apart, "
            f"0 to {classes - 1}; so it is with {wrong.size} of {len(targets)} rows",
            "number the classes from 0, or give the model as many outputs as there are classes",
        )


def _not_finite_rows(inputs: NDArray[Any]) -> NDArray[np.int64]:
    if inputs.dtype.kind != "f":
        return np.zeros(0, dtype=np.int64)
    finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
    return np.flatnonzero(~finite)


def _first_bad(task: Task, model: FlatModel, rows: Rows, suspects: NDArray[np.int64]) -> str | None:
    """The first of these rows whose loss is not finite: a task may well know what to do with NaN in its inputs."""
    part = DeviceRows.of(Rows(rows.inputs[suspects], rows.targets[suspects]), model.device)
    with torch.no_grad():
        losses = row_losses(task, _forward(task, model, part), part.targets)
    bad = (~losses.isfinite()).nonzero().flatten().tolist()
    if not bad:
        return None
    return _place(task, part, int(bad[0]), number=int(suspects[bad[0]]))


def _place(task: Task, rows: DeviceRows, row: int, number: int | None = None) -> str:
    """Where a row without a finite loss goes wrong; `number`: what the row is called."""
    called = row if number is None else number
    inputs = rows.inputs[row]
    steps: tuple[tuple[str, Callable[[], Tensor]], ...] = (
        ("the input", lambda: inputs),
        ("what the task's transform makes of the input", lambda: transformed(task, rows.part(row, row + 1).inputs)[0]),
        ("the target", lambda: rows.targets[row]),
    )
    for what, give in steps:
        values = give()
        found = _first_not_finite(values)
        if found is not None:
            where, value = found
            return f"{what} of row {called}{where} is {value:g}"
    return (
        f"the loss of row {called} is not finite before any step, though its input and target are "
        f"(inputs from {float(inputs.min()):g} to {float(inputs.max()):g}, target {_value(rows.targets[row])}): "
        "the model or the task's row_loss can't take them"
    )


def _first_not_finite(values: Tensor) -> tuple[str, float] | None:
    if not values.is_floating_point():
        return None
    bad = (~values.isfinite()).nonzero()
    if not len(bad):
        return None
    place = [int(index) for index in bad[0].tolist()]
    where = "" if not place else f" in column {place[0]}" if len(place) == 1 else f" at {tuple(place)}"
    value = float(values[tuple(place)])
    assert not isfinite(value)
    return where, value


def _value(target: Tensor) -> str:
    """A target in few words."""
    return f"{target.item():g}" if target.numel() == 1 else f"of shape {list(target.shape)}"
