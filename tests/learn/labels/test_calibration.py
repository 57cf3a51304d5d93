"""Training calibrated to a device's own labels: how common classes are is not learned from one device."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.labels.calibration import HALVING, Calibration, log_shares, strength
from bflcd.learn.private.descent import PrivateDescent
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.private.noise import Chance
from bflcd.learn.protocol import TrainJob
from bflcd.learn.scoring import measure
from bflcd.learn.task import find_task
from bflcd.learn.tasks.digits import DigitsTask
from bflcd.learn.training import Descent, DeviceRows, initial_model, never, train
from bflcd.params import MILLION
from bflcd.types import PartsPerMillion, Round
from bflcd.wire.tensors import split_payload
from tests.helpers.learning import task_spec

CPU = torch.device("cpu")


class Bare(DigitsTask):
    LOGITS = False


class Own(DigitsTask):
    def row_loss(self, outputs, targets):
        return super().row_loss(outputs, targets)


class OwnLogits(Own):
    LOGITS = True


@pytest.mark.parametrize(
    ("set_", "known", "round_", "expected"),
    [
        (MILLION, 0, 0, 1.0),
        (MILLION, 500_000, 0, 0.75),
        (MILLION, MILLION, 0, 0.0),
        (400_000, 500_000, 0, 0.3),
        (0, 0, 0, 0.0),
        (MILLION, 0, HALVING, 0.5),
        (MILLION, 0, HALVING // 2, 2 / 3),
        (MILLION, 500_000, 3 * HALVING, 0.075),
    ],
)
def test_it_fades_with_the_square_of_what_the_model_knows_and_with_its_age(set_, known, round_, expected):
    spec = task_spec("digits", (), calibration=set_)
    assert strength(spec, PartsPerMillion(known), round_) == pytest.approx(expected)


@given(st.integers(0, MILLION), st.integers(0, MILLION), st.integers(0, 10_000))
def test_it_never_grows_with_age_and_is_never_more_than_what_the_genesis_says(set_, known, round_):
    spec = task_spec("digits", (), calibration=set_)
    now, later = (strength(spec, PartsPerMillion(known), when) for when in (round_, round_ + 1))
    assert 0 <= later <= now <= set_ / MILLION
    assert later < now or not now, "and always fades"


def test_shares_count_half_of_a_row_more_of_every_class():
    found = log_shares(torch.tensor([0, 2, 3, 0, 2, 3]), 4)
    torch.testing.assert_close(found, torch.log(torch.tensor([2.5, 0.5, 2.5, 2.5]) / 8))


@pytest.mark.parametrize(("labels", "enough"), [([3] * 9, 0.0), ([0, 1], 0.5), ([0] * 4 + [1] * 4, 0.5), ([0, 1, 2, 3], 1.0)])
def test_a_device_of_one_class_is_not_calibrated_and_one_of_two_by_half(labels, enough):
    """Of one class alone there is nothing to tell apart: calibrated, its device would learn nothing, and nobody its class."""
    targets = torch.tensor(labels)
    counts = torch.bincount(targets, minlength=5) + 0.5
    torch.testing.assert_close(log_shares(targets, 5), enough * torch.log(counts / counts.sum()))


@given(st.lists(st.integers(0, 6), max_size=60).map(lambda more: [1, 3, 5] * (1 + len(more) // 3) + more))
def test_who_knows_nothing_learns_nothing_of_how_common_classes_are(labels):
    """Given a network whose logits are all the same, then at full strength no class's logit is pulled by all rows together
    further than half of a row's worth; without, by as many rows as it has more or fewer than the even share."""
    targets = torch.tensor(labels)
    pulls = []
    for by in (1.0, 0.0):
        logits = torch.zeros(len(labels), 7, requires_grad=True)
        outputs = Calibration(find_task("digits", {}), [targets], by).of_one(logits)
        torch.nn.functional.cross_entropy(outputs, targets, reduction="sum").backward()
        assert logits.grad is not None
        pulls.append(logits.grad.sum(0))
    counts = torch.bincount(targets, minlength=7)
    assert pulls[0].abs().max() <= 3.5
    torch.testing.assert_close(pulls[1], len(labels) / 7 - counts.float(), atol=1e-4, rtol=1e-4)


def test_devices_of_a_stack_are_calibrated_each_to_its_own_labels():
    task, own = find_task("digits", {}), [torch.tensor([0, 0, 1]), torch.tensor([2])]
    outputs = torch.arange(24.0).view(2, 4, 3)
    together = Calibration(task, own, 0.5).of_many(outputs)
    alone = [Calibration(task, [targets], 0.5).of_one(part) for targets, part in zip(own, outputs, strict=True)]
    assert torch.equal(together, torch.stack(alone))
    one = Calibration(task, own, 0.5)
    assert torch.equal(one.of_many(outputs)[:1], one.of_many(outputs[:1])), "as devices end, the first ones go on"
    assert together.dtype == outputs.dtype


