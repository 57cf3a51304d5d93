"""Shadow updates: what they hold, and that they find who memorises and nothing where there is nothing."""

from dataclasses import replace

import numpy as np
import torch

from bflcd.lab.engine.base import Pace
from bflcd.lab.updates.membership import Verdicts, advantage, auc
from bflcd.lab.updates.references import attack_model
from bflcd.lab.updates.shadows import attack_updates, confidence, draw_all, draw_candidates, shadow_rows
from bflcd.learn.private.mechanism import Mechanism
from tests.helpers.updates import ONE_STEP, published_scene


def test_candidates_are_pairs_of_one_class_and_no_row_comes_twice():
    labels = np.array([0, 0, 1, 2, 0, 0, 1, 3])
    found = draw_candidates(labels, np.arange(4), np.arange(4, 8), 5, np.random.default_rng(0))
    assert labels[found.held].tolist() == labels[found.others].tolist()
    assert sorted(found.held.tolist()) == [0, 1, 2], "of class 2 there is no other"
    assert sorted(found.others.tolist()) == [4, 5, 6]
    assert found.truth.tolist() == [True] * 3 + [False] * 3
    assert len(draw_candidates(labels, np.arange(4), np.arange(4, 8), 1, np.random.default_rng(0)).held) == 1


def test_a_shadow_has_the_devices_class_counts_and_one_of_each_pair():
    scene = published_scene(ONE_STEP)
    labels, own = scene.labels, scene.parts[0]
    candidates = draw_all(scene, 6)[0]
    rows, inside = shadow_rows(labels, own, scene.public, candidates, 16, rng=np.random.default_rng(0))
    assert (inside.sum(0) == 8).all()
    assert (inside[:, :6] ^ inside[:, 6:]).all()
    for held, flags in zip(rows, inside, strict=True):
        assert np.bincount(labels[held], minlength=10).tolist() == np.bincount(labels[own], minlength=10).tolist()
        assert np.isin(candidates.records, held).tolist() == flags.tolist()
        assert not np.isin(held, np.setdiff1d(own, candidates.held)).any()


def test_no_public_row_is_asked_about_twice():
    found = draw_all(published_scene(ONE_STEP, devices=3), 8)
    others = np.concatenate([one.others for one in found.values()])
    assert len(np.unique(others)) == len(others) == 24


def test_confidence_is_the_odds_of_the_true_class():
    losses = torch.tensor([0.1, 1.0, 5.0, 0.0], dtype=torch.float64)
    found = confidence(losses)
    chances = torch.exp(-losses[:3])
    assert torch.allclose(found[:3], torch.log(chances / (1 - chances)))
    assert torch.isfinite(found).all()


MEMORISER = Pace(0.1, 0.9, 8, 30)


def test_a_memoriser_is_found():
    """Given devices that go over their few rows thirty times, then shadows tell almost surely which rows they were."""
    scene = published_scene(MEMORISER, devices=3, rows=16)
    by_round, together = attack_updates(scene, draw_all(scene, 8), 32, lambda: None)
    assert auc(together).value > 0.9
    assert advantage(together).value > 0.5
    assert by_round[0].scores.tolist() == together.scores.tolist(), "one round is all rounds"


def test_of_a_random_update_nothing_is_told():
    """Given updates that don't come from rows, then the attack does no better than chance."""
    scene = published_scene(ONE_STEP, devices=6)
    generator = torch.Generator().manual_seed(5)
    random = [replace(one, update=torch.randn(one.update.shape, generator=generator) * one.update.std()) for one in scene.updates]
    scene = replace(scene, updates=tuple(random))
    _, together = attack_updates(scene, draw_all(scene, 10), 32, lambda: None)
    found = auc(together)
    assert abs(found.value - 0.5) < 0.2, "three standard errors"


def test_noise_hides_a_member():
    """Given one step on few rows, when it is plain, then the rows are found; with the noise of epsilon about 1, not."""
    found = []
    for mechanism in (None, Mechanism(5000, 1.0, 1, 1)):
        scene = published_scene(ONE_STEP, devices=4, mechanism=mechanism)
        _, together = attack_updates(scene, draw_all(scene, 10), 32, lambda: None)
        found.append(auc(together).value)
    assert found[0] > 0.75
    assert found[1] < 0.7


def test_verdicts_of_several_rounds_are_together():
    scene = published_scene(ONE_STEP, rounds=(0, 3))
    told = []
    by_round, together = attack_updates(scene, draw_all(scene, 4), 16, lambda: told.append(1))
    assert set(by_round) == {0, 3}
    assert told == [1, 1]
    assert np.allclose(by_round[0].scores + by_round[3].scores, together.scores)


def test_the_last_model_is_asked_about_all_candidates():
    scene = published_scene(MEMORISER, devices=2, rows=16)
    candidates = draw_all(scene, 8)
    found = attack_model(scene, candidates)
    assert isinstance(found, Verdicts)
    assert (found.held.sum(), (~found.held).sum()) == (16, 16)
    assert auc(found).value > 0.6, "the mean of two memorisers knows their rows"
