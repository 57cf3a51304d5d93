"""Draws: their distribution, by fixed sources, and that a daemon's come from the system."""

import os

import numpy as np
import pytest

from bflcd.learn.private.noise import Chance


def fixed(seed=0):
    return Chance(np.random.Generator(np.random.PCG64(seed)).bytes)


def test_the_noise_is_standard_normal():
    drawn = fixed().gaussian(400_001)
    assert drawn.shape == (400_001,)
    assert abs(drawn.mean()) < 5 / 400_001**0.5
    assert abs(drawn.var() - 1) < 5 * (2 / 400_001) ** 0.5
    assert abs((drawn**4).mean() - 3) < 5 * (96 / 400_001) ** 0.5
    for limit, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        assert abs((np.abs(drawn) < limit).mean() - share) < 0.004
    halves = drawn[:200_000], drawn[200_001:]
    assert abs(np.corrcoef(*halves)[0, 1]) < 5 / 200_000**0.5, "cosine and sine of one angle are independent"


@pytest.mark.parametrize("lots", [1, 2, 7, 100])
def test_each_row_is_drawn_by_itself_with_one_probability(lots):
    chance, rows, times = fixed(lots), 50, 4000
    drawn = np.zeros((times, rows), dtype=bool)
    for time in range(times):
        found = chance.sample(rows, lots)
        assert sorted(set(found)) == list(found)
        drawn[time, found] = True
    p = 1 / lots
    assert np.abs(drawn.mean(0) - p).max() <= 5 * (p * (1 - p) / times) ** 0.5
    spread = drawn.sum(1).var()
    assert spread == pytest.approx(rows * p * (1 - p), rel=0.15, abs=1e-9), "Poisson's, not a deal of fixed size"


def test_a_daemons_draws_are_the_systems_and_no_seed_repeats_them(monkeypatch):
    asked = []

    def source(count):
        asked.append(count)
        return bytes(range(256)) * (count // 256 + 1)

    assert Chance().gaussian(4).tolist() != Chance().gaussian(4).tolist()
    assert Chance.__init__.__defaults__ == (os.urandom,)
    Chance(lambda count: source(count)[:count]).gaussian(3)
    assert asked == [16, 16]


def test_no_value_is_beyond_what_53_bits_can_give():
    lowest, highest = Chance(bytes), Chance(lambda count: b"\xff" * count)
    assert np.isfinite(lowest.gaussian(9)).all()
    assert np.abs(lowest.gaussian(9)).max() == pytest.approx((2 * 53 * np.log(2)) ** 0.5)
    assert np.abs(highest.gaussian(9)).max() == 0.0
