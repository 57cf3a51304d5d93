"""One suite for every engine: training is the daemon's own, scoring gives its integers, whatever is done at once."""

from functools import cache

import numpy as np
import pytest
import torch

from bflcd.lab.engine.base import Engine, Pace, Trainee, _by_member
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.engine.stacked import StackedEngine
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.protocol import ScoreJob, UpdateToScore
from bflcd.learn.scoring import ROW_LOSS_LIMIT, Scorer, _micro_nats, evaluate
from bflcd.learn.training import DeviceRows, never
from bflcd.params import MILLION
from bflcd.types import Digest, MicroNats, Round
from bflcd.wire.tensors import join_payload
from tests.helpers.lab import CPU, NETS, Scene, daemons_update, make_scene

ENGINES = {
    "loop, 1 thread": lambda task, pool: LoopEngine(task, pool, threads=1),
    "loop, 2 threads": lambda task, pool: LoopEngine(task, pool, threads=2),
    "stacks of 1": lambda task, pool: StackedEngine(task, pool, stack=1),
    "stacks of 3": lambda task, pool: StackedEngine(task, pool, stack=3),
    "one stack": lambda task, pool: StackedEngine(task, pool, stack=100),
}

TOLERANCE = {"atol": 2e-6, "rtol": 0.0}
"""Of an update whose largest coordinates are around 0.1: float32 sums in another order."""

MICRO_NATS = {"abs": 2, "rel": 1e-6}
"""Of a gain or a loss, the mean over a member's rows: a hundred nats are known to a hundred."""

SIZES = (9, 17, 1, 8, 30, 16)
"""With batches of 8: one row, a batch, a batch and one row, which joins it, two, two and one, and a last batch of 6."""

PACE = Pace(0.05, 0.9, 8, 2, 0.75)

LARGE = {
    "cnn": ((5, 1, 8), Pace(0.05, 0.9, 4, 2, 1.0)),
    "light": ((5, 1, 8), Pace(0.05, 0.9, 4, 2, 1.0)),
    "alexnet": ((3, 1), Pace(0.01, 0.9, 2, 1)),
}


@cache
def scene_of(net: str) -> Scene:
    sizes, pace = LARGE.get(net, (SIZES, PACE))
    return make_scene(net, sizes, pace)


@cache
def expected_of(net: str) -> torch.Tensor:
    """Updates by the daemon's training; with dropout, whose masks it draws from another stream, by a loop of one thread."""
    scene = scene_of(net)
    if NETS[net].dropout:
        return LoopEngine(scene.task, scene.pool, threads=1).train(scene.model, scene.trainees, scene.pace)
    return torch.stack([daemons_update(scene, trainee) for trainee in scene.trainees])


@pytest.fixture(params=ENGINES)
def make(request):
    return ENGINES[request.param]


@pytest.mark.parametrize("net", NETS)
def test_an_update_is_what_the_daemon_would_have_trained(make, net):
    scene = scene_of(net)
    updates = make(scene.task, scene.pool).train(scene.model, scene.trainees, scene.pace)
    assert updates.abs().amax(1).min() > 1e-3, "everybody moves"
    torch.testing.assert_close(updates, expected_of(net), **TOLERANCE)


@pytest.mark.parametrize("net", ["digits", "dropout", "group norm, dropout", "mixes rows inside"])
def test_it_depends_neither_on_the_company_nor_on_the_order(make, net):
    """Given devices in any order and company, when they are trained again on the same engine, then each offers the same."""
    scene = scene_of(net)
    engine = make(scene.task, scene.pool)
    order = [4, 0, 5, 2, 1, 3]
    shuffled = engine.train(scene.model, [scene.trainees[i] for i in order], scene.pace)
    torch.testing.assert_close(shuffled, expected_of(net)[order], **TOLERANCE)
    for number in (2, 4):
        alone = engine.train(scene.model, [scene.trainees[number]], scene.pace)
        torch.testing.assert_close(alone[0], expected_of(net)[number], **TOLERANCE)


