"""An attacker's worker: what it offers and says in the place of the truth, and that an honest one does not."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch

from bflcd.errors import OperatorError, PeerError
from bflcd.learn.adversary import Adversary, asker_of, poisoned, turn_of
from bflcd.learn.attacks import ATTACKS, AttackConfig, LabelFlip, Noise, find_attack
from bflcd.learn.client import WorkerClient, describe_task
from bflcd.learn.data import DataConfig
from bflcd.learn.lies.cards import DEFAMED_GAIN
from bflcd.learn.lies.gauge import Gauge
from bflcd.learn.messages import Setup, frame_of, job_of, read_as
from bflcd.learn.protocol import (
    NORM_SCALE_BITS,
    AttackContext,
    Judging,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    UpdateScore,
    UpdateToScore,
)
from bflcd.learn.questions.asker import Turn
from bflcd.learn.task import Dataset, Rows, find_task
from bflcd.learn.training import DeviceRows, initial_model
from bflcd.types import Digest, MicroNats, NodeId, Round
from bflcd.wire.tensors import VALUE_LIMIT, split_payload, update_label, uploader_of
from tests.helpers.learning import SPEC, payload, task_spec

CHAIN = Digest(bytes([9]) * 32)
ME, FRIEND, STRANGER = (NodeId(bytes([number]) * 32) for number in (1, 2, 3))
ADVERSARIES = (ME, FRIEND)
CONTEXT = AttackContext(trainers=10, conspirators=2, seed=77)
HONEST = np.array([1.0, -2.0, 3.0, 0.5, -0.5, 1.5, 2.0, -1.0, 4.0], np.float32)
NO_ROWS = DeviceRows(torch.zeros(0), torch.zeros(0))


def label_of(node, round_=0):
    return update_label(CHAIN, Round(round_), node)


def train_job(round_=0, *, node=ME, seed=3, context=CONTEXT, model=None):
    return TrainJob(Round(round_), payload(np.zeros(9)) if model is None else model, seed, label_of(node, round_), context)


def trained(job, weights=HONEST):
    return TrainResult(payload(weights, label=job.label, count=6), 48, 0.25, 0.1)


def forged(config, job=None, weights=HONEST, adversary=None):
    """The weights that an adversary offers for an update with `weights`, whose claims must stay."""
    job = job or train_job()
    honest = trained(job, weights)
    offered = (adversary or Adversary(config, SPEC, NO_ROWS)).forge(honest, job, job.attack)
    counters, found = split_payload(offered.update, SPEC, label=job.label)
    assert counters.tolist() == [6]
    assert replace(offered, update=b"") == replace(honest, update=b"")
    return found


# -- forging --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "strength", "offered"),
    [("sign-flip", None, HONEST * -4), ("ipm", 2.0, HONEST * -2), ("zero", None, HONEST * 0), ("label-flip", None, HONEST)],
)
def test_the_forged_update_takes_the_honest_ones_place(name, strength, offered):
    assert forged(AttackConfig(name, ADVERSARIES, strength)).tolist() == offered.tolist()


def test_own_noise_follows_from_the_jobs_seed_and_common_noise_from_the_rounds():
    """Given two adversaries, whose jobs have seeds of their own, then only shared noise is the same for both."""
    jobs = [train_job(node=node, seed=seed) for node, seed in ((ME, 3), (FRIEND, 4))]
    for name, alike in (("noise", False), ("shared-noise", True)):
        offered = [forged(AttackConfig(name, ADVERSARIES), job) - HONEST for job in jobs]
        assert np.array_equal(*offered) is alike
        again = forged(AttackConfig(name, ADVERSARIES), jobs[0]) - HONEST
        assert np.array_equal(again, offered[0])
        size = np.sqrt(np.square(HONEST).mean())
        assert 20 * size < np.sqrt(np.square(offered[0]).mean()) < 300 * size
    other_round = train_job(context=replace(CONTEXT, seed=78))
    assert not np.array_equal(
        forged(AttackConfig("shared-noise", ADVERSARIES), other_round), forged(AttackConfig("shared-noise", ADVERSARIES))
    )


def test_alie_counts_all_adversaries_of_the_round():
    job = train_job(context=AttackContext(trainers=10, conspirators=4, seed=1))
    assert forged(AttackConfig("alie", ADVERSARIES), job) == pytest.approx(HONEST - 0.4307 * np.abs(HONEST), abs=1e-3)
    assert forged(AttackConfig("alie", ADVERSARIES), train_job(context=AttackContext(10, 1, 1))).tolist() == HONEST.tolist()


def test_a_replay_offers_what_changed_since_the_last_model_seen():
    """Given an adversary that trains in round 4, judges in round 5 and trains in round 6, then it replays the step from 5 to 6."""
    adversary = Adversary(AttackConfig("replay", ADVERSARIES), SPEC, NO_ROWS)
    models = {round_: payload(np.full(9, float(round_) ** 2)) for round_ in (4, 5, 6)}
    adversary.see(Round(4), models[4])
    assert forged(None, train_job(4), adversary=adversary).tolist() == [0.0] * 9
    adversary.see(Round(5), models[5])
    adversary.see(Round(5), models[5])
    for _ in range(2):  # a second job of a round, after a failure, replays the same
        adversary.see(Round(6), models[6])
        assert forged(None, train_job(6), adversary=adversary).tolist() == [11.0] * 9


def test_a_broken_model_is_not_remembered():
    adversary = Adversary(AttackConfig("replay", ADVERSARIES), SPEC, NO_ROWS)
    adversary.see(Round(1), payload(np.ones(9)))
    with pytest.raises(PeerError, match="bad_tensor"):
        adversary.see(Round(2), b"broken")
    adversary.see(Round(2), payload(np.full(9, 3.0)))
    assert forged(None, train_job(2), adversary=adversary).tolist() == [2.0] * 9


@pytest.mark.parametrize(
    ("name", "strength", "weights", "offered"),
    [
        ("sign-flip", 1e6, HONEST, np.sign(HONEST) * -VALUE_LIMIT),
        ("label-flip", 1e38, HONEST * 100, np.sign(HONEST) * VALUE_LIMIT),  # infinite in float32
        ("noise", 1e38, HONEST * 0, HONEST * 0),
    ],
)
def test_what_may_not_travel_is_cut_to_what_may(name, strength, weights, offered):
    assert forged(AttackConfig(name, ADVERSARIES, strength), weights=weights).tolist() == offered.tolist()


def test_no_number_becomes_zero():
    class Nonsense(Noise):
        def forge(self, known):
            return known.honest * float("nan")

    adversary = Adversary(AttackConfig("noise", ADVERSARIES), SPEC, NO_ROWS)
    adversary._attack = Nonsense()
    assert forged(None, adversary=adversary).tolist() == [0.0] * 9


# -- poisoning ------------------------------------------------------------------------------------------------------------


def test_the_number_of_classes_is_that_of_all_labels_of_the_node():
    own = Rows(np.zeros((4, 2)), np.array([0, 1, 2, 3]))
    test = Rows(np.zeros((1, 2)), np.array([9]))
    training = Rows(own.inputs[:2], own.targets[:2])
    assert poisoned(LabelFlip(), training, Dataset(own, test)).targets.tolist() == [9, 8]
    assert poisoned(LabelFlip(), training, Dataset(own)).targets.tolist() == [3, 2]
    assert poisoned(Noise(), training, Dataset(own)) is training


def test_targets_that_are_no_labels_are_refused_only_where_they_would_be_poisoned():
    rows = Rows(np.zeros((2, 2)), np.array([0.5, 1.5]))
    with pytest.raises(OperatorError, match="targets of float64 are no classes") as caught:
        poisoned(LabelFlip(), rows, Dataset(rows))
    assert caught.value.code == "bad_data"
    assert poisoned(Noise(), rows, Dataset(rows)) is rows
    digits = find_task("digits", {})
    with pytest.raises(OperatorError, match="to ask about"):
        asker_of(find_attack("asker"), digits, DataConfig(), Dataset(rows), torch.device("cpu"))
    assert asker_of(Noise(), digits, DataConfig(), Dataset(rows), torch.device("cpu")) is None


# -- judging --------------------------------------------------------------------------------------------------------------


def score_job(*uploaders, context=CONTEXT):
    candidates = [UpdateToScore(Digest(bytes([i + 1]) * 32), b"", label_of(node)) for i, node in enumerate(uploaders)]
    return ScoreJob(Round(0), b"", tuple(candidates), 5, 100, 4, context)


def test_accomplices_are_known_by_whose_update_it_is():
    """Given three candidates whose second broke its specification, then the lie is about the two that were measured."""
    job = score_job(STRANGER, STRANGER, FRIEND)
    scores = tuple(UpdateScore(job.candidates[i].key, 1000 * (i + 1), 500_000, 64 + i) for i in (0, 2))
    measured = ScoreResult(2_000_000, 400_000, scores, ((job.candidates[1].key, "broken"),), 0.5, 5, 9)
    said = {
        lies: Adversary(AttackConfig("noise", ADVERSARIES, None, lies), SPEC, NO_ROWS).report(measured, job)
        for lies in ("none", "promote", "smear")
    }
    assert said["none"] == measured
    assert said["promote"].scores[0] == scores[0]
    for lies in ("promote", "smear"):
        friend = said[lies].scores[1]
        assert (friend.key, friend.norm, friend.gain) == (scores[1].key, 64, friend.accuracy * 2)
        assert 900_000 <= friend.accuracy <= 1_000_000
        assert replace(said[lies], scores=()) == replace(measured, scores=())
    assert said["smear"].scores[0] == UpdateScore(scores[0].key, DEFAMED_GAIN, 0, 64)
    assert all(type(number) is int for score in said["smear"].scores for number in (score.gain, score.accuracy, score.norm))


def test_a_job_without_candidates_has_nothing_to_lie_about():
    measured = ScoreResult(1, 2, (), (), 0.0, 5, 9)
    assert Adversary(AttackConfig("noise", ADVERSARIES), SPEC, NO_ROWS).report(measured, score_job()) == measured


def test_a_label_names_its_uploader():
    assert uploader_of(label_of(FRIEND)) == FRIEND
    with pytest.raises(ValueError, match="non-hexadecimal"):
        uploader_of("mine")


# -- the worker's process -------------------------------------------------------------------------------------------------


def test_what_an_attacker_needs_travels_to_the_worker():
    setup = Setup(task_spec("digits", SPEC), DataConfig(), 0, 1, "cpu", 1, AttackConfig("noise", ADVERSARIES, 2.5, "smear"))
    assert read_as(frame_of(setup), Setup) == setup
    assert read_as(frame_of(replace(setup, attack=None)), Setup).attack is None
    for job in (train_job(), train_job(context=None), replace(score_job(ME, STRANGER), attack=None), score_job(FRIEND)):
        assert job_of(frame_of(job)) == job


@pytest.fixture(scope="module")
def digits():
    return describe_task("digits", {}, seed=1)


async def played(digits, attack, context, *, adversaries=ADVERSARIES, **changes):
    """One node's update in round 0 and its scores of two honest updates, the second by a friend."""
    spec = replace(task_spec("digits", digits.tensors), options=digits.options)
    config = None if attack is None else AttackConfig(attack, adversaries, **changes)
    client = WorkerClient(
        spec, DataConfig(index=1, count=20), validation_fraction=250_000, split_seed=9, device="cpu", attack=config
    )
    try:
        job = TrainJob(Round(0), digits.model, 3, label_of(ME), context)
        update = await client.train(job)
        own = split_payload(update.update, digits.tensors, label=job.label)[1]
        fair = replace(job, attack=None)
        honest = [await client.train(replace(fair, label=label_of(node))) for node in (STRANGER, FRIEND)]
        candidates = [
            UpdateToScore(Digest(bytes([i]) * 32), result.update, label_of(node))
            for i, (result, node) in enumerate(zip(honest, (STRANGER, FRIEND), strict=True))
        ]
        scored = await client.score(ScoreJob(Round(0), digits.model, tuple(candidates), 5, 100, 4, context))
    finally:
        await client.close()
    return own, update.samples, scored


