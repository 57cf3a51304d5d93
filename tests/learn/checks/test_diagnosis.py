"""When rows can't be learned from, the message blames what is at fault, and says where it is."""

import numpy as np
import pytest
import torch
from torch import nn

from bflcd.errors import OperatorError
from bflcd.learn.checks.diagnosis import try_out, why_it_raised, why_not_finite
from bflcd.learn.checks.magnitude import NotFiniteError, check_update
from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import TrainJob, WorkerError
from bflcd.learn.task import Rows, Task
from bflcd.learn.training import DeviceRows, initial_model, train
from bflcd.params import TensorSpec
from bflcd.types import Round
from bflcd.wire.training import Training
from tests.helpers.learning import task_spec

CPU = torch.device("cpu")

LATE = 417
"""A row that is not among the first that are looked at together."""


class Plain(Task):
    """Four columns, three classes."""

    def build_model(self):
        return nn.Linear(4, 3)

    def load(self, data):
        raise NotImplementedError


class Normed(Plain):
    def build_model(self):
        return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))


class Filling(Plain):
    """Knows what a hole in the data is."""

    def transform(self, inputs):
        return inputs.nan_to_num()


class Logarithmic(Plain):
    def transform(self, inputs):
        return inputs.log()


class Own(Plain):
    """A loss of its own, which knows its three classes."""

    def row_loss(self, outputs, targets):
        return -outputs.log_softmax(dim=1).gather(1, targets[:, None])[:, 0]


class Dividing(Plain):
    """No loss for the class 0."""

    def row_loss(self, outputs, targets):
        return outputs.square().sum(dim=1) / targets


class Runaway(Plain):
    """A loss that overshoots at a high rate, each step farther than the one before."""

    def row_loss(self, outputs, targets):
        return outputs.pow(4).sum(dim=1)


def rows_with(inputs=None, targets=None, count=600):
    made = Rows(np.ones((count, 4), np.float32), np.arange(count) % 3)
    for row, column, value in inputs or ():
        made.inputs[row, column] = value
    for row, value in targets or ():
        made.targets[row] = value
    return made


def model_of(task):
    spec, payload = initial_model(task, 1)
    return FlatModel(task.build_model(), spec, CPU), payload


def refused(task, rows):
    with pytest.raises(OperatorError) as caught:
        try_out(task, model_of(task)[0], rows, "its own")
    assert caught.value.hint
    return caught.value.code, str(caught.value)


def test_good_rows_pass():
    try_out(Plain({}), model_of(Plain({}))[0], rows_with(), "its own")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_cell_that_is_no_number_is_named(value):
    assert refused(Plain({}), rows_with([(LATE, 2, value)])) == (
        "bad_data",
        f"its own rows: the input of row {LATE} in column 2 is {value:g}",
    )


def test_the_place_in_a_picture_is_named():
    class Pictures(Plain):
        def build_model(self):
            return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))

    rows = rows_with([(5, 3, np.nan)])
    assert refused(Pictures({}), Rows(rows.inputs.reshape(-1, 2, 2), rows.targets))[1].endswith("row 5 at (1, 1) is nan")


def test_a_task_may_know_what_a_hole_means():
    try_out(Filling({}), model_of(Filling({}))[0], rows_with([(LATE, 2, np.nan)]), "its own")


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_is_named(label):
    rows = rows_with(targets=[(LATE, label), (599, label)])
    assert refused(Plain({}), rows) == (
        "bad_data",
        f"its own rows: the target of row {LATE} is {label}, and the model tells 3 classes apart, 0 to 2; so it is with 2 of 600 rows",
    )


def test_a_label_that_torch_leaves_out_is_none_of_that():
    try_out(Plain({}), model_of(Plain({}))[0], rows_with(targets=[(LATE, -100)]), "its own")


def test_a_model_that_does_not_fit_its_rows_is_told_before_any_job():
    code, text = refused(Plain({}), Rows(np.ones((9, 5), np.float32), np.zeros(9, np.int64)))
    assert (code, text.startswith("the task can't judge its own rows: RuntimeError: ")) == ("bad_task", True)


