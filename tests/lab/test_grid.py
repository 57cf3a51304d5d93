"""The grid of an experiment and its statistics, on runs made by hand."""

from math import isnan, nan
from statistics import stdev

import msgspec
import pytest

from bflcd.lab.config import PAPER
from bflcd.lab.engine.sites import SITE_FIGURES
from bflcd.lab.grid import Change, Grid, Results, Spread, difference, mean_curve, spread
from bflcd.lab.runs.records import LAST_MEASUREMENTS, Run
from tests.helpers.lab import tiny

OURS, THEIRS, HALF = Change("ours"), Change("theirs", {"framework": "fedavg"}), Change("half", rules={"places": 0.5})
CLEAN, LYING = Change("clean"), Change("lying", {"attack": "noise", "liars": 0.3})


def grid(variants=(OURS, THEIRS, HALF), scenarios=(CLEAN, LYING), seeds=(0, 1), **more) -> Grid:
    return Grid(tiny(), variants, scenarios, seeds, **more)


def run_of(config, *accuracies) -> Run:
    """Measurements in every second round."""
    rounds = []
    for number, accuracy in enumerate(accuracies, 1):
        rounds += [{"round": 2 * number - 1, "seconds": 1.0}, {"round": 2 * number, "seconds": 0.5, "accuracy": accuracy}]
    return Run(config, tuple(rounds))


# -- what is run --------------------------------------------------------------------------------------------------------------


def test_every_combination_once_the_first_seed_first():
    found = grid().configs()
    assert found == [
        tiny(rules, seed=seed, **more, **lying)
        for seed in (0, 1)
        for lying in ({}, {"attack": "noise", "liars": 0.3})
        for rules, more in (({}, {}), ({}, {"framework": "fedavg"}), ({"places": 0.5}, {}))
    ]


def test_equal_simulations_are_run_once():
    """Stand-alone training knows no scenario: three columns are one run a seed."""
    alone = Change("alone", {"framework": "stand-alone", "active": 0.5})
    shares = tuple(Change(f"{share}", {"active": share}) for share in (0.5, 0.6, 0.7))
    assert len(grid((OURS, alone), shares, (0, 1)).configs()) == 2 * (3 + 1)


def test_the_variants_changes_come_last_and_whole_rules_before_single_ones():
    paper = Change("paper", {"rounds": 9}, rules={"committee": 0.3}, whole=PAPER)
    found = grid((paper,), (Change("s", {"rounds": 5, "liars": 0.1}, rules={"places": 0.25}),)).config("paper", "s", 7)
    expected = msgspec.structs.replace(PAPER, committee=0.3)
    assert found == msgspec.structs.replace(tiny(), rounds=9, liars=0.1, seed=7, rules=expected)


def test_combinations_that_nobody_wants_are_left_out():
    made = grid(wanted=lambda variant, scenario: (variant, scenario) != ("theirs", "lying"))
    assert len(made.configs()) == 2 * 5
    results = Results(made, [run_of(config, 0.5) for config in made.configs()])
    assert results.runs("theirs", "lying") == []
    assert results.spread("theirs", "lying").text() == "-"


# -- statistics ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "mean", "deviation", "text"),
    [
        ([], nan, nan, "-"),
        ([2.0], 2.0, nan, "2.00"),
        ([1.0, 3.0], 2.0, 2**0.5, "2.00 ± 1.41"),
        ([1.0, 2.0, 6.0], 3.0, 7**0.5, "3.00 ± 2.65"),
        ([5.0, 5.0], 5.0, 0.0, "5.00 ± 0.00"),
    ],
)
def test_a_spread(values, mean, deviation, text):
    found = spread(values)
    assert (found.mean, found.deviation) == (pytest.approx(mean, nan_ok=True), pytest.approx(deviation, nan_ok=True))
    assert found.count == len(values)
    assert found.text() == text
    assert found.error == pytest.approx(found.deviation / max(found.count, 1) ** 0.5, nan_ok=True)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Spread(nan, nan, 0), "-"),
        (Spread(0.5, nan, 1), "+0.50"),
        (Spread(-0.5, 2.0, 4), "-0.50 ± 1.00"),
        (Spread(0.0, 0.0, 2), "+0.00 ± 0.00"),
    ],
)
def test_a_difference_has_a_sign_and_a_standard_error(found, text):
    assert difference(found) == text


