"""The servers' rules against the plainest form of their papers' formulas, and what one outlier does to each."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from bflcd.lab import rules
from bflcd.lab.rules import RULES, AggregationInput

WIDTH = 6


@pytest.fixture(autouse=True)
def _slices(monkeypatch):
    """Coordinates are taken in slices: here in three."""
    monkeypatch.setattr(rules, "_COLUMNS", 2)


def drawn(seed, count, adversaries=0):
    rng = np.random.default_rng(seed)
    updates = rng.normal(size=(count, WIDTH)) * rng.uniform(0.5, 2.0, size=(count, 1))
    return updates.astype(np.float32), rng.integers(1, 200, count).astype(np.float32), adversaries


def ran(name, updates, claims, adversaries, trusted=None, before=None, radius=1.0):
    given_ = AggregationInput(
        torch.from_numpy(updates),
        torch.from_numpy(claims),
        adversaries,
        None if trusted is None else torch.from_numpy(trusted),
        torch.zeros(WIDTH) if before is None else torch.from_numpy(before),
        radius,
    )
    found = RULES[name](given_)
    assert found.dtype == torch.float32
    return found.numpy()


def close(found, expected, atol=1e-5):
    np.testing.assert_allclose(found, expected, atol=atol, rtol=1e-5)


rounds = st.builds(drawn, st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 4))


@given(rounds)
def test_fedavg_is_the_mean_by_samples(round_):
    updates, claims, _ = round_
    close(ran("fedavg", *round_), sum(u * n for u, n in zip(updates, claims, strict=True)) / claims.sum())


@given(rounds)
def test_the_coordinate_median_of_odd_and_even_counts(round_):
    close(ran("cwmed", *round_), np.median(round_[0], axis=0))


@given(rounds)
def test_the_trimmed_mean_leaves_out_f_at_both_ends(round_):
    updates, _, f = round_
    f = min(f, (len(updates) - 1) // 2)
    expected = [np.mean(sorted(column)[f : len(column) - f]) for column in updates.T]
    close(ran("trimmed-mean", *round_), expected)


def krum_scores(updates, f):
    """Sum of squared distances to the n - f - 2 nearest others (Blanchard et al. 2017, section 4)."""
    wide = updates.astype(np.float64)
    count = len(wide)
    return [sum(sorted(np.sum((wide[i] - wide[j]) ** 2) for j in range(count) if j != i)[: count - f - 2]) for i in range(count)]


@pytest.mark.parametrize(("count", "adversaries", "f"), [(5, 1, 1), (7, 2, 2), (9, 3, 3), (10, 0, 0), (10, 5, 3), (3, 1, 0)])
@pytest.mark.parametrize("seed", range(5))
def test_multi_krum_is_the_mean_of_the_n_less_f_best_by_the_published_score(count, adversaries, f, seed):
    """More adversaries than (n - 3) / 2 can't be told to the rule: it then allows for as many as it can."""
    updates, claims, _ = drawn(seed, count)
    best = np.argsort(krum_scores(updates, f), kind="stable")[: count - f]
    close(ran("multi-krum", updates, claims, adversaries), updates[best].mean(axis=0))


@pytest.mark.parametrize("count", [1, 2])
def test_multi_krum_of_too_few_is_their_mean(count):
    updates, claims, _ = drawn(3, count)
    close(ran("multi-krum", updates, claims, 1), updates.mean(axis=0))


def test_distances_survive_a_large_common_step():
    """Differences of a thousandth beside a step of a thousand: products of the updates themselves would lose them."""
    rng = np.random.default_rng(1)
    updates = (1000 + 1e-3 * rng.normal(size=(6, WIDTH))).astype(np.float32)
    found = rules.squared_distances(torch.from_numpy(updates)).numpy()
    for i, j in combinations(range(6), 2):
        expected = np.sum((updates[i].astype(np.float64) - updates[j]) ** 2)
        assert found[i, j] == found[j, i] == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(found.diagonal(), np.zeros(6))


def objective(updates, claims, z):
    """What the geometric median makes least (Pillutla et al. 2022, equation 4)."""
    return float(np.average(np.linalg.norm(updates.astype(np.float64) - z, axis=1), weights=claims))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_the_geometric_median_minimises_the_sum_of_weighted_distances(count, seed):
    """Its 32 steps come within half a per cent of the least sum, wherever thousands of finer ones would end."""
    updates, claims, _ = drawn(seed, count)
    fine = np.average(updates.astype(np.float64), axis=0, weights=claims)
    for _ in range(5_000):
        fine = np.average(updates, axis=0, weights=claims / np.linalg.norm(updates - fine, axis=1).clip(1e-9))
    found = ran("geometric-median", updates, claims, 0)
    assert objective(updates, claims, found) <= 1.005 * objective(updates, claims, fine) + 1e-6


