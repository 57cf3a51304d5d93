"""Scales and data: what all experiments of one call share."""

import msgspec
import pytest

from bflcd.errors import OperatorError
from bflcd.lab.config import check_config
from bflcd.lab.devices import load_devices
from bflcd.lab.scale import AT_WORK, BASES, DIGITS, MODELS, SCHEDULES, TEST_ROWS, ScaleName, make_plan
from bflcd.learn.task import find_task
from bflcd.learn.tasks.femnist import NETS
from tests.helpers.lab import CPU
from tests.helpers.learning import write_npz

SEEDS = (4, 5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_npz(folder / "writers.npz", rows=400, writers=40)
    write_npz(folder / "whole.npz", rows=400, writers=40, split=None)
    write_npz(folder / "nobody.npz", rows=400, writer=None)
    write_npz(folder / "many.npz", rows=1200, writers=1100, split=None, classes=62)
    return folder


@pytest.mark.parametrize("scale", ScaleName)
def test_without_data_there_are_the_digits(scale):
    plan = make_plan(scale, SEEDS)
    assert (plan.scale, plan.base, plan.seeds) == (scale, DIGITS, SEEDS)
    assert make_plan(scale, SEEDS, rounds=2, devices=30).base == msgspec.structs.replace(DIGITS, rounds=2, devices=30)


@pytest.mark.parametrize(
    ("scale", "file", "expected"),
    [
        (ScaleName.small, "writers.npz", {"partition": "writer", "devices": 39}),
        (ScaleName.small, "whole.npz", {"partition": "writer", "devices": 34}),
        (ScaleName.small, "nobody.npz", {"partition": "dirichlet", "devices": 100}),
        (ScaleName.small, "many.npz", {"partition": "writer", "devices": 100}),
        (ScaleName.medium, "nobody.npz", {"partition": "dirichlet", "devices": 300}),
        (ScaleName.medium, "many.npz", {"partition": "writer", "devices": 300}),
        (ScaleName.full, "writers.npz", {"partition": "writer", "devices": 39}),
        (ScaleName.full, "nobody.npz", {"partition": "dirichlet", "devices": 900}),
        (ScaleName.full, "many.npz", {"partition": "writer", "devices": 900}),
    ],
)
def test_data_is_dealt_by_writer_where_writers_are_known(files, scale, file, expected):
    """No more devices than writers with training rows: one of forty is all test rows in the first file; in the second, where no
    test rows are named, fifteen in a hundred writers are held out."""
    base = make_plan(scale, SEEDS, data=files / file).base
    network, classes = MODELS[scale], "62" if file == "many.npz" else "10"
    options = {"classes": classes, "model": network} | ({"test_rows": str(TEST_ROWS)} if scale is ScaleName.small else {})
    common = {"data": str(files / file), "options": tuple(options.items())}
    schedule = SCHEDULES[network] if scale is ScaleName.full else {"learning_rate": SCHEDULES[network]["learning_rate"]}
    assert base == msgspec.structs.replace(BASES[scale], **{**common, **schedule, **expected})
    if base.devices >= 100:
        check_config(base)


@pytest.mark.parametrize("file", ["writers.npz", "whole.npz"])
def test_so_many_devices_all_hold_rows(files, file):
    base = make_plan(ScaleName.small, SEEDS, data=files / file).base
    devices = load_devices(base, find_task(base.task, dict(base.options)), CPU)
    assert min(map(len, devices.all_rows)) > 0


def test_single_numbers_can_be_chosen(files):
    base = make_plan(ScaleName.full, SEEDS, data=files / "writers.npz", model="cnn", rounds=3, devices=12).base
    assert (base.rounds, base.devices, dict(base.options)["model"]) == (3, 12, "cnn")
    assert base.learning_rate == SCHEDULES["cnn"]["learning_rate"]
    assert make_plan(ScaleName.full, SEEDS, data=files / "writers.npz", rounds=3).base.rounds == 3


def test_medium_lies_between_small_and_full():
    """In devices, in those at work under attack, in rounds."""
    small, medium, full = (BASES[scale] for scale in (ScaleName.small, ScaleName.medium, ScaleName.full))
    assert (small.devices, medium.devices, full.devices) == (100, 300, 900)
    assert small.rounds < medium.rounds < full.rounds
    at_work = [AT_WORK[scale] * BASES[scale].devices for scale in ScaleName]
    assert at_work == pytest.approx([30, 60, 90])


def test_every_scale_and_every_network_that_can_be_named_is_described():
    assert set(SCHEDULES) == set(NETS)
    assert set(BASES) == set(MODELS) == set(AT_WORK) == set(ScaleName)


@pytest.mark.parametrize("scale", ScaleName)
def test_under_attack_enough_devices_are_at_work_for_a_committee(scale):
    plan = make_plan(scale, SEEDS)
    digits = AT_WORK[ScaleName.small]  # without data there are a hundred devices at every scale
    assert plan.under_attack == msgspec.structs.replace(plan.base, active=digits)
    check_config(plan.under_attack)
    base = msgspec.structs.replace(BASES[scale], active=AT_WORK[scale])
    check_config(base)
    assert base.at_work >= 4 * base.seats


@pytest.mark.parametrize(("name", "code"), [("absent.npz", "missing_data"), ("broken.npz", "bad_data")])
def test_data_that_cannot_be_read_is_refused(files, name, code):
    (files / "broken.npz").write_bytes(b"no archive")
    with pytest.raises(OperatorError) as caught:
        make_plan(ScaleName.small, SEEDS, data=files / name)
    assert caught.value.code == code


def test_relative_paths_are_made_absolute(files, monkeypatch):
    monkeypatch.chdir(files)
    base = make_plan(ScaleName.small, SEEDS, data=type(files)("writers.npz")).base
    assert base.data == str(files / "writers.npz")
