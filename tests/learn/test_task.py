"""Tasks: found by name, options checked, shipped models as specified."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bflcd.errors import OperatorError
from bflcd.learn import task as task_module
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import tensors_of
from bflcd.learn.task import find_task
from bflcd.learn.tasks.nets import SmallCnn, halve, image_batch
from bflcd.learn.training import initial_model
from bflcd.wire.tensors import element_counts
from tests.helpers.learning import write_npz


@pytest.mark.parametrize(
    "factory",
    ["nothing", "no.such.module:Task", "bflcd.learn.task:Nothing", "os:system", "bflcd.learn.task:find_task", ":", "os:", ":x"],
)
def test_unknown_tasks_are_refused_and_never_called(factory):
    with pytest.raises(OperatorError) as caught:
        find_task(factory, {})
    assert caught.value.code == "unknown_task"
    assert "module:attribute" in caught.value.hint


def test_entry_points_of_other_packages_are_found(monkeypatch):
    entry = SimpleNamespace(value="bflcd.learn.tasks.digits:DigitsTask")
    monkeypatch.setattr(
        task_module, "entry_points", lambda **wanted: [entry] if wanted == {"group": "bflcd.tasks", "name": "own"} else []
    )
    assert type(find_task("own", {})).__name__ == "DigitsTask"


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        ("digits", {"colour": "red"}),
        ("digits", {"test_percent": "101"}),
        ("digits", {"test_percent": "-1"}),
        ("digits", {"test_percent": "٣"}),
        ("femnist", {"model": "vit"}),
        ("femnist", {"classes": "9" * 30}),
        ("femnist", {"transpose": ""}),
    ],
)
def test_senseless_options_are_refused(factory, options):
    with pytest.raises(OperatorError, match=next(iter(options))) as caught:
        find_task(factory, options)
    assert caught.value.code == "bad_option"


def test_classes_are_pinned_from_the_data(tmp_path):
    path = write_npz(tmp_path / "d.npz", classes=7)
    task = find_task("femnist", {})
    assert task.pin(DataConfig(str(path)))["classes"] == "7"
    assert find_task("femnist", task.pin(None)).build_model()(torch.zeros(1, 1, 28, 28)).shape == (1, 7)
    assert find_task("femnist", {}).pin(None)["classes"] == "62"


def test_the_small_network_has_the_published_size():
    spec, model = initial_model(find_task("femnist", {"classes": "10"}), 0)
    assert element_counts(spec) == (0, 215_370)
    assert initial_model(find_task("femnist", {"classes": "10"}), 0) == (spec, model)
    assert initial_model(find_task("femnist", {"classes": "10"}), 1)[1] != model


def test_the_fast_network_computes_what_the_plain_one_does():
    torch.manual_seed(0)
    fast = SmallCnn(28, 10)
    images = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    x = images.float().div(255).unsqueeze(1)
    plain = functional.max_pool2d(functional.relu(fast.conv1(x)), 2)
    plain = functional.max_pool2d(functional.relu(fast.conv2(plain)), 2)
    plain = fast.out(functional.relu(fast.hidden(plain.flatten(1))))
    torch.testing.assert_close(fast(image_batch(images)), plain)
    assert image_batch(images).stride() == (784, 1, 28, 1)
    with torch.inference_mode():
        torch.testing.assert_close(fast(image_batch(images)), plain)
        torch.testing.assert_close(halve(x), functional.max_pool2d(x, 2))


def test_alexnet_takes_28_by_28():
    task = find_task("femnist", {"model": "alexnet", "classes": "62"})
    assert task.build_model()(torch.zeros(2, 1, 28, 28)).shape == (2, 62)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    task = find_task("digits", {"test_percent": "0"})
    data = task.load(DataConfig())
    reference = load_digits()
    assert data.test is None
    np.testing.assert_array_equal(data.own.targets, reference.target)
    np.testing.assert_array_equal(np.rint(data.own.inputs / (255 / 16)), reference.images)
    batch = task.transform(torch.from_numpy(data.own.inputs))
    assert abs(float(batch.mean())) < 0.02
    assert abs(float(batch.std()) - 1) < 0.02


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Linear(2, 2).double(), "float64"),
        (nn.Identity(), "0 tensors"),
        (nn.ParameterList([nn.Parameter(torch.empty(0))]), "empty"),
    ],
)
def test_models_that_cannot_travel_are_refused(module, words):
    with pytest.raises(OperatorError, match=words) as caught:
        tensors_of(module)
    assert caught.value.code == "bad_model"


def test_tied_weights_are_refused():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    with pytest.raises(OperatorError, match="share"):
        tensors_of(module)
