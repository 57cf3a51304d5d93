"""Rows from an update: training in thought is the device's, one row comes back, noise hides it, and likeness is measured right."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bflcd.lab.engine.base import Pace
from bflcd.lab.updates import inversion
from bflcd.lab.updates.inversion import beside, course_of, few_rows, rebuild, variation
from bflcd.lab.updates.likeness import MOST_DECIBELS, decibels, match, nearness, squares, structure
from bflcd.lab.updates.network import Network
from bflcd.learn.private.mechanism import Mechanism
from tests.helpers.updates import CPU, ONE_STEP, published_scene


@pytest.mark.parametrize(
    ("pace", "mechanism"),
    [
        (ONE_STEP, None),
        (Pace(0.1, 0.9, 4096, 3, calibration=0.7), None),
        (Pace(0.1, 0.9, 4096, 1), Mechanism(0, 1.0, 1, 2)),
    ],
)
def test_training_in_thought_is_what_the_device_does(pace, mechanism):
    """Given all rows in each step, so that no order counts, and no noise, then the update is the same but for rounding."""
    scene = published_scene(pace, devices=1, mechanism=mechanism)
    network, published, rows = Network(scene.task, CPU), scene.updates[0], scene.engine.gather(scene.parts[0])
    found = network.train(published.model, network.inputs(rows), rows.targets, course_of(published, rows.targets, 10))
    assert torch.allclose(found, published.update, atol=2e-5)


def test_steps_are_cut_as_training_cuts_them():
    course = course_of(published_scene(Pace(0.1, 0.9, 10, 2), devices=1).updates[0], torch.arange(21) % 10, 10)
    assert [len(step) for step in course.steps] == [10, 11, 10, 11]


def test_one_row_comes_back_plainly_and_not_through_noise(monkeypatch):
    """Given an update of one row, when it is plain, then the row is rebuilt far nearer than any public row is; with the noise of a
    budget, nothing of it.
    """
    monkeypatch.setattr(inversion, "TURNS", 400)
    plain, noisy = (published_scene(ONE_STEP, devices=1, mechanism=one) for one in (None, Mechanism(3000, 1.0, 1, 1)))
    found = [rebuild(scene, *few_rows(scene, scene.updates[0], 1)) for scene in (plain, noisy)]
    assert found[0].found[0].decibels > 30 > found[0].public[0].decibels
    assert found[0].nearer == 1.0
    assert found[1].found[0].decibels < found[1].usual[0].decibels
    assert found[1].nearer == 0.0
    assert np.array_equal(found[0].rows, found[1].rows)


def test_few_rows_are_some_of_the_devices(monkeypatch):
    scene = published_scene(ONE_STEP, devices=2)
    published, rows = few_rows(scene, scene.updates[1], 4)
    assert np.isin(rows, scene.parts[1]).all()
    assert len(rows) == 4
    assert replace(published, update=scene.updates[1].update) == scene.updates[1]
    monkeypatch.setattr(inversion, "TURNS", 3)
    found = rebuild(scene, published, rows)
    assert found.rows.shape == found.guesses.shape == found.nearest.shape == (4, 8, 8)
    assert len(found.found) == len(found.public) == len(found.usual) == 4


def test_guesses_are_matched_within_their_class():
    rows = np.array([[0.0], [1.0]])
    found = beside(
        0,
        rows,
        torch.tensor([0, 1]),
        (np.array([[0.9], [0.1]]), torch.tensor([0, 1])),
        (np.array([[0.0], [2.0]]), torch.tensor([1, 0])),
    )
    assert found.guesses.tolist() == [[0.9], [0.1]], "the nearer ones have other labels"
    assert found.found[0].structure is None
    assert found.public[0].decibels == MOST_DECIBELS
    assert found.nearest.tolist() == [[0.0], [0.0]]


def test_each_guess_is_of_one_row_nearest_pairs_first():
    assert match(np.array([[0.0, 1.0], [0.5, 9.0]])).tolist() == [0, 1]
    assert match(np.array([[0.5, 0.1], [1.0, 2.0]])).tolist() == [1, 0]
    assert match(np.array([[np.inf, 1.0], [np.inf, 2.0]])).tolist() == [-1, 0]
    assert squares(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]])).tolist() == [[2.0]]


def test_likeness_of_the_same_and_of_the_opposite():
    image = np.random.default_rng(0).random((8, 8))
    assert structure(image, image, 1.0) == pytest.approx(1.0)
    assert structure(image, 1 - image, 1.0) < 0
    assert structure(image[None], image[None] + 0.01, 1.0) == pytest.approx(1.0, abs=0.01)
    assert structure(image[0], image[0], 1.0) is None
    assert nearness(image, image, 1.0).decibels == MOST_DECIBELS
    assert decibels(0.01, 1.0) == pytest.approx(20.0)
    assert decibels(0.04, 2.0) == pytest.approx(20.0)


def test_variation_is_of_images():
    assert float(variation(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))) == 1.0
    assert float(variation(torch.ones(2, 5))) == 0.0
