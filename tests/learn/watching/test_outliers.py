"""The local outlier factor: by hand, against scikit-learn's, and where points are all the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.learn.watching.outliers import outlier_factor


def test_a_point_as_dense_as_the_others_is_no_outlier_and_one_twice_as_far_is():
    """Given points on a line, one apart / Then the next one has a factor near 1, one five further is five times as sparse."""
    line = np.arange(11, dtype=np.float64)[:, None]
    assert outlier_factor(np.array([5.5]), line, 2, 1e-9) == pytest.approx(1.0, abs=0.1)
    # the two nearest of 16 are 10 and 9: mean reach (6 + 7) / 2; theirs are 1 + 2 over 2 and 1
    assert outlier_factor(np.array([16.0]), line, 2, 1e-9) == pytest.approx(6.5 * (1 / 2 + 1 / 1.5) / 2, rel=0.2)


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_it_is_what_scikit_learn_computes(seed, neighbours):
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(seed)
    others, point = rng.normal(size=(20, 3)), rng.normal(size=3) * 3
    known = neighbors.LocalOutlierFactor(n_neighbors=neighbours, novelty=True).fit(others)
    expected = -float(known.score_samples(point[None])[0])
    assert outlier_factor(point, others, neighbours, 1e-12) == pytest.approx(expected, rel=1e-6)


def test_others_that_are_all_the_same_make_nothing_infinitely_odd():
    same = np.zeros((20, 4))
    assert outlier_factor(np.zeros(4), same, 10, 1.0) == 1.0
    assert outlier_factor(np.array([1.0, 0, 0, 0]), same, 10, 1.0) == 1.0
    assert outlier_factor(np.array([7.0, 0, 0, 0]), same, 10, 1.0) == 7.0


@pytest.mark.parametrize("neighbours", [0, 3, 4])
def test_too_few_others_are_refused(neighbours):
    with pytest.raises(ValueError, match=f"{neighbours} neighbours of 3 points"):
        outlier_factor(np.zeros(2), np.zeros((3, 2)), neighbours, 1.0)