def test_digits():
    assert Spread(12.345, 1.0, 2).text(1) == "12.3 ± 1.0"


def test_a_run_is_as_good_as_the_mean_of_its_last_measurements():
    run = run_of(tiny(), 0.1, 0.2, 0.6, 0.7, 0.8)
    assert LAST_MEASUREMENTS == 3
    assert run.last() == pytest.approx(0.7)
    assert run.curve() == [(2, 0.1), (4, 0.2), (6, 0.6), (8, 0.7), (10, 0.8)]
    assert (run.seconds, run.total("seconds"), run.total("absent")) == (7.5, 7.5, 0.0)
    assert run_of(tiny(), 0.1, 0.3).last() == pytest.approx(0.2)
    assert isnan(run_of(tiny()).last())
    assert isnan(run.last("attack_success"))
    assert (run.end(), run_of(tiny(), 0.1, 0.3).end()) == (0.8, 0.3)
    assert isnan(run_of(tiny()).end())
    assert Run(tiny(), ({"round": 1, "loss": None, "paid": None},)).curve("loss") == []


def results_of(values) -> Results:
    """`values`: accuracies in per cent by variant and scenario, one a seed; None for a run that has not ended."""
    made = grid(seeds=(0, 1, 2))
    runs = [
        run_of(made.config(variant, scenario, seed), accuracy / 100)
        for (variant, scenario), row in values.items()
        for seed, accuracy in enumerate(row)
        if accuracy is not None
    ]
    return Results(made, runs)


def test_cells_pairs_and_data():
    """Given runs of which one has not ended, then a difference pairs those seeds that both have."""
    results = results_of(
        {("ours", "clean"): [80.0, 82.0, 90.0], ("theirs", "clean"): [81.0, None, 85.0], ("half", "clean"): [70.0, 70.0, 70.0]}
    )
    assert results.spread("ours", "clean") == spread([80.0, 82.0, 90.0])
    assert results.spread("theirs", "clean").count == 2
    assert results.spread("ours", "lying").count == 0
    assert results.spread("ours", "clean", lambda run: run.seconds) == Spread(1.5, 0.0, 3)
    paired = results.paired("ours", "theirs", "clean")
    assert (paired.mean, paired.count) == (pytest.approx(2.0), 2)
    assert paired.deviation == pytest.approx(stdev([-1.0, 5.0]))
    assert results.paired("ours", "half", "lying").count == 0
    assert [run.config.seed for run in results.runs("theirs", "clean")] == [0, 2]
    data, empty = results.data(), {name: {"clean": [], "lying": []} for name in ("ours", "theirs", "half")}
    assert {name: data.pop(name) for name in SITE_FIGURES} == dict.fromkeys(SITE_FIGURES, empty)
    assert data == {
        "rules_version": results.grid.base.rules_version,
        "accuracy": {
            "ours": {"clean": [80.0, 82.0, 90.0], "lying": []},
            "theirs": {"clean": [81.0, 85.0], "lying": []},
            "half": {"clean": [70.0, 70.0, 70.0], "lying": []},
        },
        "end": {
            "ours": {"clean": [80.0, 82.0, 90.0], "lying": []},
            "theirs": {"clean": [81.0, 85.0], "lying": []},
            "half": {"clean": [70.0, 70.0, 70.0], "lying": []},
        },
    }
    assert results.seconds == 8 * 1.5


def test_a_mean_curve_stands_where_every_run_was_measured():
    runs = [run_of(tiny(), 0.1, 0.2, 0.3), run_of(tiny(), 0.3, 0.4)]
    assert mean_curve(runs) == [(2, pytest.approx(0.2)), (4, pytest.approx(0.3))]
    assert mean_curve(runs[:1]) == [(2, 0.1), (4, 0.2), (6, 0.3)]
    assert mean_curve([]) == []