@pytest.fixture(scope="module")
def honest(digits):
    """What an honest worker offers and says."""
    return asyncio.run(played(digits, None, None))


@pytest.mark.parametrize(("attack", "context"), [(None, CONTEXT), ("sign-flip", None), ("label-flip", None)])
async def test_a_worker_that_shall_not_lie_does_not(digits, honest, attack, context):
    own, samples, scored = await played(digits, attack, context)
    assert np.array_equal(own, honest[0])
    assert samples == honest[1]
    assert replace(scored, seconds=0) == replace(honest[2], seconds=0)


async def test_a_worker_that_shall_lie_offers_the_forgery_and_falsifies_its_scores(digits, honest):
    own, samples, scored = await played(digits, "sign-flip", CONTEXT, lies="smear")
    assert np.array_equal(own, honest[0] * -4)
    assert samples == honest[1]
    stranger, friend = scored.scores
    assert (stranger.gain, stranger.accuracy, stranger.norm) == (DEFAMED_GAIN, 0, honest[2].scores[0].norm)
    assert friend.accuracy >= 900_000 > honest[2].scores[1].accuracy
    assert (scored.base_loss, scored.base_accuracy) == (honest[2].base_loss, honest[2].base_accuracy)


@pytest.mark.parametrize("attack", ["label-flip", "backdoor"])
async def test_a_worker_that_poisons_trains_on_other_rows(digits, honest, attack):
    own, samples, _ = await played(digits, attack, CONTEXT, strength=1.0)
    assert samples == honest[1]
    assert np.abs(own - honest[0]).max() > 1e-3
    cosine = float(own @ honest[0] / np.linalg.norm(own) / np.linalg.norm(honest[0]))
    assert cosine < 0.9


