"""The servers' rules against ByzFL's, another implementation of the same papers; skipped where it is not installed.

FLTrust and weights by samples are not in it, so all claim alike here. Where its rule differs from ours, the test says how, and what
then agrees.
"""

import numpy as np
import pytest
import torch

from bflcd.lab.mixing import MIXINGS
from bflcd.lab.rules import RULES, AggregationInput

byzfl = pytest.importorskip("byzfl")

WIDTH = 40

TABLES = [(count, f, seed) for count, f in ((5, 1), (8, 2), (13, 3), (20, 6), (9, 0)) for seed in range(4)]


def drawn(count, f, seed):
    """Updates of which `f` are far off, in no particular place."""
    rng = np.random.default_rng((count, f, seed))
    updates = rng.normal(size=(count, WIDTH)) * rng.uniform(0.5, 2.0, size=(count, 1))
    updates[rng.permutation(count)[:f]] += rng.normal(size=WIDTH) * 5
    return updates.astype(np.float32)


def asked(updates, f, **more):
    return AggregationInput(torch.from_numpy(updates), torch.ones(len(updates)), f, **more)


def close(found, expected, atol=1e-5):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=atol, rtol=1e-4)


@pytest.mark.parametrize(("count", "f", "seed"), TABLES)
def test_the_mean_the_median_and_the_trimmed_mean(count, f, seed):
    updates = drawn(count, f, seed)
    close(RULES["fedavg"](asked(updates, f)), byzfl.Average()(updates))
    close(RULES["cwmed"](asked(updates, f)), byzfl.Median()(updates))
    close(RULES["trimmed-mean"](asked(updates, f)), byzfl.TrMean(f)(updates))


@pytest.mark.parametrize(("count", "f", "seed"), TABLES)
def test_multi_krum(count, f, seed):
    """ByzFL scores by n - f - 1 neighbours where the paper has n - f - 2, and takes the mean of n - f all the same: each is the mean
    by its own scores, and where both choose the same they agree.
    """
    updates = drawn(count, f, seed)
    distances = ((updates[:, None].astype(np.float64) - updates[None]) ** 2).sum(2)
    scores = np.sort(distances, axis=1)[:, 1 : count - f].sum(1)
    chosen = np.argsort(scores)[: count - f]
    close(byzfl.MultiKrum(f)(updates), updates[chosen].mean(axis=0))
    genuine, ours = np.sort(distances, axis=1)[:, 1 : count - f - 1].sum(1), RULES["multi-krum"](asked(updates, f))
    close(ours, updates[np.argsort(genuine)[: count - f]].mean(axis=0))
    if set(np.argsort(genuine)[: count - f]) == set(chosen):
        close(ours, byzfl.MultiKrum(f)(updates))


@pytest.mark.parametrize(("count", "f", "seed"), TABLES)
def test_the_geometric_median(count, f, seed):
    """ByzFL begins at zero and goes a fixed number of steps: given enough of them it ends where ours does."""
    updates = drawn(count, f, seed)
    expected = byzfl.GeometricMedian(nu=1e-6, T=500)(updates.astype(np.float64))
    close(RULES["geometric-median"](asked(updates, f)), expected, atol=2e-3)


@pytest.mark.parametrize("radius", [0.5, 3.0, 100.0])
@pytest.mark.parametrize(("count", "f", "seed"), TABLES)
def test_centred_clipping_over_three_rounds(count, f, seed, radius):
    """ByzFL keeps the last step itself, from zero on; here it is handed in."""
    theirs, before = byzfl.CenteredClipping(L=1, tau=radius), torch.zeros(WIDTH)
    for round_ in range(3):
        updates = drawn(count, f, 10 * seed + round_)
        before = RULES["centered-clipping"](asked(updates, f, before=before, radius=radius))
        close(before, theirs(updates))


@pytest.mark.parametrize(("count", "f", "seed"), TABLES)
def test_nearest_neighbour_mixing_alone_and_before_a_rule(count, f, seed):
    updates = drawn(count, f, seed)
    theirs = byzfl.NNM(f)(updates)
    ours = MIXINGS["nnm"](asked(updates, f))
    close(ours.updates, theirs)
    close(RULES["trimmed-mean"](ours), byzfl.TrMean(f)(theirs))
    close(RULES["cwmed"](ours), byzfl.Median()(theirs))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(("count", "f", "seed"), TABLES)
def test_bucketing(monkeypatch, count, f, seed, size):
    """ByzFL draws its order from numpy's global stream; here it draws ours."""
    updates, order = drawn(count, f, seed), np.random.default_rng(seed).permutation(count)
    monkeypatch.setattr(np.random, "permutation", lambda vectors: vectors[order])
    theirs = byzfl.Bucketing(size)(updates)
    ours = MIXINGS["bucketing"](asked(updates, f, order=tuple(order.tolist()), bucket=size))
    close(ours.updates, theirs)
    close(RULES["cwmed"](ours), byzfl.Median()(theirs))
