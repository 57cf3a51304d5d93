"""A task of one's own is tried before a genesis fixes it: what fails there names the line of its author's code."""

import numpy as np
import pytest
from torch import nn

from bflcd.errors import OperatorError
from bflcd.learn.checks.place import said_of
from bflcd.learn.checks.trial import TRIAL_ROWS, try_step
from bflcd.learn.data import DataConfig, missing_data
from bflcd.learn.task import Dataset, Rows, Task
from bflcd.learn.training import initial_model
from tests.helpers.learning import task_spec

DATA = DataConfig("anywhere")


class Good(Task):
    """Four columns, three classes."""

    seen = 0

    def build_model(self):
        return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))

    def load(self, data):
        if data.path is None:
            raise missing_data("it needs a table", "give --data FILE")
        rows = Rows(np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 3)
        return Dataset(rows, rows)

    def transform(self, inputs):
        self.seen = max(self.seen, len(inputs))
        return inputs


class RaisesInTraining(Good):
    def row_loss(self, outputs, targets):
        if outputs.requires_grad:
            raise ZeroDivisionError("no weight for class 2")
        return super().row_loss(outputs, targets)


class MeanLoss(Good):
    def row_loss(self, outputs, targets):
        return super().row_loss(outputs, targets).mean()


class Detached(Good):
    def row_loss(self, outputs, targets):
        return super().row_loss(outputs, targets).detach()


class ManyTokens(Good):
    def correct(self, outputs, targets):
        return outputs > 0


class Diverges(Good):
    def learning_rate(self, spec, round_):
        return 1e38


class NoLoad(Good):
    def load(self, data):
        return np.loadtxt(data.path)


def tried(task, data=DATA):
    tensors, model = initial_model(task, 1)
    return try_step(task, task_spec("own", tensors), model, data)


def test_a_task_that_works_is_tried_on_a_few_rows():
    task = Good({})
    assert tried(task) == ""
    assert 1 < task.seen <= TRIAL_ROWS


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            RaisesInTraining,
            ["ZeroDivisionError: no weight for class 2", "test_trial.py line", "in row_loss: raise ZeroDivisionError"],
        ),
        (MeanLoss, ["row_loss returned a tensor float32 []; expected floats [2]"]),
        (Detached, ["losses without a gradient"]),
        (ManyTokens, ["correct returned a tensor bool [2, 3]"]),
        (Diverges, ["training diverges", "lower the learning rate"]),
    ],
)
def test_what_would_fail_on_every_machine_is_refused(task, words):
    with pytest.raises(OperatorError) as caught:
        tried(task({}))
    assert (caught.value.code, bool(caught.value.hint)) == ("bad_task", True)
    assert [word for word in words if word not in str(caught.value)] == []


def test_data_that_can_not_be_loaded_are_refused_if_they_were_given():
    """Given a composer that holds no data, Then it is told why nothing was tried; whoever names data means them."""
    assert tried(Good({}), None) == "it needs a table"
    assert tried(NoLoad({}), None).startswith("ValueError: ")
    with pytest.raises(FileNotFoundError):
        tried(NoLoad({}))


def test_the_line_is_the_last_of_the_tasks_own_code():
    """Given an error that torch raises at the call of a task, Then the task's line is named, and not torch's."""
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(4, 3)(nn.Linear(3, 2).weight)
    said = said_of(caught.value)
    assert said.startswith("RuntimeError: ")
    assert "test_trial.py line" in said
    assert "in test_the_line_is_the_last_of_the_tasks_own_code: nn.Linear(4, 3)" in said
    assert said_of(ValueError("raised nowhere")) == "ValueError: raised nowhere"
