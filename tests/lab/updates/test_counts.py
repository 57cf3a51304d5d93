"""Label counts from the last layer: exact where nothing is unknown, and near where it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bflcd.lab.engine.base import Pace
from bflcd.lab.updates.counts import attack_labels, count_labels, on_simplex, reach, rounded, solve, steps_of
from bflcd.lab.updates.network import Network
from bflcd.learn.private.mechanism import Mechanism
from tests.helpers.updates import CPU, ONE_STEP, published_scene


def blank_head(scene):
    """The same updates, from a model that says the same of every row: its last layer is zero."""
    network = Network(scene.task, CPU)
    head = network.head()
    model = scene.first.clone()
    model[head.start :] = 0  # the biases of the last layer and, behind them, its weights
    updates = []
    for one in scene.updates:
        blank = replace(one, model=model)
        (update,) = scene.engine.train(model, [blank.trainee(scene.parts[one.device], 1)], one.pace)
        updates.append(replace(blank, update=update))
    return replace(scene, updates=tuple(updates), first=model)


def test_counts_are_exact_where_the_model_says_the_same_of_all_rows():
    """Given one step from a model that knows nothing, when the last layer's biases are read, then each count is that of the rows."""
    scene = blank_head(published_scene(ONE_STEP, devices=3))
    network = Network(scene.task, CPU)
    for one in scene.updates:
        true = np.bincount(scene.labels[scene.parts[one.device]], minlength=10)
        assert count_labels(scene, network, one).tolist() == true.tolist()


@pytest.mark.parametrize("pace", [Pace(0.02, 0.9, 8, 1), Pace(0.02, 0.9, 32, 1, calibration=0.3)])
def test_several_steps_and_calibration_are_told_by_training_in_thought(pace):
    """Given updates that are no single plain step, then counts are guessed better than by the public shares."""
    (found,) = attack_labels(blank_head(published_scene(pace, devices=4))).values()
    assert [one.guessed.sum() for one in found] == [one.true.sum() for one in found] == [24] * 4
    off, usual = (
        sum(np.abs(guess(one) - one.true).sum() for one in found) for guess in (lambda o: o.guessed, lambda o: o.public)
    )
    assert off < 0.7 * usual


def test_what_is_clipped_and_noisy_is_still_read_by_its_mechanism():
    scene = published_scene(ONE_STEP, devices=2, mechanism=Mechanism(0, 1.0, 1, 1))
    for one in next(iter(attack_labels(scene).values())):
        assert np.abs(one.guessed - one.true).sum() < np.abs(one.public - one.true).sum()


def test_of_noise_only_what_everybody_knows_is_guessed():
    scene = published_scene(ONE_STEP, devices=2, mechanism=Mechanism(500_000, 1.0, 1, 1))
    for one in next(iter(attack_labels(scene).values())):
        assert one.guessed.tolist() == one.public.tolist()


def test_small_parts():
    assert on_simplex(np.array([0.5, 0.5, -1.0])).tolist() == [0.5, 0.5, 0.0]
    assert on_simplex(np.array([3.0, 0.0])).tolist() == [1.0, 0.0]
    assert rounded(np.array([0.5, 0.3, 0.2]), 4).tolist() == [2, 1, 1]
    assert reach(3, 0.0) == 3.0
    assert reach(2, 0.5) == 2.5
    effects = 0.5 - np.eye(2)
    assert np.allclose(solve(effects, effects @ [0.9, 0.1], np.array([0.5, 0.5]), 1e-6), [0.9, 0.1])
    assert np.allclose(solve(effects, effects @ [0.9, 0.1], np.array([0.5, 0.5]), 1e6), [0.5, 0.5])


def test_steps_are_those_that_training_takes():
    scene = published_scene(Pace(0.1, 0.9, 10, 2), devices=1)
    assert steps_of(scene.updates[0], 24) == 6
    assert steps_of(replace(scene.updates[0], mechanism=Mechanism(1000, 1.0, 1, 4)), 24) == 4


class Headless:
    """A network without biases at its end."""

    def head(self):
        return None


def test_a_network_without_biases_at_its_end_tells_no_counts():
    scene = published_scene(ONE_STEP, devices=1)
    assert count_labels(scene, Headless(), scene.updates[0]) is None
    assert Network(scene.task, CPU).head() is not None
    assert torch.equal(scene.first[Network(scene.task, CPU).head()], torch.zeros(10)), "biases begin with zero"
