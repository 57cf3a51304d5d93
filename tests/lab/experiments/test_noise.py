"""What noise costs and promises: every cell is a simulation of that noise and size, and the bound falls with the noise."""

import pytest

from bflcd.lab.experiments.noise import ATTACKS, NOISES, SIZES, Point, bounds, draw, noise_grid
from bflcd.lab.grid import Spread
from bflcd.lab.scale import ScaleName, make_plan


def test_every_noise_is_tried_by_size_and_attack() -> None:
    grid = noise_grid(make_plan(ScaleName.small, (0, 1)))
    configs = grid.configs()
    assert len(configs) == len(NOISES) * len(SIZES) * len(ATTACKS) * 2
    one = grid.config("noise 4", "10, sign flip 30 %", 1)
    assert (one.devices, one.attack, one.rules.score_noise, one.seed) == (14, "sign-flip", 4.0, 1)
    assert all(config.at_work - config.seats == next(t for t, d in SIZES.items() if d == config.devices) for config in configs)


@pytest.mark.parametrize("trainers", list(SIZES))
def test_the_bound_falls_with_the_noise(trainers: int) -> None:
    found = [bounds(trainers, noise) for noise in NOISES if noise]
    assert found == sorted(found, reverse=True)
    assert all(card < life for card, life in found)
    assert bounds(10, 4.0) == pytest.approx((4.01, 31.6), rel=0.01)


def test_a_figure_has_a_panel_an_attack() -> None:
    pytest.importorskip("matplotlib")
    points = [Point(10, attack.label, noise, Spread(-0.1, 0.2, 5)) for attack in ATTACKS for noise in NOISES]
    assert [ax.get_title() for ax in draw(points).axes] == [attack.label for attack in ATTACKS]
