"""Errors by class: counted by hand, on classes, on what are none, and on outputs that are not finite."""

import numpy as np
import pytest
import torch
from torch import nn

from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, JobCancelledError, never
from bflcd.learn.watching.errors import MOST_ROWS, ClassErrors
from bflcd.learn.watching.measuring import NOTHING, count_errors, draw_sample, look

CPU = torch.device("cpu")


def counted(targets, right, called) -> ClassErrors:
    return count_errors(torch.tensor(targets), np.array(right, dtype=np.bool_), np.array(called, dtype=np.int64))


def test_rows_are_counted_by_class():
    found = counted([2, 2, 5, 5, 5], [True, False, True, False, False], [2, 5, 5, 2, 7])
    assert found == ClassErrors((2, 5), (2, 3), (1, 2), (1, 1), strayed=1)
    assert (found.total, found.wrong) == (5, 3)


@pytest.mark.parametrize(
    "targets", [[0.5, 1.5, 2.5], [[1, 2], [3, 4], [5, 6]], [1, -100, 2]], ids=["numbers", "several a row", "with ignored rows"]
)
def test_targets_that_are_no_classes_count_as_one(targets):
    assert counted(targets, [True, False, False], [1, 2, 3]) in (
        ClassErrors((0,), (3,), (2,), (0,), strayed=2),
        ClassErrors((0,), (3,), (2,), (0,)),
    )
    assert counted(targets, [True, False, False], [NOTHING] * 3) == ClassErrors((0,), (3,), (2,), (0,))


def test_no_rows_are_no_errors():
    assert counted(np.zeros(0, np.int64), [], []) == ClassErrors((), (), (), ())


def test_counts_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="1 classes, and 2, 1, 1 counts"):
        ClassErrors((0,), (1, 2), (0,), (0,))


@pytest.mark.parametrize(("most", "drawn"), [(10, 10), (500, MOST_ROWS), (1_000, MOST_ROWS)])
def test_a_sample_is_bounded_and_always_the_same(most, drawn):
    rows = DeviceRows(torch.arange(600.0), torch.arange(600))
    sample = draw_sample(rows, most, 7)
    assert len(sample) == len(set(sample.targets.tolist())) == drawn
    assert torch.equal(sample.targets, draw_sample(rows, most, 7).targets)
    assert not torch.equal(sample.targets, draw_sample(rows, most, 8).targets)
    assert draw_sample(rows.part(0, 9), most, 7).targets.tolist() == list(range(9))


class Constant(nn.Module):
    """Says the same of every row."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


def model_of(logits) -> FlatModel:
    module = Constant(logits)
    return FlatModel(module, tensors_of(module), CPU)


ROWS = DeviceRows(torch.zeros(300, 2), torch.arange(300) % 3)


def test_a_model_is_looked_at_row_by_row():
    right, called = look(model_of([0.0, 2.0, 1.0]), find_task("digits", {}), ROWS, never)
    assert set(called) == {1}
    assert count_errors(ROWS.targets, right, called) == ClassErrors((0, 1, 2), (100,) * 3, (100, 0, 100), (0, 200, 0))


def test_outputs_that_are_not_finite_count_as_some_class():
    right, called = look(model_of([float("nan")] * 3), find_task("digits", {}), ROWS, never)
    found = count_errors(ROWS.targets, right, called)
    assert (found.total, found.wrong) == (300, 200)


def test_a_cancelled_look_ends_between_two_batches():
    with pytest.raises(JobCancelledError):
        look(model_of([0.0, 1.0, 2.0]), find_task("digits", {}), ROWS, lambda: True)


def test_a_look_at_the_largest_sample_can_be_given_up_on_the_way():
    """Given as many rows as are looked at / When it is cancelled after the first pass / Then it ends there, not after all."""
    asked = []

    def second_time() -> bool:
        asked.append(True)
        return len(asked) > 1

    with pytest.raises(JobCancelledError):
        look(model_of([0.0, 1.0, 2.0]), find_task("digits", {}), ROWS.part(0, MOST_ROWS), second_time)
