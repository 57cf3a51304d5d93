"""Growth is found where there is some, and none where there is only noise."""

import numpy as np
import pytest

from tests.soak.community import Soaked, SoakPlan
from tests.soak.report import QUANTITIES, draw, judge, table
from tests.soak.sampling import Sample
from tests.soak.slopes import fit


def noisy(rng: np.random.Generator, growth: float) -> tuple[np.ndarray, np.ndarray]:
    """300 samples over 900 rounds around 80, each like the one before, growing by so much in 1,000 rounds."""
    rounds = np.linspace(100, 1000, 300)
    noise = np.zeros(300)
    for index in range(1, 300):
        noise[index] = 0.7 * noise[index - 1] + rng.normal() * 0.3
    return rounds, 80 + growth / 1000 * rounds + noise


def test_noise_alone_is_hardly_ever_growth() -> None:
    rng = np.random.default_rng(1)

    found = sum(fit(*noisy(rng, 0.0)).measurable for _ in range(400))

    assert found <= 8, "1 % of 400, one-sided half of that, and some for blocks that know of each other"


def test_growth_is_found_and_measured() -> None:
    rng = np.random.default_rng(2)
    slopes = [fit(*noisy(rng, 2.0)) for _ in range(100)]

    assert all(slope.measurable for slope in slopes)
    assert abs(float(np.mean([slope.per_thousand for slope in slopes])) - 2.0) < 0.05
    assert all(abs(slope.per_thousand - 2.0) < 6 * slope.error for slope in slopes)
    assert not any(fit(*noisy(rng, -2.0)).measurable for _ in range(20)), "what shrinks does not grow"


def test_a_flat_quantity_has_no_slope() -> None:
    slope = fit(list(range(60)), [5.0] * 60)
    assert (slope.per_thousand, slope.measurable) == (0.0, False)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit(list(range(20)), [1.0] * 20)


def soaked(leak: float) -> Soaked:
    rng = np.random.default_rng(3)
    names = [quantity.name for quantity in QUANTITIES]
    samples = [
        Sample(round_ / 3, node, round_, {n: 1e6 + rng.normal() * 1e3 + leak * round_ * (n == "descriptors") for n in names})
        for round_ in range(0, 1000, 10)
        for node in ("node0", "node1")
    ]
    return Soaked(SoakPlan(nodes=2), 333.0, tuple(samples), ("node1",), ("one head",), ())


def test_the_verdict_names_what_grows(tmp_path) -> None:
    assert judge(soaked(0.0)) == []
    complaints = judge(soaked(50.0))
    assert [complaint.split(" grows")[0] for complaint in complaints] == [
        "descriptors of archive nodes",
        "descriptors of pruned nodes",
    ]
    assert "| descriptors | archive |" in table(soaked(50.0))
    assert "GROWS" in table(soaked(50.0))


def test_samples_are_written_and_read(tmp_path) -> None:
    made = soaked(0.0)
    made.write(tmp_path / "samples.json")

    assert Soaked.read(tmp_path / "samples.json") == made
    draw(made, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 10_000