@pytest.mark.parametrize(
    ("task", "targets", "outputs", "by"),
    [
        (DigitsTask({}), torch.tensor([0, 1]), torch.ones(2, 3), 0.0),
        (DigitsTask({}), torch.tensor([0, -100]), torch.ones(2, 3), 1.0),
        (DigitsTask({}), torch.tensor([0, 3]), torch.ones(2, 3), 1.0),
        (DigitsTask({}), torch.tensor([0, 40_000_000_000]), torch.ones(2, 1), 1.0),
        (DigitsTask({}), torch.zeros(0, dtype=torch.int64), torch.ones(2, 3), 1.0),
        (Own({}), torch.tensor([0, 1]), torch.ones(2, 3), 1.0),
        (DigitsTask({}), torch.tensor([0.0, 1.0]), torch.ones(2, 3), 1.0),
        (DigitsTask({}), torch.tensor([[0], [1]]), torch.ones(2, 3), 1.0),
        (DigitsTask({}), torch.tensor([True, False]), torch.ones(2, 3), 1.0),
        (DigitsTask({}), torch.tensor([0, 1]), torch.ones(2), 1.0),
        (DigitsTask({}), torch.tensor([0, 1]), torch.ones(2, 3, 4), 1.0),
        (DigitsTask({}), torch.tensor([0, 1]), torch.ones(2, 3, dtype=torch.int64), 1.0),
        (Bare({}), torch.tensor([0, 1]), torch.ones(2, 3), 1.0),
    ],
)
def test_what_has_no_logits_by_class_is_left_alone(task, targets, outputs, by):
    assert torch.equal(Calibration(task, [targets], by).of_one(outputs), outputs)


@pytest.mark.parametrize(("task", "classifies"), [(DigitsTask, True), (Bare, False), (Own, False), (OwnLogits, True)])
def test_whoever_has_a_loss_of_its_own_says_whether_its_outputs_are_logits(task, classifies):
    assert task({}).classifies is classifies
    found = Calibration(task({}), [torch.arange(3)], 1.0).of_one(torch.ones(2, 3))
    assert torch.equal(found, torch.ones(2, 3)) is not classifies


@pytest.mark.parametrize("by", [0.0, 1.0])
@pytest.mark.parametrize("outputs", [(torch.ones(2, 3), torch.ones(2)), {"logits": torch.ones(2, 3)}], ids=["tuple", "dict"])
def test_what_is_no_tensor_goes_to_the_loss_as_it_is(outputs, by):
    assert Calibration(DigitsTask({}), [torch.tensor([0, 1])], by).of_one(outputs) is outputs


# -- what it does to updates --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves():
    """The digits' task, its model, and rows below 5 and from 5 on, each with one in ten of the others."""
    task = find_task("digits", {})
    tensors, model = initial_model(task, 1)
    own = DeviceRows.of(task.load(DataConfig(index=0, count=4)).own, CPU)
    low = own.targets < 5
    few = torch.arange(len(own)) % 10 == 0
    parts = [DeviceRows(own.inputs[which | few], own.targets[which | few]) for which in (low, ~low)]
    return task, tensors, FlatModel(task.build_model(), tensors, CPU), model, parts


def update_of(halves, calibration, known=0):
    task, tensors, flat, model, (own, _) = halves
    spec = task_spec("digits", tensors, calibration=calibration)
    return train(flat, task, spec, own, TrainJob(Round(0), model, 1, "u", known=PartsPerMillion(known)))


def gained(halves, update, rows):
    """What a judge's rows gain on average by a fourth of an update."""
    task, tensors, flat, model, _ = halves
    flat.load(model)
    before = measure(flat, task, rows, never).losses
    flat.weights.add_(torch.from_numpy(split_payload(update, tensors, label="u")[1].copy()), alpha=0.25)
    return float((before - measure(flat, task, rows, never).losses).mean())


def test_a_first_update_harms_those_with_other_classes_less(halves):
    """Given a device of the digits below 5, when it trains a model that knows nothing, then judges of the others lose by it; half as
    much at most if it is calibrated, and those of the same digits gain all the same."""
    same, other = halves[4]
    plain, calibrated = (update_of(halves, by).update for by in (0, MILLION))
    assert gained(halves, plain, other) < -0.02
    assert gained(halves, calibrated, other) > gained(halves, plain, other) / 2
    assert gained(halves, calibrated, same) > 0.02


def test_a_model_that_is_always_right_is_trained_as_it_is(halves):
    """And so is one whose genesis wants no calibration; what the node tells of its loss is that of what it trained."""
    plain = update_of(halves, 0)
    assert update_of(halves, MILLION, MILLION).update == plain.update
    assert update_of(halves, MILLION).update != plain.update
    assert update_of(halves, MILLION).loss < plain.loss, "it has no need to learn which classes it lacks"


def test_noisy_training_takes_no_account_of_labels(halves):
    """Given training under differential privacy, when the plan wants calibration, then nothing of it is in the weights."""
    task, _, flat, model, (own, _) = halves
    found = []
    for by in (0.0, 1.0):
        flat.load(model)
        chance = Chance(np.random.Generator(np.random.PCG64(5)).bytes)
        descend = PrivateDescent(Mechanism(noise=500, clip=1.0, lots=2, steps=2), chance)
        descend(flat, task, own, replace(Descent(0.1, 0.9, 16, 1, 3), calibration=by))
        found.append(flat.weights.clone())
    assert torch.equal(*found)