def test_the_geometric_median_is_where_an_optimiser_finds_it():
    updates, claims, _ = drawn(1, 9)
    start, options = updates.mean(axis=0).astype(np.float64), {"xatol": 1e-5, "fatol": 1e-9, "maxiter": 10_000, "maxfev": 10_000}
    best = optimize.minimize(lambda z: objective(updates, claims, z), start, method="Nelder-Mead", options=options)
    close(ran("geometric-median", updates, claims, 0), best.x, atol=1e-3)


def test_the_geometric_median_on_top_of_an_update_is_that_update():
    """Where more than half of the weight is in one point, that point is the median; a division by no distance must not spoil it."""
    updates, claims, _ = drawn(2, 4)
    claims[1] = 10 * claims.sum()
    close(ran("geometric-median", updates, claims, 0), updates[1], atol=1e-3)


def test_fltrust_scales_to_the_servers_size_and_weighs_by_cosine():
    updates, claims, _ = drawn(4, 8)
    trusted = np.random.default_rng(9).normal(size=WIDTH).astype(np.float32)
    cosines = [u @ trusted / np.linalg.norm(u) / np.linalg.norm(trusted) for u in updates]
    scores = np.maximum(cosines, 0)
    assert 0 < np.count_nonzero(scores) < len(scores), "some are refused and some not"
    scaled = [u * np.linalg.norm(trusted) / np.linalg.norm(u) for u in updates]
    close(ran("fltrust", updates, claims, 0, trusted), np.average(scaled, axis=0, weights=scores))


@pytest.mark.parametrize("factor", [-1.0, 0.0])
def test_fltrust_takes_no_step_where_nobody_is_trusted(factor):
    trusted = np.ones(WIDTH, dtype=np.float32)
    updates = np.full((3, WIDTH), factor, dtype=np.float32)
    close(ran("fltrust", updates, np.ones(3, dtype=np.float32), 0, trusted), np.zeros(WIDTH))


@pytest.mark.parametrize("radius", [0.3, 2.0, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_centred_clipping_moves_the_last_step_by_differences_cut_to_the_radius(seed, radius):
    """By the paper's formula; with a wide radius it is the mean, and it never moves further than the radius."""
    updates, claims, _ = drawn(seed, 7)
    before = np.random.default_rng(100 + seed).normal(size=WIDTH).astype(np.float32)
    differences = [u - before for u in updates]
    cut = [d * min(1.0, radius / np.linalg.norm(d)) for d in differences]
    found = ran("centered-clipping", updates, claims, 0, before=before, radius=radius)
    close(found, before + np.mean(cut, axis=0))
    assert np.linalg.norm(found - before) <= radius + 1e-5
    if radius == 1e6:
        close(found, updates.mean(axis=0))


def test_centred_clipping_where_all_offer_the_last_step_again():
    updates, claims, _ = drawn(0, 1)
    close(ran("centered-clipping", np.repeat(updates, 3, axis=0), np.repeat(claims, 3), 1, before=updates[0]), updates[0])


def test_one_outlier_moves_the_mean_and_no_robust_rule():
    """Given nine updates that agree within a tenth, when an adversary offers ten thousand times as much, then only fedavg follows it."""
    rng = np.random.default_rng(0)
    updates = (1.0 + 0.1 * rng.normal(size=(10, WIDTH))).astype(np.float32)
    updates[3] = -10_000.0
    claims, trusted = np.full(10, 50.0, dtype=np.float32), np.ones(WIDTH, dtype=np.float32)
    errors = {name: float(np.abs(ran(name, updates, claims, 1, trusted, trusted) - 1.0).max()) for name in RULES}
    assert errors.pop("fedavg") > 900
    assert max(errors.values()) < 0.25, errors


@pytest.mark.parametrize("name", RULES)
def test_equal_updates_are_the_step(name):
    updates = np.tile(np.linspace(-1, 1, WIDTH, dtype=np.float32), (6, 1))
    close(ran(name, updates, np.arange(1, 7, dtype=np.float32), 2, updates[0], updates[0]), updates[0])