def test_threads_change_no_bit():
    scene = scene_of("digits")
    found = [LoopEngine(scene.task, scene.pool, threads=n).train(scene.model, scene.trainees, scene.pace) for n in (1, 2, 3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("net", ["digits", "dropout", "group norm, dropout"])
def test_the_seed_draws_the_order_of_rows_and_the_dropout(make, net):
    scene = scene_of(net)
    engine = make(scene.task, scene.pool)
    trainee = scene.trainees[4]
    twice = engine.train(scene.model, [trainee, trainee, Trainee(trainee.rows, trainee.seed + 1)], scene.pace)
    torch.testing.assert_close(twice[0], twice[1], **TOLERANCE)
    assert (twice[0] - twice[2]).abs().max() > 1e-3


def test_nobody_to_train(make):
    scene = scene_of("digits")
    engine = make(scene.task, scene.pool)
    assert engine.train(scene.model, [], scene.pace).shape == (0, engine.weights)


def test_the_model_that_came_in_stays_as_it_was(make):
    scene = scene_of("digits")
    before = scene.model.clone()
    engine = make(scene.task, scene.pool)
    engine.train(scene.model, scene.trainees, scene.pace)
    engine.score(scene.model, expected_of("digits"), [np.arange(5)], 4)
    assert torch.equal(scene.model, before)
    torch.testing.assert_close(expected_of("digits")[0], daemons_update(scene, scene.trainees[0]))


# -- scoring ------------------------------------------------------------------------------------------------------------------

MEMBERS = (1, 40, 300, 7)
"""Rows of each member: one, a few, and more than a pass of 256."""


def members_of(scene: Scene) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [np.sort(rng.integers(0, len(scene.pool), size)) for size in MEMBERS]


def daemons_scores(scene: Scene, updates: torch.Tensor, member: np.ndarray, damping: int, **held):
    """What a member's own worker would write on its card."""
    tensors = tensors_of(scene.task.build_model())
    flat = FlatModel(scene.task.build_model(), tensors, CPU)
    candidates = tuple(
        UpdateToScore(Digest(number.to_bytes(32, "big")), join_payload(np.zeros(0, np.int64), u.numpy(), tensors, label="u"), "u")
        for number, u in enumerate(updates)
    )
    rows = DeviceRows(scene.pool.inputs[member], scene.pool.targets[member])
    return Scorer(flat, scene.task, rows).score(ScoreJob(Round(0), scene.payload, candidates, 1, 2**20, damping, **held), never)


@pytest.mark.parametrize("net", ["digits", "light", "groups", "group norm", "dropout", "mixes rows in training", "words"])
def test_scores_are_the_integers_of_the_daemons_cards(make, net):
    scene, updates, damping = scene_of(net), expected_of(net), 2
    updates = torch.stack([updates[0], updates[1], -updates[0], 30 * updates[1]])
    members = members_of(scene)
    engine = make(scene.task, scene.pool)
    found = engine.score(scene.model, updates, members, damping)
    largest = float(engine.losses(scene.model + updates / damping, scene.pool)[0].max())
    known_to = {"abs": max(2, largest * 2**-22 * MILLION), "rel": 1e-6}  # a logit of float32 is known to its last two bits
    for line, member in enumerate(members):
        card = daemons_scores(scene, updates, member, damping)
        assert found.base_losses[line] == pytest.approx(card.base_loss, **MICRO_NATS)
        assert found.base_accuracies[line] == card.base_accuracy
        assert found.gains[line, :3].tolist() == pytest.approx([score.gain for score in card.scores[:3]], **MICRO_NATS)
        assert found.gains[line, 3] == pytest.approx(card.scores[3].gain, **known_to), "thirty times an update"
        assert found.accuracies[line].tolist() == [score.accuracy for score in card.scores]
        assert found.costs[line].tolist() == pytest.approx([score.cost for score in card.scores], abs=20)
    assert found.gains.shape == found.accuracies.shape == (len(members), len(updates))
    assert found.gains.dtype == np.int64


@pytest.mark.parametrize("balanced", [False, True])
def test_scores_are_held_as_the_daemons_hold_them(make, balanced):
    """Given a step limit and a row limit, then the gains are those of the daemons' cards under the same limits, of rows or classes."""
    scene, updates = scene_of("digits"), expected_of("digits")
    updates = torch.stack([updates[0], 50 * updates[1]])
    members, row_limit = members_of(scene), MicroNats(300_000)
    limit = int(float(updates[0].norm()) * 2048)
    found = make(scene.task, scene.pool).score(
        scene.model, updates, members, 2, limit=limit, row_limit=row_limit, balanced=balanced
    )
    free = make(scene.task, scene.pool).score(scene.model, updates, members, 2)
    for line, member in enumerate(members):
        card = daemons_scores(scene, updates, member, 2, limit=limit, row_limit=row_limit, balanced=balanced)
        assert found.gains[line].tolist() == pytest.approx([score.gain for score in card.scores], **MICRO_NATS)
    assert np.abs(found.gains).max() <= row_limit
    assert np.all(found.gains[:, 1] != free.gains[:, 1])


def test_what_repeats_the_last_step_is_measured_as_the_daemons_do(make):
    """Given a last step, then offers that repeat it, undo it, or have little of it gain what they do on the daemons' cards."""
    scene, updates = scene_of("digits"), expected_of("digits")
    step = updates[1]
    offers = torch.stack([updates[0], step + 0.1 * updates[0], -step, 3 * step])
    members, row_limit = members_of(scene), MicroNats(300_000)
    limit = int(float(step.norm()) * 2048)
    held = {"limit": limit, "row_limit": row_limit, "balanced": True}
    found = make(scene.task, scene.pool).score(scene.model, offers, members, 2, step=step, **held)
    tensors = tensors_of(scene.task.build_model())
    before = join_payload(np.zeros(0, np.int64), (scene.model - step).numpy(), tensors, label=None)
    for line, member in enumerate(members):
        card = daemons_scores(scene, offers, member, 2, before=before, fresh=True, **held)
        assert found.gains[line].tolist() == pytest.approx([score.gain for score in card.scores], abs=60)
    whole = make(scene.task, scene.pool).score(scene.model, offers, members, 2, **held)
    assert np.all(whole.gains[:, 2] == found.gains[:, 2])
    assert np.any(whole.gains[:, 1] != found.gains[:, 1])


def test_a_zero_update_gains_exactly_nothing(make):
    """Given more updates than are scored at once, when one in each pass is nothing, then its gain is 0 and its accuracy the base's."""
    scene = scene_of("digits")
    check_zeros(make(scene.task, scene.pool), scene)


def test_a_zero_update_gains_exactly_nothing_in_bf16():
    scene = scene_of("digits")
    check_zeros(StackedEngine(scene.task, scene.pool, precision="bf16"), scene)


class Wavering(LoopEngine):
    """Rounds each model of a stack otherwise, as a GPU may that splits a product among its processors."""

    def losses(self, models: torch.Tensor, rows: DeviceRows) -> tuple[torch.Tensor, torch.Tensor]:
        losses, right = super().losses(models, rows)
        return losses + 1e-4 * torch.arange(len(models), dtype=losses.dtype)[:, None], right


def test_a_zero_update_gains_exactly_nothing_where_equal_models_are_not_rounded_alike():
    scene = scene_of("digits")
    check_zeros(Wavering(scene.task, scene.pool), scene)


def check_zeros(engine: Engine, scene: Scene) -> None:
    updates = expected_of("digits")[[0, 1] * 35].clone()
    zeros = [0, 40, 69]
    updates[zeros] = 0.0
    found = engine.score(scene.model, updates, members_of(scene), 4)
    assert np.array_equal(found.gains[:, zeros], np.zeros((4, 3)))
    assert np.array_equal(found.accuracies[:, zeros], np.repeat(found.base_accuracies[:, None], 3, axis=1))
    assert np.count_nonzero(found.gains[:, 1:40]) == 4 * 39


def test_no_update_at_all_leaves_the_base(make):
    scene = scene_of("digits")
    engine = make(scene.task, scene.pool)
    found = engine.score(scene.model, torch.zeros((0, engine.weights)), members_of(scene), 4)
    assert found.gains.shape == found.accuracies.shape == (4, 0)
    assert np.all(found.base_losses > 0)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf"), 3e38])
def test_a_model_that_is_not_finite_has_bounded_losses(make, broken):
    scene = scene_of("digits")
    engine = make(scene.task, scene.pool)
    losses, right = engine.losses(torch.stack([scene.model, torch.full_like(scene.model, broken)]), scene.pool)
    assert losses.dtype == torch.float64
    assert right.dtype == torch.bool
    assert losses.shape == right.shape == (2, len(scene.pool))
    assert bool((losses.abs() <= ROW_LOSS_LIMIT).all())
    assert float(losses[0].mean()) < 10 < float(losses[1].abs().mean())


def test_gains_are_held_to_what_a_card_can_say():
    """Given losses at both bounds, as a task with losses below zero may have, then a mean beyond 1000 nats is cut, as in a worker."""
    limit = ROW_LOSS_LIMIT
    losses = torch.tensor([[limit, limit, limit], [-limit, -limit, limit]], dtype=torch.float64)
    found = _by_member(losses, torch.ones((2, 3), dtype=torch.bool), torch.zeros(3, dtype=torch.int64), [2, 1])
    assert found.gains.tolist() == [[_micro_nats(losses[0, :2] - losses[1, :2])], [_micro_nats(losses[0, 2:] - losses[1, 2:])]]


def test_measuring_is_the_daemons_evaluation(make):
    scene = scene_of("digits")
    tensors = tensors_of(scene.task.build_model())
    expected = evaluate(FlatModel(scene.task.build_model(), tensors, CPU), scene.task, scene.pool, scene.payload, never)
    found = make(scene.task, scene.pool).measure(scene.model, scene.pool)
    assert int(found.accuracy * 1e6 + 0.5) // 1 == pytest.approx(expected.accuracy, abs=1)
    assert found.loss * 1e6 == pytest.approx(expected.loss, **MICRO_NATS)
    assert found.rows == len(scene.pool)


def test_rows_are_gathered_in_the_order_asked_for(make):
    scene = scene_of("digits")
    engine: Engine = make(scene.task, scene.pool)
    found = engine.gather(np.array([5, 0, 5]))
    assert torch.equal(found.inputs, scene.pool.inputs[[5, 0, 5]])
    assert torch.equal(found.targets, scene.pool.targets[[5, 0, 5]])
