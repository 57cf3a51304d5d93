"""What servers do with updates before their rule: by the definitions of the papers, on small tables."""

import numpy as np
import pytest
import torch

from bflcd.lab.mixing import MIXINGS
from bflcd.lab.rules import RULES, AggregationInput

WIDTH = 5


def drawn(seed, count):
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def mixed(name, updates, adversaries=0, **more):
    claims = torch.arange(1.0, len(updates) + 1)
    return MIXINGS[name](AggregationInput(torch.from_numpy(updates), claims, adversaries, **more))


def test_unmixed_nothing_changes():
    updates = drawn(0, 4)
    found = mixed("none", updates, 1)
    assert np.array_equal(found.updates.numpy(), updates)
    assert found.claims.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(("count", "f"), [(1, 0), (5, 0), (5, 1), (9, 4), (9, 8), (4, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_nnm_takes_the_mean_of_the_nearest_less_f(count, f, seed):
    """Of all but f, by distance, itself the nearest; with as many adversaries as updates each stays alone."""
    updates = drawn(seed, count)
    found = mixed("nnm", updates, f)
    for own, update in zip(found.updates.numpy(), updates, strict=True):
        order = np.argsort(np.linalg.norm(updates.astype(np.float64) - update, axis=1), kind="stable")
        np.testing.assert_allclose(own, updates[order[: max(1, count - f)]].mean(axis=0), atol=1e-6)
    assert (found.claims.tolist(), found.adversaries) == ([1.0] * count, f)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (6, 2, [[5, 0], [3, 1], [4, 2]]),
        (6, 4, [[5, 0, 3, 1], [4, 2]]),
        (6, 1, [[5], [0], [3], [1], [4], [2]]),
        (6, 9, [[5, 0, 3, 1, 4, 2]]),
    ],
)
def test_buckets_are_means_in_the_order_drawn(count, size, expected):
    updates = drawn(1, count)
    found = mixed("bucketing", updates, 1, order=(5, 0, 3, 1, 4, 2), bucket=size)
    np.testing.assert_allclose(found.updates.numpy(), [updates[members].mean(axis=0) for members in expected], atol=1e-6)
    assert (found.claims.tolist(), found.adversaries) == ([1.0] * len(expected), 1)


@pytest.mark.parametrize("name", MIXINGS)
@pytest.mark.parametrize("rule", RULES)
def test_mixing_keeps_what_all_agree_on(name, rule):
    updates = np.tile(np.linspace(-1, 1, WIDTH, dtype=np.float32), (7, 1))
    one = torch.from_numpy(updates[0])
    found = RULES[rule](mixed(name, updates, 2, order=tuple(range(7)), trusted=one, before=one))
    torch.testing.assert_close(found, one)


def test_nnm_brings_honest_updates_together_and_keeps_an_outlier_out():
    """Given nine that differ and one far away, when they are mixed, then the nine lie closer, and none has anything of the tenth."""
    updates = drawn(2, 10)
    updates[4] = 1000.0
    found = np.delete(mixed("nnm", updates, 1).updates.numpy(), 4, axis=0)
    honest = np.delete(updates, 4, axis=0)
    assert np.abs(found).max() < 10
    assert found.var(axis=0).sum() < 0.1 * honest.var(axis=0).sum()
