"""What a task's own code gives back: whatever is wrong with it is an error that says what came and what is expected."""

import numpy as np
import pytest
import torch
from torch import nn

from bflcd.errors import OperatorError
from bflcd.learn.checks.answers import TaskError, built_model, loaded, pinned, rate_of, right_rows, row_losses, transformed
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import TrainJob, WorkerError
from bflcd.learn.scoring import measure
from bflcd.learn.task import Dataset, Rows
from bflcd.learn.training import DeviceRows, initial_model, never, train
from bflcd.types import Round
from bflcd.wire.training import Training
from tests.helpers.learning import task_spec
from tests.helpers.worker_tasks import LineTask

OUTPUTS, TARGETS = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
POINTS, LABELS = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)


def task(**methods):
    """A LineTask with some methods replaced by functions of no self."""
    return type("Odd", (LineTask,), {name: staticmethod(method) for name, method in methods.items()})({})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (torch.tensor(0.5), r"a tensor float32 \[\]"),
        (torch.zeros(3, 2), r"a tensor float32 \[3, 2\]"),
        (torch.zeros(2), r"a tensor float32 \[2\]"),
        (TARGETS, r"a tensor int64 \[3\]"),
        (np.zeros(3), r"an array float64 \[3\]"),
        (0.5, "the number 0.5"),
        (None, "an object of type NoneType"),
    ],
)
def test_losses_are_floats_one_a_row(found, said):
    with pytest.raises(TaskError, match=rf"the task's row_loss returned {said}; expected floats \[3\], one loss a row"):
        row_losses(task(row_loss=lambda outputs, targets: found), OUTPUTS, TARGETS)


@pytest.mark.parametrize("found", [torch.ones(3, 5, dtype=torch.bool), torch.ones(3), torch.tensor([2, 7, 9]), 1, [True] * 3])
def test_rightness_is_a_truth_value_a_row(found):
    """Given a `correct` by token, or one that counts beyond 1, then the author is told; no accuracy above 1 comes of it."""
    with pytest.raises(TaskError, match=r"the task's correct returned .*; expected bool \[3\]"):
        right_rows(task(correct=lambda outputs, targets: found), OUTPUTS, TARGETS)


@pytest.mark.parametrize("found", [float("nan"), float("inf"), -0.1, True, "0.1", None])
def test_a_rate_is_a_finite_number(found):
    with pytest.raises(TaskError, match=r"learning_rate returned .*; expected a finite number from 0 on"):
        rate_of(task(learning_rate=lambda spec, round_: found), None, 0)


def test_a_batch_stays_a_tensor():
    with pytest.raises(TaskError, match="transform returned an object of type list") as caught:
        transformed(task(transform=lambda inputs: [1]), OUTPUTS)
    assert caught.value.fault is Training.TASK  # what its peers are told


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: built_model(task(build_model=lambda: (nn.Linear(2, 2), 1))), "build_model returned an object of type tuple"),
        (lambda: pinned(task(pin=lambda data: {"a": 1}), None), "pin returned an object of type dict; expected"),
        (lambda: loaded(task(load=lambda data: (POINTS, LABELS)), DataConfig()), "load returned an object of type tuple"),
        (lambda: loaded(task(load=lambda data: Dataset((POINTS, LABELS))), DataConfig()), r"load \(own\) returned"),
        (
            lambda: loaded(task(load=lambda data: Dataset(Rows(torch.zeros(4, 2), LABELS))), DataConfig()),
            r"load \(own.inputs\) returned a tensor float32 \[4, 2\]",
        ),
        (
            lambda: loaded(
                task(load=lambda data: Dataset(Rows(POINTS, LABELS), Rows(POINTS, LABELS.astype(object)))), DataConfig()
            ),
            r"load \(test.targets\) returned an array object \[4\]",
        ),
        (lambda: loaded(task(load=lambda data: Dataset(Rows(POINTS, LABELS.astype(">i8")))), DataConfig()), "own.targets"),
    ],
)
def test_what_is_given_before_the_first_job_is_checked_too(check, words):
    with pytest.raises(OperatorError, match=words) as caught:
        check()
    assert (caught.value.code, caught.value.hint) == ("bad_task", "mend the task")


def test_a_node_without_rows_is_told():
    with pytest.raises(OperatorError, match="part 0 of 1 holds no row"):
        loaded(task(load=lambda data: Dataset(Rows(POINTS[:0], LABELS[:0]))), DataConfig())


def test_training_and_measuring_take_no_other_answers():
    odd = task(row_loss=lambda outputs, targets: outputs.mean(), correct=lambda outputs, targets: outputs > 0)
    spec, model = initial_model(odd, 1)
    flat, rows = (
        FlatModel(odd.build_model(), spec, torch.device("cpu")),
        DeviceRows.of(odd.load(DataConfig()).own, torch.device("cpu")),
    )
    with pytest.raises(TaskError, match="row_loss"):
        train(flat, odd, task_spec("odd", spec), rows, TrainJob(Round(0), model, 1, "mine"))
    with pytest.raises(TaskError, match="row_loss"):
        measure(flat, odd, rows, never)
    cut = task(row_loss=lambda outputs, targets: outputs.detach().sum(dim=1))
    with pytest.raises(WorkerError, match="without a gradient"):
        train(flat, cut, task_spec("odd", spec), rows, TrainJob(Round(0), model, 1, "mine"))


def test_rows_in_any_order_of_memory_are_taken():
    """Given arrays that are read backwards, which torch knows nothing of, then they are copied."""
    rows = DeviceRows.of(Rows(POINTS[::-1], np.arange(4)[::-1]), torch.device("cpu"))
    assert rows.targets.tolist() == [3, 2, 1, 0]