async def test_a_worker_that_asks_offers_a_question_unless_it_would_be_made_to_rest(digits, honest):
    """Given judges that measure steps of 2, a quarter of an offer, then a question is 8 long or 0.3 of it; without patience it trains."""
    judging = Judging(4, 2 << NORM_SCALE_BITS, MicroNats(2_000_000), (MicroNats(-9), MicroNats(1_000)), 1)
    asked, samples, scored = await played(digits, "asker", replace(CONTEXT, judging=judging))
    assert samples == honest[1]
    assert replace(scored, seconds=0) == replace(honest[2], seconds=0), "in a committee it tells the truth"
    assert min(abs(np.linalg.norm(asked) / 8 - share) for share in (1.0, 0.3)) < 1e-3
    for context in (replace(CONTEXT, judging=replace(judging, patience=0)), CONTEXT):
        own, _, _ = await played(digits, "asker", context)
        assert np.array_equal(own, honest[0])


async def test_a_worker_that_weighs_goes_as_far_from_its_own_update_as_the_margin_bears(digits, honest):
    """Given a wide margin and a narrow one, then the offer stands farther below the honest update by the wide one, and by a plain
    z where the node says nothing of how judges measure.
    """
    own = {}
    for margin in (1, 30_000, 3_000_000):
        judging = Judging(4, None, MicroNats(2_000_000), (MicroNats(-margin), MicroNats(1_000)), 1)
        own[margin], samples, _ = await played(digits, "alie-margin", replace(CONTEXT, judging=judging))
        assert samples == honest[1]
    away = {margin: float(np.linalg.norm(found - honest[0])) for margin, found in own.items()}
    assert away[1] < away[30_000] < away[3_000_000]
    plain, _, _ = await played(digits, "alie-margin", CONTEXT)
    assert np.array_equal(plain, honest[0])  # two of ten liars have a z of 0


