"""One step of all that a task is for, before a genesis fixes it: what fails here would fail on every machine that has joined."""

from typing import Final

import torch

from bflcd.errors import OperatorError
from bflcd.learn.checks.answers import built_model, loaded
from bflcd.learn.checks.diagnosis import try_out, why_it_raised, why_not_finite
from bflcd.learn.checks.magnitude import NotFiniteError
from bflcd.learn.checks.place import said_of
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import ScoreJob, TrainJob, UpdateToScore, WorkerError
from bflcd.learn.scoring import Scorer, evaluate
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows, never, train
from bflcd.params import TaskSpec
from bflcd.types import HASH_BYTES, Digest, Round

TRIAL_ROWS: Final = 8
"""Rows of the step: batch normalisation needs more than one, and a large model's should take no minute."""

_LABEL: Final = "trial"
_KEY: Final = Digest(bytes(HASH_BYTES))


def try_step(task: Task, spec: TaskSpec, model: bytes, data: DataConfig | None) -> str:
    """Train a step on the first rows, judge and test what came of it; why nothing was tried, where there are no data here.

    Raises OperatorError, `bad_task` or what loading the data raises, with the line of the task's own code that is at fault.
    """
    try:
        found = loaded(task, DataConfig() if data is None else data)
    except Exception as error:
        if data is not None:
            raise
        return str(error) if isinstance(error, OperatorError) else said_of(error)  # whoever composes need not hold data
    flat = FlatModel(built_model(task), spec.tensors, torch.device("cpu"))
    try_out(task, flat, found.own, "its own")
    rows = DeviceRows.of(found.own.first(TRIAL_ROWS), flat.device)
    try:
        _step(task, spec, rows, flat, model)
        if found.test is not None:
            evaluate(flat, task, DeviceRows.of(found.test.first(TRIAL_ROWS), flat.device), model, never)
    except NotFiniteError as error:
        raise _failed(str(why_not_finite(task, flat, rows, model, str(error)))) from error
    except WorkerError as error:
        raise _failed(str(error)) from error
    except Exception as error:
        raise _failed(why_it_raised(task, flat, rows, model, error)) from error
    return ""


def _step(task: Task, spec: TaskSpec, rows: DeviceRows, flat: FlatModel, model: bytes) -> None:
    round_ = Round(1)
    update = train(flat, task, spec, rows, TrainJob(round_, model, 0, _LABEL), cancelled=never).update
    job = ScoreJob(round_, model, (UpdateToScore(_KEY, update, _LABEL),), 0, len(rows), 1)
    Scorer(flat, task, rows).score(job, never)


def _failed(text: str) -> OperatorError:
    return OperatorError(f"the task failed in its first step: {text}", hint="mend the task, or its data", code="bad_task")
