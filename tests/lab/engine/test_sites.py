"""How right a model is by site, told from test rows: by who wrote them, else by each device's mix of classes."""

import numpy as np
import pytest

from bflcd.lab.engine.sites import (
    LEAST_ROWS,
    MIXES,
    SITE_FIGURES,
    WRITERS,
    Sites,
    site_figures,
    sites_of_classes,
    sites_of_writers,
)
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.data import DataConfig
from bflcd.learn.task import find_task
from tests.helpers.lab import tiny


def figures(*accuracies: float) -> dict[str, object]:
    """Of sites that are right to these shares: a site a kind, a hundred rows each."""
    right = np.concatenate([np.arange(100) < round(100 * share) for share in accuracies])
    kinds = np.repeat(np.arange(len(accuracies)), 100)
    return site_figures(Sites(WRITERS, len(accuracies), kinds), right)


@pytest.mark.parametrize(
    ("accuracies", "worst", "tenth", "mean"),
    [
        ((0.5,), 0.5, 0.5, 0.5),
        ((0.9, 0.0), 0.0, 0.0, 0.45),
        ((1.0,) * 9 + (0.1,), 0.1, 0.1, 0.91),
        ((0.2, *(1.0,) * 9, 0.4), 0.2, 0.3, (0.6 + 9) / 11),
    ],
)
def test_the_worst_the_worst_tenth_and_the_mean_of_the_sites(accuracies, worst, tenth, mean):
    found = figures(*accuracies)
    assert (found["sites"], found["site"]) == (len(accuracies), WRITERS)
    assert [found[name] for name in SITE_FIGURES] == pytest.approx([worst, tenth, mean])


def test_a_writer_is_a_site_if_it_has_enough_test_rows():
    """Given writers of many, of just enough and of too few rows in any order / Then each of the first two has its own rows' share."""
    writers = np.array([7] * 20 + [3] * LEAST_ROWS + [5] * (LEAST_ROWS - 1))
    right = np.concatenate([np.arange(20) < 5, np.ones(LEAST_ROWS, bool), np.zeros(LEAST_ROWS - 1, bool)])
    order = np.random.default_rng(1).permutation(len(writers))
    sites = sites_of_writers(writers[order])
    assert sites is not None
    assert sites.what == WRITERS
    assert sites.accuracies(right[order]).tolist() == [1.0, 0.25]
    assert sites_of_writers(writers[-3:]) is None


def test_a_device_is_as_right_as_its_classes_are_in_its_mix():
    """Given devices of one class, of two, of one that nobody tests beside one that is tested, and of the untested alone / Then..."""
    tested = np.array([0, 0, 0, 0, 2, 2])
    right = np.array([1, 1, 1, 0, 0, 1], bool)  # 3/4 of class 0, 1/2 of class 2
    parts = [np.array(part, dtype=np.int64) for part in ([0, 0], [0, 2, 2, 2], [1, 2, 9], [1, 9], [])]
    sites = sites_of_classes(parts, tested)
    assert sites is not None
    assert sites.what == MIXES
    assert sites.accuracies(right) == pytest.approx([0.75, 0.25 * 0.75 + 0.75 * 0.5, 0.5])
    assert sites_of_classes([np.array([1])], tested) is None


@pytest.mark.parametrize("tested", [np.array([0.5, 1.0]), np.array([[1], [2]])])
def test_targets_that_are_no_classes_make_no_sites(tested):
    assert sites_of_classes([tested], tested) is None


def test_the_mean_over_devices_of_equal_size_that_hold_all_rows_is_the_accuracy():
    """Given test rows dealt like the rest / When each device's mix is that of all / Then every site is as right as the whole."""
    classes = np.tile(np.arange(5), 8)
    right = np.random.default_rng(2).random(40) < 0.6
    sites = sites_of_classes([classes, classes[:10]], classes)
    assert sites is not None
    assert sites.accuracies(right) == pytest.approx([right.mean()] * 2)


def test_a_simulation_records_its_sites_whenever_it_measures_and_none_that_it_knows_nothing_of():
    simulation = Simulation(tiny(partition="dirichlet", devices=12, rounds=2, every=2), Machine("cpu", threads=1))
    first, second = simulation.advance(), simulation.advance()
    assert "site_worst" not in first
    assert (second["sites"], second["site"]) == (12, MIXES)
    assert 0 <= second["site_worst"] <= second["site_tenth"] <= second["site_mean"] <= 1
    assert second["site_worst"] < second["accuracy"]
    test = simulation.engine.losses(simulation.model[None], simulation.devices.test)[1][0].numpy()
    targets = simulation.devices.test.targets.numpy()
    rates = {label: test[targets == label].mean() for label in np.unique(targets)}
    expected = [
        np.mean([rates[label] for label in simulation.devices.pool.targets[part].tolist()])
        for part in simulation.devices.all_rows
    ]
    assert second["site_worst"] == pytest.approx(min(expected))
    assert second["site_mean"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("partition", "limit"), [("writer", "0"), ("writer", "7"), ("equal", "0")])
def test_rows_that_are_dealt_by_writer_name_who_made_each_test_row(tmp_path, partition, limit):
    rng = np.random.default_rng(3)
    writers = rng.integers(0, 20, 200)
    images = rng.integers(0, 256, (200, 28, 28), dtype=np.uint8)
    images[:, 0, 0] = writers  # so that a row tells whose it is
    np.savez(tmp_path / "rows.npz", images=images, labels=rng.integers(0, 10, 200), writer=writers)
    task = find_task("femnist", {"classes": "10", "test_rows": limit, "test_percent": "30"})
    found = task.load_all(DataConfig(str(tmp_path / "rows.npz"), partition, count=4))
    assert found.test is not None
    if partition == "writer":
        assert found.test_writers is not None
        assert found.test_writers.tolist() == found.test.inputs[:, 0, 0].tolist()
        assert len(found.test_writers) == (7 if limit == "7" else len(found.test))
    else:
        assert found.test_writers is None