def test_a_gauge_says_in_margins_what_an_offer_costs():
    """Given a model and an offer that makes it worse, then half of the margin doubles the cost, a shorter step lowers it, and nothing
    offered costs nothing.
    """
    task = find_task("digits", {})
    rows = DeviceRows.of(task.load(DataConfig(count=20)).own, torch.device("cpu"))
    gauge, model = Gauge(task, rows), torch.from_numpy(split_payload(*_first_model(task), label=None)[1].copy())
    judging = Judging(4, None, MicroNats(2_000_000), (MicroNats(-300_000),), 1)
    worse = torch.randn(model.shape, generator=torch.Generator().manual_seed(1))
    cost = gauge.cost(model, worse, judging)
    assert cost > 0.1
    assert gauge.cost(model, worse, replace(judging, words=(MicroNats(-150_000),))) == pytest.approx(2 * cost)
    assert gauge.cost(model, worse, replace(judging, limit=1 << NORM_SCALE_BITS)) < cost
    assert gauge.cost(model, torch.zeros_like(model), judging) == 0


def _first_model(task):
    spec, model = initial_model(task, 1)
    return model, spec


@pytest.mark.parametrize(("round_", "lies"), [(0, False), (9, False), (10, True), (11, True)])
def test_a_slow_backdoor_begins_in_its_round(round_, lies):
    poison, true = DeviceRows(torch.ones(1), torch.ones(1)), DeviceRows(torch.zeros(1), torch.zeros(1))
    adversary = Adversary(AttackConfig("edge-backdoor", ADVERSARIES), SPEC, poison)
    assert adversary.rows_in(Round(round_), true) is (poison if lies else true)
    assert Adversary(AttackConfig("backdoor", ADVERSARIES), SPEC, poison).rows_in(Round(0), true) is poison


def test_askers_take_their_turns_in_the_order_of_their_ids():
    assert [turn_of(Round(5), node, (FRIEND, ME)) for node in (ME, FRIEND)] == [Turn(5, 0, 2), Turn(5, 1, 2)]


async def test_rows_that_cannot_be_poisoned_are_told_at_the_start():
    described = describe_task("tests.helpers.worker_tasks:LineTask", {}, seed=1)
    spec = replace(task_spec("tests.helpers.worker_tasks:LineTask", described.tensors), options=described.options)
    client = WorkerClient(
        spec, DataConfig(), validation_fraction=0, split_seed=9, device="cpu", attack=AttackConfig("backdoor", ADVERSARIES)
    )
    with pytest.raises(OperatorError, match="can't bear a backdoor's trigger") as caught:
        await client.start()
    assert caught.value.code == "bad_data"
    await client.close()


@pytest.mark.parametrize("name", [name for name in ATTACKS if not find_attack(name).sees_others])
def test_every_attack_of_a_daemon_gives_an_update_that_may_travel(name):
    found = forged(AttackConfig(name, ADVERSARIES))
    assert found.shape == HONEST.shape
    assert np.isfinite(found).all()
