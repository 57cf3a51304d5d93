"""Clipped gradients against single rows one by one, and what reaches the weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from bflcd.errors import OperatorError
from bflcd.learn.checks.privacy import check_private
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.private.descent import PrivateDescent
from bflcd.learn.private.gradients import RowGradients
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.private.noise import Chance
from bflcd.learn.task import Dataset, Rows, Task
from bflcd.learn.training import Descent, DeviceRows, JobCancelledError

CPU = torch.device("cpu")


class Net(Task):
    """Any network on rows of six numbers and three classes; the loss may be another."""

    def __init__(self, net, loss=None):
        super().__init__({})
        self._net, self._loss = net, loss

    def build_model(self):
        torch.manual_seed(1)
        return self._net()

    def load(self, data):
        return Dataset(rows())

    def row_loss(self, outputs, targets):
        return super().row_loss(outputs, targets) if self._loss is None else self._loss(outputs, targets)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.gru(x.view(-1, 3, 2))[0][:, -1])


class Deciding(nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.sum().item() > 0 else super().forward(-x)


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.below, self.out = nn.Linear(6, 6), nn.Linear(6, 3)
        self.below.requires_grad_(False)

    def forward(self, x):
        return self.out(self.below(x))


NETS = {
    "perceptron": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
    "convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)),
    "group norm": lambda: nn.Sequential(nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)),
    "frozen": Frozen,
}


def rows(count=9, seed=0):
    rng = np.random.default_rng(seed)
    return Rows(rng.normal(0, 2, (count, 6)).astype(np.float32), rng.integers(0, 3, count))


def flat(task):
    module = task.build_model()
    return FlatModel(module, tensors_of(module), CPU)


def one_by_one(task, model, data, clip):
    """The sum as its definition has it: each row alone through autograd, cut, added."""
    total = torch.zeros_like(model.weights, dtype=torch.float64)
    for row in range(len(data)):
        model.gradient.zero_()
        outputs = model.module(task.transform(data.inputs[row : row + 1]))
        task.row_loss(outputs, data.targets[row : row + 1]).sum().backward()
        gradient = model.gradient.double()
        total += gradient * min(1.0, clip / max(float(gradient.norm()), 1e-300))
    return total


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("clip", [0.01, 0.7, 1e6])
def test_the_sum_is_that_of_single_rows_each_cut(name, clip):
    task = Net(NETS[name])
    model, data = flat(task), DeviceRows.of(rows(), CPU)
    found, losses = RowGradients(model, task).clipped_sum(data, clip)
    expected = one_by_one(task, model, data, clip)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * min(clip, 1.0))
    with torch.no_grad():
        expected_losses = task.row_loss(model.module(data.inputs), data.targets)
    assert losses == pytest.approx(float(expected_losses.sum()), rel=1e-4)


@given(seed=st.integers(0, 2**32), clip=st.floats(1e-3, 10.0), scale=st.floats(1e-3, 1e6))
def test_no_row_adds_more_than_the_clip_whatever_it_holds(seed, clip, scale):
    task = Net(NETS["perceptron"])
    model, few = flat(task), rows(4, seed)
    data = DeviceRows.of(Rows(few.inputs * np.float32(scale), few.targets), CPU)
    gradients = RowGradients(model, task)
    whole, _ = gradients.clipped_sum(data, clip)
    without, _ = gradients.clipped_sum(data.part(1, 4), clip)
    assert float((whole - without).double().norm()) <= clip * (1 + 1e-4)


def test_a_row_without_a_finite_gradient_adds_nothing():
    task = Net(NETS["perceptron"])
    model, few = flat(task), rows(4)
    few.inputs[2, 1] = np.nan
    data = DeviceRows.of(few, CPU)
    gradients = RowGradients(model, task)
    found, _ = gradients.clipped_sum(data, 0.5)
    kept = DeviceRows(data.inputs[[0, 1, 3]], data.targets[[0, 1, 3]])
    torch.testing.assert_close(found, gradients.clipped_sum(kept, 0.5)[0])


def test_more_rows_than_fit_at_once_give_the_same_sum(monkeypatch):
    task = Net(NETS["perceptron"])
    model, data = flat(task), DeviceRows.of(rows(11), CPU)
    whole, _ = RowGradients(model, task).clipped_sum(data, 0.7)
    monkeypatch.setattr("bflcd.learn.private.gradients._MOST_ROWS", 3)
    torch.testing.assert_close(RowGradients(model, task).clipped_sum(data, 0.7)[0], whole)


def descended(net, mechanism, chance):
    task = Net(NETS[net])
    model = flat(task)
    before = model.weights.clone()
    loss = PrivateDescent(mechanism, chance)(model, task, DeviceRows.of(rows(), CPU), Descent(0.5, 0.0, 4, 1, 0))
    return task, model, before, loss


def test_a_step_is_the_noisy_sum_by_the_rows_of_a_lot():
    """All rows, one step: weights move by rate * (clipped sum + noise * clip * normal) / rows, and noise is what Chance gives."""
    mechanism = Mechanism(noise=1500, clip=0.3, lots=1, steps=1)
    source = np.random.Generator(np.random.PCG64(5))
    task, model, before, _ = descended("perceptron", mechanism, Chance(source.bytes))
    after = model.weights.clone()
    model.weights.copy_(before)
    total = one_by_one(task, model, DeviceRows.of(rows(), CPU), 0.3)
    normal = Chance(np.random.Generator(np.random.PCG64(5)).bytes).gaussian(len(total))
    expected = before.double() - 0.5 * (total + 1.5 * 0.3 * torch.from_numpy(normal)) / 9
    torch.testing.assert_close(after.double(), expected, rtol=1e-4, atol=1e-5)


def test_noise_is_there_even_where_a_lot_draws_no_row():
    never = Chance(lambda count: b"\xff" * count if count == 8 * 9 else np.random.default_rng(1).bytes(count))
    _, model, before, loss = descended("perceptron", Mechanism(1000, 1.0, 3, 3), never)
    assert loss == 0.0
    assert float((model.weights - before).norm()) > 0.1


def test_the_noises_spread_is_clip_times_multiplier_over_the_lot():
    moved = []
    for seed in range(40):
        source = np.random.Generator(np.random.PCG64(seed))
        _, model, before, _ = descended("perceptron", Mechanism(4000, 1e-6, 1, 1), Chance(source.bytes))
        moved.append((model.weights - before).double().numpy())
    values = np.concatenate(moved) / (0.5 * 4.0 * 1e-6 / 9)
    assert values.std() == pytest.approx(1.0, rel=0.05)
    assert len(values) > 2000


def test_what_is_not_trained_gets_no_noise():
    _, model, before, _ = descended("frozen", Mechanism(1000, 1.0, 1, 2), Chance())
    changed = {name for name, view in model.views((model.weights - before).abs()) if view.any()}
    assert changed == {"out.weight", "out.bias"}


def test_a_cancelled_training_ends_before_its_next_step():
    task = Net(NETS["perceptron"])
    down = PrivateDescent(Mechanism(1000, 1.0, 1, 5), Chance())
    with pytest.raises(JobCancelledError):
        down(flat(task), task, DeviceRows.of(rows(), CPU), Descent(0.5, 0.9, 4, 1, 0), cancelled=lambda: True)


def own_loss(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none") + outputs.square().mean(1)


def mixing_loss(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none").mean()


REFUSED = {
    "batch norm": (
        Net(lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))),
        r"1 \(BatchNorm1d\) mixes the rows",
        "GroupNorm",
    ),
    "running statistics": (
        Net(
            lambda: nn.Sequential(
                nn.Unflatten(1, (1, 6)),
                nn.InstanceNorm1d(1, affine=True, track_running_stats=True),
                nn.Flatten(),
                nn.Linear(6, 3),
            )
        ),
        r"1 \(InstanceNorm1d\) keeps statistics",
        "track_running_stats=False",
    ),
    "recurrent": (Net(Recurrent), "no gradient of a single row can be taken", "recurrent"),
    "a decision by values": (Net(lambda: Deciding(6, 3)), "no gradient of a single row can be taken", "item"),
    "a mean for a loss": (Net(NETS["perceptron"], mixing_loss), "row_loss returned", "mend the task"),
    "nothing is trained": (Net(lambda: nn.Linear(6, 3).requires_grad_(False)), "no weight that is trained", "nothing to protect"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_made_noisy_by_row_is_refused_before_the_first_job(name):
    task, message, hint = REFUSED[name]
    with pytest.raises(OperatorError, match=message) as refused:
        check_private(task, flat(task), rows())
    assert refused.value.code == "bad_privacy"
    assert hint in refused.value.hint


@pytest.mark.parametrize("name", NETS)
def test_what_can_is_not(name):
    check_private(Net(NETS[name]), flat(Net(NETS[name])), rows())


def test_a_loss_of_the_tasks_own_is_taken_row_by_row():
    task = Net(NETS["perceptron"], own_loss)
    check_private(task, flat(task), rows())
