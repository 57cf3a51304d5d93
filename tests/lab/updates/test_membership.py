"""The figures of membership inference, in cases that can be reckoned by hand."""

import numpy as np
import pytest

from bflcd.lab.updates.membership import Figure, Likelihoods, Verdicts, advantage, auc, best_threshold, rate_at_few_false
from bflcd.lab.updates.references import calibrated


def verdicts(inside: list[float], outside: list[float], threshold: float = 0.0) -> Verdicts:
    scores = np.array([*inside, *outside], dtype=float)
    return Verdicts(scores, scores > threshold, np.arange(len(scores)) < len(inside))


@pytest.mark.parametrize(
    ("inside", "outside", "area"),
    [([3, 2], [1, 0], 1.0), ([0, 1], [2, 3], 0.0), ([1, 1], [1, 1], 0.5), ([0, 2], [1, 1], 0.5), ([2, 1], [1, 0], 0.875)],
)
def test_the_area_is_the_share_of_pairs_in_order(inside, outside, area):
    assert auc(verdicts(inside, outside)).value == area


def test_the_advantage_is_of_what_was_said():
    found = advantage(verdicts([1, 1, 1, -1], [1, -1, -1, -1]))
    assert found == Figure(0.5, pytest.approx((2 * 0.75 * 0.25 / 4) ** 0.5))
    assert found.text(2, sign=True) == "+0.50 ± 0.31"


def test_few_false_alarms_are_told_of_a_hundred_others_or_more():
    assert rate_at_few_false(verdicts([5.0], [0.0] * 99)) is None
    found = rate_at_few_false(verdicts([5.0, 5.0, 1.0, 1.0], [2.0, 1.5, *[0.0] * 98]))
    assert found is not None
    assert found.value == 0.5


def test_verdicts_of_several_targets_stand_behind_each_other():
    both = Verdicts.together([verdicts([1], [0]), verdicts([4], [3])])
    assert both.scores.tolist() == [1, 0, 4, 3]
    assert both.held.tolist() == [True, False, True, False]


def test_the_best_threshold_lies_between_and_calls_equal_scores_alike():
    assert best_threshold(np.array([4.0, 3.0, 1.0, 0.0]), np.array([True, True, False, False])) == 2.0
    assert best_threshold(np.array([3.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False])) == 2.0


def test_likelihoods_tell_records_apart_by_what_moves_and_not_by_what_differs():
    """Given records of very different level, of which one feature rises where a record is inside, then scores go by that alone."""
    rng = np.random.default_rng(0)
    level = rng.normal(0, 100, (1, 10, 2))
    inside = np.stack([rng.permutation(np.arange(200) % 2 == 0) for _ in range(10)], axis=1)

    def seen(flags):
        moved = np.stack([2.0 * flags, np.zeros_like(flags, dtype=float)], axis=-1)
        return level + moved + rng.normal(0, 1, (*flags.shape, 2))

    scores = Likelihoods.of(seen(inside), inside).scores(seen(inside))
    found = auc(Verdicts(scores.ravel(), scores.ravel() > 0, inside.ravel()))
    assert found.value == pytest.approx(0.92, abs=0.03)  # of two normals two deviations apart


def test_likelihoods_of_what_never_changes_say_nothing():
    inside = np.array([[True], [False], [True], [False]])
    assert Likelihoods.of(np.ones((4, 1, 2)), inside).scores(np.ones((1, 2))).tolist() == [0.0]


def test_a_reference_is_compared_with_those_that_did_not_see_the_row():
    sure = np.array([[5.0, 1.0], [2.0, 4.0], [3.0, 2.0]])
    inside = np.array([[True, False], [False, True], [False, False]])
    assert calibrated(sure, inside).tolist() == [[2.5, -1.0], [-1.0, 2.5], [1.0, 1.0]]
