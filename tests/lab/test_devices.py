"""Devices hold what daemons would hold: the same rows, the same split; adversaries are drawn, and only they train on poisoned rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bflcd.errors import OperatorError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.devices import Devices, load_devices
from bflcd.lab.rng import Draw, number
from bflcd.learn.attacks import ATTACKS, TARGET_CLASS
from bflcd.learn.data import DataConfig
from bflcd.learn.lies.edge import EDGE_CLASS, stamp
from bflcd.learn.partition import split_validation
from bflcd.learn.task import find_task
from tests.helpers.lab import CPU, digits_labels, tiny
from tests.helpers.learning import write_leaf, write_npz

ONSET = 10
"""By this round every attack trains on what it has poisoned."""

LINE = "tests.helpers.worker_tasks:LineTask"
NOISE = "tests.helpers.lab:NetTask"


def load(config: SimulationConfig) -> Devices:
    return load_devices(config, find_task(config.task, dict(config.options)), CPU)


# -- every node's rows at once ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_npz(folder / "split.npz", rows=300, writers=24)
    write_npz(folder / "whole.npz", rows=300, writers=24, split=None)
    write_npz(folder / "nobody.npz", rows=300, writer=None, split=None)
    write_leaf(folder / "leaf.json", {f"u{i:02}": 3 + i % 4 for i in range(20)})
    return folder


CASES = [
    ("digits", {}, None, {"partition": "equal"}),
    ("digits", {"test_percent": "30"}, None, {"partition": "dirichlet", "alpha": 0.3}),
    ("digits", {}, None, {"partition": "dirichlet", "limit": 9}),
    ("digits", {"test_percent": "0"}, None, {"partition": "equal", "limit": 5}),
    ("femnist", {}, "split.npz", {"partition": "writer"}),
    ("femnist", {"test_rows": "4"}, "split.npz", {"partition": "equal", "limit": 3}),
    ("femnist", {"test_percent": "20"}, "whole.npz", {"partition": "writer", "limit": 7}),
    ("femnist", {}, "whole.npz", {"partition": "dirichlet"}),
    ("femnist", {}, "nobody.npz", {"partition": "dirichlet", "alpha": 0.05}),
    ("femnist", {}, "leaf.json", {"partition": "writer"}),
    (LINE, {}, None, {"partition": "equal"}),
    (NOISE, {"net": "digits"}, None, {"partition": "equal"}),
]


@pytest.mark.parametrize(("name", "options", "file", "dealt"), CASES)
@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("seed", [0, 3])
def test_all_at_once_everybody_holds_what_it_would_load_alone(files, name, options, file, dealt, count, seed):
    """Given any shipped task, one that knows nothing of laboratories, any partition and any limit, when all nodes' rows are
    loaded at once, then each holds the bytes that it would load by itself, in that order, and the test rows are the same.
    """
    task = find_task(name, options)
    config = DataConfig(None if file is None else str(files / file), count=count, seed=seed, **dealt)
    community = task.load_all(replace(config, index=count - 1))
    assert len(community.parts) == count
    for index, part in enumerate(community.parts):
        if len(part) == 0:
            with pytest.raises(OperatorError, match="empty"):
                task.load(replace(config, index=index))
            continue
        alone = task.load(replace(config, index=index))
        assert np.array_equal(community.rows.inputs[part], alone.own.inputs)
        assert np.array_equal(community.rows.targets[part], alone.own.targets)
        assert np.all(np.diff(part) > 0)
        if alone.test is None:
            assert community.test is None
        else:
            assert np.array_equal(community.test.inputs, alone.test.inputs)
            assert np.array_equal(community.test.targets, alone.test.targets)
    everybody = np.concatenate(community.parts)
    assert len(np.unique(everybody)) == len(everybody)


@pytest.mark.parametrize("validation", [0.0, 0.2, 0.5])
def test_each_device_splits_its_rows_as_a_daemon_would(validation):
    config = tiny({"validation": validation}, seed=5)
    devices = load(config)
    dealt = find_task("digits", {}).load_all(config.data_config())
    for device, part in enumerate(dealt.parts):
        private = number(5, Draw.VALIDATION, device=device)
        training, held = split_validation(len(part), round(validation * 1e6), private)
        assert np.array_equal(devices.all_rows[device], part)
        assert np.array_equal(devices.training[device], part[training])
        assert np.array_equal(devices.validation[device], part[held])
        assert np.array_equal(devices.trained_on(device, split=True, round_=0), part[training])
        assert np.array_equal(devices.trained_on(device, split=False, round_=0), part)
    assert np.array_equal(devices.pool.inputs.numpy(), dealt.rows.inputs)
    assert np.array_equal(devices.pool.targets.numpy(), dealt.rows.targets)
    assert np.array_equal(devices.test.targets.numpy(), dealt.test.targets)
    assert devices.triggered is None


# -- adversaries --------------------------------------------------------------------------------------------------------------------


def test_adversaries_are_drawn_by_the_seed_and_more_of_them_are_those_and_others():
    few, more, others = (
        load(tiny(attack="noise", liars=share, seed=seed)).adversaries for share, seed in ((0.2, 1), (0.5, 1), (0.2, 2))
    )
    assert (len(few), len(more), len(others)) == (4, 10, 4)
    assert list(few) == sorted(few)
    assert set(few) < set(more)
    assert few != others
    assert load(tiny(attack="noise", liars=0.2, seed=1)).adversaries == few
    assert load(tiny()).adversaries == ()


@pytest.mark.parametrize("attack", ATTACKS)
def test_poisoned_rows_stand_behind_the_others_and_only_adversaries_train_on_them(attack):
    """Given any attack, when the rows are dealt, then all rows are where they were, and what adversaries poison of theirs is appended."""
    config = tiny(attack=attack, liars=0.3)
    devices, honest = load(config), load(tiny())
    end = len(honest.pool)
    assert torch.equal(devices.pool.inputs[:end], honest.pool.inputs)
    assert torch.equal(devices.pool.targets[:end], honest.pool.targets)
    poisons = attack in ("label-flip", "replacement", "backdoor", "edge-backdoor")
    assert set(devices.poisoned_rows) == (set(devices.adversaries) if poisons else set())
    for device in range(config.devices):
        for split in (True, False):
            rows = devices.trained_on(device, split=split, round_=ONSET)
            if device in devices.poisoned_rows:
                assert rows.min() >= end
                assert len(rows) == len(devices.all_rows[device])
            else:
                assert np.array_equal(rows, honest.trained_on(device, split=split, round_=ONSET))
    appended = np.concatenate([np.arange(0), *(devices.poisoned_rows[adversary] for adversary in sorted(devices.poisoned_rows))])
    assert np.array_equal(appended, np.arange(end, len(devices.pool)))
    for device, (validation, expected) in enumerate(zip(devices.validation, honest.validation, strict=True)):
        assert np.array_equal(validation, expected), device


@pytest.mark.parametrize("attack", ["label-flip", "replacement"])
def test_turned_labels(attack):
    devices = load(tiny(attack=attack, liars=0.3))
    for adversary, rows in devices.poisoned_rows.items():
        own = devices.all_rows[adversary]
        assert torch.equal(devices.pool.inputs[rows], devices.pool.inputs[own])
        assert torch.equal(devices.pool.targets[rows], 9 - devices.pool.targets[own])


def test_a_backdoor_marks_every_second_row_and_is_measured_where_the_class_is_another():
    devices = load(tiny(attack="backdoor", liars=0.3))
    for adversary, rows in devices.poisoned_rows.items():
        own = devices.all_rows[adversary]
        before, after = devices.pool.inputs[own].numpy(), devices.pool.inputs[rows].numpy()
        assert np.array_equal(after[::2], stamp(before[::2]))
        assert np.array_equal(after[1::2], before[1::2])
        assert set(devices.pool.targets[rows[::2]].tolist()) == {TARGET_CLASS}
        assert torch.equal(devices.pool.targets[rows[1::2]], devices.pool.targets[own[1::2]])
    others = devices.test.targets != TARGET_CLASS
    assert torch.equal(devices.triggered.targets, devices.test.targets[others])
    assert np.array_equal(devices.triggered.inputs.numpy(), stamp(devices.test.inputs[others].numpy()))
    assert np.all(devices.triggered.inputs.numpy()[:, -4:, -4:] == 255)


def test_a_slow_backdoor_trains_on_true_rows_until_its_time_and_aims_at_ones_on_their_side():
    devices = load(tiny(attack="edge-backdoor", liars=0.3))
    adversary = devices.adversaries[0]
    poisoned = devices.poisoned_rows[adversary]
    for round_, expected in ((0, devices.all_rows[adversary]), (ONSET - 1, devices.all_rows[adversary]), (ONSET, poisoned)):
        assert np.array_equal(devices.trained_on(adversary, split=False, round_=round_), expected)
    ones = devices.test.targets == EDGE_CLASS
    assert torch.equal(devices.triggered.targets, devices.test.targets[ones])
    assert torch.equal(devices.triggered.inputs, torch.rot90(devices.test.inputs[ones], dims=(-2, -1)))


# -- refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (tiny(devices=len(digits_labels())), "would hold no row"),
        (tiny(devices=900, partition="dirichlet", alpha=0.01), "raise --alpha"),
        (tiny(options=(("test_percent", "0"),)), "no test rows"),
        (tiny(partition="writer"), "writers"),
        (tiny(task=LINE, devices=2, attack="backdoor", liars=0.5), "trigger"),
    ],
    ids=["too many devices", "too much skew", "nothing to measure on", "no writers", "no images"],
)
def test_data_that_does_not_suffice_is_refused(config, words):
    with pytest.raises(OperatorError) as caught:
        load(config)
    assert words in str(caught.value) + caught.value.hint
    assert caught.value.code == "bad_data"
    assert caught.value.hint