def test_what_a_row_raises_is_told_with_the_row():
    """Given a loss of the task's own that fails at one row of its batch, then that row is found."""
    task, rows = Own({}), rows_with(targets=[(LATE, 7)])
    flat, payload = model_of(task)
    device_rows = DeviceRows.of(rows, CPU)
    with pytest.raises(RuntimeError) as raised:
        train(flat, task, task_spec("own", flat.spec), device_rows, TrainJob(Round(0), payload, 1, "mine"))
    told = why_it_raised(task, flat, device_rows, payload, raised.value)
    assert told.startswith(f"row {LATE} of its own, target 7: RuntimeError: index 7 is out of bounds")


def not_finite(task, rows, **fields):
    flat, payload = model_of(task)
    device_rows = DeviceRows.of(rows, CPU)
    with pytest.raises(NotFiniteError) as raised:
        train(flat, task, task_spec("own", flat.spec, **fields), device_rows, TrainJob(Round(0), payload, 1, "mine"))
    found = why_not_finite(task, flat, device_rows, payload, str(raised.value))
    return str(found), found.fault


def test_what_the_transform_spoils_is_not_blamed_on_the_rate():
    told, fault = not_finite(Logarithmic({}), rows_with([(7, 1, -2.0), (9, 0, -1.0)]))
    assert told == (
        "what the task's transform makes of the input of row 7 in column 1 is nan; so it is with 2 of 600 rows; "
        "mend or leave out such rows"
    )
    assert fault is Training.DATA


def test_a_loss_that_no_row_can_have_is_told_with_the_rows_scale():
    told, _ = not_finite(Dividing({}), rows_with([(7, 1, 30.0)], targets=[(7, 0)]))
    assert told.startswith(
        f"the loss of row {0} is not finite before any step, though its input and target are (inputs from 1 to 1, target 0)"
    )
    assert told.endswith("so it is with 201 of 600 rows; mend or leave out such rows")


def test_only_what_diverges_is_called_divergence():
    told, fault = not_finite(Runaway({}), rows_with(), learning_rate=100_000_000)
    assert told.startswith("training diverged: training ended in a tensor ")
    assert "lower learning rate" in told
    assert fault is Training.TASK


def test_a_statistic_beyond_the_limit_is_named_and_not_blamed_on_the_rate():
    """Given clinical units under batch normalisation, then the running variance is named, the limit, and what to do."""
    task = Normed({})
    rows = rows_with()
    rows.inputs[:, 2] = np.linspace(0.0, 5_000.0, len(rows))
    flat, payload = model_of(task)
    with pytest.raises(WorkerError) as raised:
        train(flat, task, task_spec("own", flat.spec), DeviceRows.of(rows, CPU), TrainJob(Round(0), payload, 1, "mine"))
    assert str(raised.value).startswith("the tensor 0.running_")
    assert "at most +-1024; it follows the scale of the inputs: " in str(raised.value)


@pytest.mark.parametrize(
    ("values", "trained", "loss", "error", "fault", "words"),
    [
        ([1.0, 0.0, 1024.0], {"b"}, 0.5, None, None, ""),
        (
            [1.0, 0.0, -1025.0],
            {"b"},
            0.5,
            WorkerError,
            Training.TASK,
            "tensor b changed by up to 1025, .* lower the learning rate",
        ),
        ([1.0, 1025.0, 0.0], {"b"}, 0.5, WorkerError, Training.DATA, "tensor a changed by up to 1025, .* scale of the inputs"),
        ([1.0, 1025.0, np.nan], {"b"}, 0.5, NotFiniteError, Training.WORKER, "tensor a that is not finite"),
        ([1.0, np.inf, 0.0], {"b"}, np.nan, NotFiniteError, Training.WORKER, "tensor a that is not finite"),
    ],
)
def test_the_tensor_that_may_not_travel_is_named(values, trained, loss, error, fault, words):
    spec = (TensorSpec("a", (2,), "F32"), TensorSpec("n", (), "I64"), TensorSpec("b", (1,), "F32"))
    update = np.array(values, dtype=np.float32)
    if error is None:
        check_update(spec, trained, update, loss)
        return
    with pytest.raises(WorkerError, match=words) as raised:
        check_update(spec, trained, update, loss)
    assert (type(raised.value), raised.value.fault) == (error, fault)


def test_a_first_model_beyond_the_limit_is_refused_by_name():
    class Huge(Plain):
        def build_model(self):
            model = nn.Linear(4, 3)
            nn.init.constant_(model.bias, 2_000.0)
            return model

    with pytest.raises(OperatorError, match="the tensor bias begins with 2000") as caught:
        initial_model(Huge({}), 0)
    assert caught.value.code == "bad_model"
