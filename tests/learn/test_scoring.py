"""Scoring: paired, damped, on the same rows; exact integers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import PeerError
from bflcd.learn.checks.moves import fixed_norm, held_share
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.labels.balance import HEAVIEST, MIN_CLASS_ROWS, class_costs, row_weights
from bflcd.learn.protocol import EvaluateResult, ScoreJob, TrainJob, UpdateToScore
from bflcd.learn.scoring import (
    Scorer,
    _measure_stack,
    bounded_losses,
    evaluate,
    mean_gain,
    measure,
)
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, JobCancelledError, initial_model, never, train
from bflcd.types import Digest, MicroNats, Round
from bflcd.wire.tensors import join_payload, split_payload
from tests.helpers.learning import task_spec
from tests.helpers.worker_tasks import LineTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    """Task, flat model, model payload, own rows, and one honest update's weights."""
    task = find_task("digits", {})
    tensors, model = initial_model(task, 1)
    flat = FlatModel(task.build_model(), tensors, CPU)
    rows = [DeviceRows.of(task.load(DataConfig(index=i, count=10)).own, CPU) for i in range(2)]
    result = train(flat, task, task_spec("digits", tensors), rows[0], TrainJob(Round(0), model, 1, "u"))
    return task, flat, model, rows[1], split_payload(result.update, tensors, label="u")[1]


def candidate(flat, number, weights, label="u"):
    payload = join_payload(np.zeros(0, np.int64), weights.astype(np.float32), flat.spec, label=label)
    return UpdateToScore(Digest(bytes([number]) * 32), payload, "u")


def score_job(model, candidates, *, seed=7, rows=100, damping=4):
    return ScoreJob(Round(0), model, tuple(candidates), seed, rows, damping)


def test_good_gains_zero_gains_nothing_reversed_loses(digits):
    task, flat, model, rows, update = digits
    entries = [candidate(flat, 1, update), candidate(flat, 2, update * 0), candidate(flat, 3, -update)]
    result = Scorer(flat, task, rows).score(score_job(model, entries), never)
    good, zero, reversed_ = result.scores
    assert good.gain > 10_000
    assert (zero.gain, zero.norm, zero.accuracy) == (0, 0, result.base_accuracy)
    assert reversed_.gain < -10_000
    assert good.accuracy > result.base_accuracy > reversed_.accuracy or good.accuracy > reversed_.accuracy
    assert [score.key for score in result.scores] == [entry.key for entry in entries]


def test_the_numbers_are_those_of_a_plain_computation(digits):
    task, flat, model, rows, update = digits
    result = Scorer(flat, task, rows).score(score_job(model, [candidate(flat, 1, update)], rows=1000, damping=2), never)
    start = split_payload(model, flat.spec, label=None)[1]
    losses = []
    for weights in (start, start + update / 2):
        flat.weights.copy_(torch.from_numpy(np.array(weights)))
        outputs = flat.module(task.transform(rows.inputs)).detach()
        losses.append(float(torch.nn.functional.cross_entropy(outputs.double(), rows.targets)))
        accuracy = int((outputs.argmax(1) == rows.targets).sum()) * 1_000_000 // len(rows)
    assert result.base_loss == pytest.approx(losses[0] * 1e6, abs=2)
    assert result.scores[0].gain == pytest.approx((losses[0] - losses[1]) * 1e6, abs=2)
    assert result.scores[0].accuracy == accuracy
    assert result.scores[0].norm == int(np.sqrt(np.sum(update.astype(np.float64) ** 2)) * 4096)


def test_the_cost_is_what_one_class_loses_less_what_one_gains(digits):
    task, flat, model, rows, update = digits
    flat.load(model)
    start, moved = flat.weights.clone(), torch.from_numpy(update.copy()) / 4
    entries = [candidate(flat, 1, update), candidate(flat, 2, -update)]
    scored = Scorer(flat, task, rows).score(score_job(model, entries, rows=1000), never)
    right = []
    for weights in (start, start + moved, start - moved):
        flat.weights.copy_(weights)
        outputs = torch.softmax(flat.module(task.transform(rows.inputs)).detach().double(), 1)
        right.append(outputs[torch.arange(len(rows)), rows.targets])
    for score, after in zip(scored.scores, right[1:], strict=True):
        classes = [rows.targets == label for label in range(10) if int((rows.targets == label).sum()) >= MIN_CLASS_ROWS]
        lost = [float((right[0] - after)[chosen].mean()) for chosen in classes]
        assert score.cost == pytest.approx((max(lost) - max(0, -min(lost))) * 1e6, abs=2)
    assert scored.scores[1].cost > max(0, scored.scores[0].cost)


def test_costs_by_class():
    """Of two models on six rows, losses in nats; the class of two rows is too small to be looked at by itself."""
    half, never_right = float(np.log(2)), 1000.0
    base = torch.tensor([0.0, 0.0, 0.0, half, half, half, 0.0, 0.0], dtype=torch.float64)
    worse = torch.tensor([half, 0.0, 0.0, 0.0, 0.0, 0.0, never_right, never_right], dtype=torch.float64)
    classes = torch.tensor([7, 7, 7, 2, 2, 2, 5, 5])
    assert class_costs(base, torch.stack([base, worse]), classes).tolist() == [0, 166_667 - 500_000]
    assert class_costs(base, worse[None], classes.double()).tolist() == [round((0.5 - 1.5 + 2) / 8 * 1e6)]
    assert class_costs(base, torch.zeros(1, 8, dtype=torch.float64), classes).tolist() == [-500_000]
    assert class_costs(-base, worse[None], classes).tolist() == [166_667], (
        "a loss below zero is full confidence, and gives nothing"
    )
    assert class_costs(base[3:6], torch.zeros(1, 3, dtype=torch.float64), classes[3:6]).tolist() == [-1_000_000]
    assert class_costs(base[6:], worse[None, 6:], classes[6:]).tolist() == [0], "nothing to look at"


def test_damping_takes_a_share_of_the_update(digits):
    task, flat, model, rows, update = digits
    scorer = Scorer(flat, task, rows)
    whole = scorer.score(score_job(model, [candidate(flat, 1, update / 4)], damping=1), never).scores[0]
    damped = scorer.score(score_job(model, [candidate(flat, 1, update)], damping=4), never).scores[0]
    assert damped.gain == pytest.approx(whole.gain, abs=2)
    assert damped.norm == pytest.approx(4 * whole.norm, rel=1e-3)


def test_same_seed_same_rows_in_separate_jobs(digits):
    task, flat, model, rows, update = digits
    entries = [candidate(flat, 1, update), candidate(flat, 2, -update)]
    scorer = Scorer(flat, task, rows)
    together = scorer.score(score_job(model, entries), never)
    apart = [scorer.score(score_job(model, [entry]), never) for entry in entries]
    assert together.scores == tuple(part.scores[0] for part in apart)
    assert {part.base_loss for part in apart} == {together.base_loss}
    other = scorer.score(score_job(model, entries, seed=8), never)
    assert other.base_loss != together.base_loss
    assert scorer.score(score_job(model, entries), never).base_loss == together.base_loss


def test_a_kept_base_is_not_measured_again(digits):
    task, flat, model, rows, update = digits
    scorer = Scorer(flat, task, rows)
    scorer.score(score_job(model, [], rows=10), never)
    asked = []
    scorer.score(score_job(model, [candidate(flat, 1, update)], rows=10), lambda: bool(asked.append(1)))
    assert len(asked) == 1  # one pass over one block of rows: the candidate's


def test_broken_payloads_are_listed_and_harm_no_other(digits):
    task, flat, model, rows, update = digits
    good = candidate(flat, 1, update)
    stolen = candidate(flat, 2, update, label="v")
    short = UpdateToScore(Digest(b"\3" * 32), good.update[:-4], "u")
    result = Scorer(flat, task, rows).score(score_job(model, [stolen, good, short]), never)
    assert [score.key for score in result.scores] == [good.key]
    assert [key for key, _ in result.invalid] == [stolen.key, short.key]
    assert all("bad_tensor" in reason for _, reason in result.invalid)


def test_monstrous_updates_stay_within_the_clamps(digits):
    task, flat, model, rows, update = digits
    huge = np.where(np.arange(update.size) % 2, 1024.0, -1024.0)
    score = Scorer(flat, task, rows).score(score_job(model, [candidate(flat, 1, huge)], damping=1), never).scores[0]
    assert -1_000_000_000 <= score.gain < -100_000_000
    assert score.norm == 2**10 * 2**12


def test_an_offer_longer_than_the_limit_is_judged_as_one_that_is_as_long(digits):
    """Given an update that leads twice as far as allowed, then it is measured as its half, its norm is said as it is, and a zero
    stays one.
    """
    task, flat, model, rows, update = digits
    half = fixed_norm(update)
    entries = [candidate(flat, 1, update), candidate(flat, 2, 2 * update), candidate(flat, 3, update * 0)]
    scorer = Scorer(flat, task, rows)
    held = scorer.score(replace(score_job(model, entries), limit=half // 4), never).scores
    assert held[1].gain == pytest.approx(held[0].gain, abs=500)
    assert [score.norm for score in held] == [half, fixed_norm(2 * update), 0]
    free = scorer.score(score_job(model, entries), never).scores
    assert free[0].gain == pytest.approx(held[0].gain, abs=500)
    assert abs(free[1].gain - held[1].gain) > 1_000
    assert held[2].gain == 0


def test_no_row_gains_or_loses_more_than_its_limit(digits):
    """Given an update that ruins every row, then each counts as much as the limit; so does one whose loss is not finite."""
    task, flat, model, rows, update = digits
    huge = np.where(np.arange(update.size) % 2, 1024.0, -1024.0)
    job = replace(score_job(model, [candidate(flat, 1, huge)], damping=1), row_limit=MicroNats(2_000_000))
    assert -2_000_000 <= Scorer(flat, task, rows).score(job, never).scores[0].gain < -500_000
    base, losses = torch.tensor([1.0, 1.0, 5.0]), torch.tensor([1000.0, 0.5, 1.0])
    assert mean_gain(base, losses, MicroNats(2_000_000)) == round((-2 + 0.5 + 2) / 3 * 1e6)


@pytest.mark.parametrize(
    ("targets", "weights"),
    [
        ([0, 0, 0, 1], [2 / 3, 2 / 3, 2 / 3, 2]),
        ([5, 9, 7], [1, 1, 1]),
        ([3, 3], [1, 1]),
        ([0] * 15 + [1], [0.8] * 15 + [HEAVIEST]),
        ([0] * 249 + list(range(1, 8)), [228 / 249] * 249 + [HEAVIEST] * 7),
        ([], []),
        ([0.0, 0.0, 1.0], [1, 1, 1]),
        ([-100, 0, 0, 0], [1, 1, 1, 1]),
        ([[0], [0], [1]], [1, 1, 1]),
    ],
    ids=[
        "two",
        "all alike",
        "one",
        "a rare one",
        "seven rare ones",
        "nothing",
        "no classes",
        "one is to be ignored",
        "many outputs",
    ],
)
def test_classes_count_alike_and_no_row_far_more_than_others(targets, weights):
    """The rarer a class the heavier each of its rows, up to four times what rows count on average."""
    found = row_weights(torch.tensor(targets))
    torch.testing.assert_close(found, torch.tensor(weights, dtype=torch.float64))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12).filter(any))
def test_weights_are_of_mean_one_and_no_row_weighs_more_than_the_heaviest(counts):
    """And all classes whose rows are below that count the same together."""
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    found = row_weights(targets)
    assert float(found.mean()) == pytest.approx(1.0)
    assert float(found.max()) <= HEAVIEST + 1e-9
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, targets, found)
    light = [float(sums[label]) for label in set(targets.tolist()) if float(found[targets == label][0]) < HEAVIEST - 1e-9]
    assert light, "a mean of one leaves some class below the heaviest"
    assert light == pytest.approx([light[0]] * len(light))


def test_a_judge_says_what_its_classes_gain_on_average(digits):
    """Given a judge nearly all of whose rows are of two digits, then its card says what the classes gain, each as much as it weighs,
    where that is less than what the rows do; its loss and accuracy are those of the rows."""
    task, flat, model, rows, update = digits
    common = (rows.targets == 3) | (rows.targets == 8)
    kept = common | (torch.arange(len(rows)) % 5 == 0)
    skewed = DeviceRows(rows.inputs[kept], rows.targets[kept])
    job = score_job(model, [candidate(flat, 1, update), candidate(flat, 2, -update)], rows=1000)
    plain, balanced = (Scorer(flat, task, skewed).score(replace(job, balanced=how), never) for how in (False, True))
    flat.load(model)
    base = measure(flat, task, skewed, never).losses
    for place, sign in enumerate((1, -1)):
        flat.load(model)
        flat.weights.add_(torch.from_numpy(update.copy()), alpha=sign / 4)
        gains = base - measure(flat, task, skewed, never).losses
        weighed = float((gains * row_weights(skewed.targets)).mean())
        assert plain.scores[place].gain == pytest.approx(float(gains.mean()) * 1e6, abs=1)
        assert balanced.scores[place].gain == pytest.approx(min(weighed, float(gains.mean())) * 1e6, abs=1)
        assert balanced.scores[place].accuracy == plain.scores[place].accuracy
    assert (balanced.base_loss, balanced.base_accuracy) == (plain.base_loss, plain.base_accuracy)
    assert any(by_class.gain < by_row.gain for by_class, by_row in zip(balanced.scores, plain.scores, strict=True))


@pytest.mark.parametrize(("common", "rare"), [(-0.1, 0.4), (0.1, -0.4)])
def test_nobody_is_paid_for_taking_from_some_classes_what_it_gives_to_others(common, rare):
    """Given a judge of whose rows four fifths are of one class, then an update that takes from it and gives four times that to each
    row of the other does not gain, though it does by classes; and the other way round, though it does by rows."""
    targets = torch.tensor([0] * 80 + [1] * 20)
    gains = torch.where(targets == 0, common, rare).double()
    weights = row_weights(targets)
    said = mean_gain(gains, torch.zeros(100, dtype=torch.float64), MicroNats(2_000_000), weights=weights)
    assert max(float(gains.mean()), float((gains * weights).mean())) >= 0
    assert said <= 0


def test_a_task_with_a_loss_of_its_own_is_judged_by_rows(digits):
    """Given whole numbers that are no classes, such as ages, then no row counts more than another."""
    task, flat, model, rows, update = digits
    job = score_job(model, [candidate(flat, 1, update)], rows=1000)
    seen = []
    for logits in (True, False):
        own = type("Own", (type(task),), {"LOGITS": logits})({})
        seen.append([Scorer(flat, own, rows).score(replace(job, balanced=how), never).scores[0].gain for how in (False, True)])
    assert seen[1] == [seen[0][0]] * 2


@pytest.mark.parametrize(
    ("norm", "limit", "share"), [(16.0, 4096, 1 / 16), (4.0, 4096, 0.25), (0.5, 4096, 0.25), (0.0, 1, 0.25), (9.0, None, 0.25)]
)
def test_an_update_moves_the_model_by_its_damped_share_and_within_the_limit(norm, limit, share):
    assert held_share(norm, 4, limit) == share


def test_rows_without_a_finite_loss_count_as_the_limit():
    losses = bounded_losses(torch.tensor([float("nan"), float("inf"), float("-inf"), 2.0, 5000.0]))
    assert losses.tolist() == [1000.0, 1000.0, -1000.0, 2.0, 1000.0]


def test_fewer_rows_than_asked_are_all_used(digits):
    task, flat, model, rows, _ = digits
    result = Scorer(flat, task, rows).score(score_job(model, [], rows=2**20), never)
    flat.load(model)
    assert result.base_accuracy == measure(flat, task, rows, never).accuracy


def test_cancelled_between_passes(digits):
    task, flat, model, rows, update = digits
    asked = iter([False, True])
    with pytest.raises(JobCancelledError):
        Scorer(flat, task, rows).score(score_job(model, [candidate(flat, 1, update)]), lambda: next(asked))


def test_a_broken_model_is_refused(digits):
    task, flat, model, rows, _ = digits
    with pytest.raises(PeerError):
        Scorer(flat, task, rows).score(score_job(model[:-1], []), never)


def test_the_stacked_pass_agrees_with_the_loop(digits):
    task, flat, model, rows, update = digits
    flat.load(model)
    start = flat.weights.clone()
    stack = torch.stack([start, start + torch.from_numpy(np.array(update)), start - torch.from_numpy(np.array(update))])
    for weights, found in zip(stack, _measure_stack(flat, task, stack, rows, never), strict=True):
        flat.weights.copy_(weights)
        expected = measure(flat, task, rows, never)
        torch.testing.assert_close(found.losses, expected.losses, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.correct, expected.correct)


class Recurrent(LineTask):
    """Reads a point's coordinates one after the other: torch can't stack that."""

    def build_model(self):
        return Reader()


class Reader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.reader, self.out = torch.nn.LSTM(1, 4, batch_first=True), torch.nn.Linear(4, 2)

    def forward(self, points):
        return self.out(self.reader(points[:, :, None])[0][:, -1])


class Choosing(LineTask):
    """Decides by a value, which a stacked pass has many of."""

    def build_model(self):
        return Chooser()


class Chooser(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 2)

    def forward(self, points):
        outputs = super().forward(points)
        return outputs if outputs.sum() > 0 else 2 * outputs


@pytest.mark.parametrize("factory", [Recurrent, Choosing])
def test_what_cannot_be_judged_many_at_once_is_judged_one_by_one(factory, capsys):
    """Given a model that torch can't stack, as on a GPU, then it is judged as on a CPU, and the log has one line of it."""
    task = factory({})
    tensors, model = initial_model(task, 1)
    flat, rows = FlatModel(task.build_model(), tensors, CPU), DeviceRows.of(task.load(DataConfig()).own, CPU)
    update = np.linspace(-0.5, 0.5, flat.weights.numel(), dtype=np.float32)
    job = score_job(model, [candidate(flat, 1, update), candidate(flat, 2, update * 0)])
    scorer = Scorer(flat, task, rows, stacked=True)
    found = [replace(scorer.score(job, never), seconds=0.0) for _ in range(2)]
    assert found == [replace(Scorer(flat, task, rows).score(job, never), seconds=0.0)] * 2
    assert found[0].scores[1].gain == 0
    assert capsys.readouterr().err.count("updates are judged one by one") == 1


def test_a_task_that_fails_fails_in_either_way():
    class Broken(LineTask):
        def row_loss(self, outputs, targets):
            raise ValueError("no such luck")

    task = Broken({})
    tensors, model = initial_model(task, 1)
    flat, rows = FlatModel(task.build_model(), tensors, CPU), DeviceRows.of(task.load(DataConfig()).own, CPU)
    for stacked in (True, False):
        with pytest.raises(ValueError, match="no such luck"):
            Scorer(flat, task, rows, stacked=stacked).score(score_job(model, []), never)


class Delicate(LineTask):
    """Whose loss raises for large outputs, as a decomposition or a checked distribution does; torch can stack it."""

    def build_model(self):
        return torch.nn.Linear(2, 2)

    def row_loss(self, outputs, targets):
        room = torch.linalg.cholesky(torch.eye(2) * (100 - outputs.abs().max()))
        return super().row_loss(outputs, targets) + 0 * room.sum()


@pytest.mark.parametrize("stacked", [True, False])
def test_an_update_at_which_the_task_raises_is_wrong_on_every_row_and_harms_no_other(stacked, capsys):
    """Given an update made so that the task's code raises, Then the others are judged as without it, also in the jobs that follow,
    and it has no row right; so nobody keeps the judges from judging.
    """
    task = Delicate({})
    tensors, model = initial_model(task, 1)
    flat, rows = FlatModel(task.build_model(), tensors, CPU), DeviceRows.of(task.load(DataConfig()).own, CPU)
    update = np.linspace(-0.5, 0.5, flat.weights.numel(), dtype=np.float32)
    good, bad = candidate(flat, 1, update), candidate(flat, 2, np.full_like(update, 900.0))
    scorer = Scorer(flat, task, rows, stacked=stacked)
    alone = scorer.score(score_job(model, [good]), never)
    capsys.readouterr()
    both = scorer.score(score_job(model, [bad, good]), never)
    assert "counts as wrong on every row" in capsys.readouterr().err
    assert both.invalid == ()
    assert (both.base_loss, both.scores[0].accuracy) == (pytest.approx(alone.base_loss, abs=2), 0)
    assert both.scores[0].gain < -100_000_000
    assert both.scores[1].gain == pytest.approx(alone.scores[0].gain, abs=2)
    assert replace(scorer.score(score_job(model, [good]), never), seconds=0.0) == replace(alone, seconds=0.0)
    assert "one by one" not in capsys.readouterr().err


def test_evaluation_counts_test_rows(digits):
    task, flat, model, rows, _ = digits
    assert evaluate(flat, task, None, model, never) == EvaluateResult(None, None, 0)
    assert evaluate(flat, task, rows, model, never).rows == len(rows)


@pytest.mark.parametrize(
    ("weights", "norm"), [([3.0, 4.0], 5 * 4096), ([0.0], 0), ([1e-5], 0), ([1024.0, 1024.0], 2**22), ([2.0**-12], 1)]
)
def test_norms_are_fixed_point(weights, norm):
    assert fixed_norm(np.array(weights, dtype=np.float32)) == norm


def compared(scorer, model, candidates, **job):
    """What each candidate is like: the numbers of others, and whether it repeats the last step."""
    job = replace(score_job(model, candidates), alike=990_000, **job)
    return [([other[0] for other in score.alike], score.repeats) for score in scorer.score(job, never).scores]


def test_copies_are_found_within_a_round_and_against_the_step_before_it(digits):
    """Given updates scored in two jobs of one round, then each is held against all before it, those of the other job too, and
    against what led to the model; in the next round they are forgotten."""
    task, flat, model, rows, update = digits
    scorer, other = Scorer(flat, task, rows), np.random.default_rng(3).standard_normal(update.shape) * 0.01
    start = split_payload(model, flat.spec, label=None)[1]
    before = join_payload(np.zeros(0, np.int64), (start - other).astype(np.float32), flat.spec, label=None)
    noisy = update + np.random.default_rng(4).standard_normal(update.shape) * 0.1 * np.sqrt(np.mean(np.square(update)))
    first = [candidate(flat, 1, update), candidate(flat, 2, other * 2), candidate(flat, 3, noisy)]
    assert compared(scorer, model, first, before=before) == [([], False), ([], True), ([1], False)]
    assert compared(scorer, model, [candidate(flat, 4, update * 3), candidate(flat, 5, other)]) == [([1, 3], False), ([2], True)]
    assert compared(scorer, model, [candidate(flat, 6, update)], round=Round(1)) == [([], False)]
    assert [score.alike for score in scorer.score(score_job(model, first), never).scores] == [()] * 3, "where none is wanted"


def test_an_update_that_breaks_the_specification_shifts_no_answer(digits):
    task, flat, model, rows, update = digits
    entries = [candidate(flat, 1, update), candidate(flat, 2, update, label="stolen"), candidate(flat, 3, update)]
    job = replace(score_job(model, entries), alike=990_000)
    result = Scorer(flat, task, rows).score(job, never)
    assert [(score.key[0], score.alike) for score in result.scores] == [(1, ()), (3, (entries[0].key,))]


def stepped(flat, model, step):
    """The model of the round before, from which `step` led to `model`."""
    start = split_payload(model, flat.spec, label=None)[1]
    return join_payload(np.zeros(0, np.int64), (start - step).astype(np.float32), flat.spec, label=None)


def gains(scorer, model, candidates, **job):
    return [score.gain for score in scorer.score(replace(score_job(model, candidates, rows=1000), **job), never).scores]


@pytest.fixture(scope="module")
def repeating(digits):
    """A last step that gains when it is repeated, an update that has nothing of it, and noise that has nothing of either."""
    _, _, _, _, update = digits
    rng = np.random.default_rng(11)
    noise = rng.standard_normal(update.shape).astype(np.float32)
    noise -= update * float(noise @ update) / float(update @ update)
    return update, noise * np.float32(np.linalg.norm(update) / np.linalg.norm(noise))


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("noisy", [0.0, 0.2, 1.0])
def test_what_repeats_the_last_step_gains_nothing_whatever_noise_it_bears(digits, repeating, noisy, stacked):
    """Given a last step that would gain once more, then an offer of it with noise gains what the noise alone does, and any length of it
    nothing; measured as it is, it gains as much as it ever would."""
    task, flat, model, rows, _ = digits
    step, noise = repeating
    before, scorer = stepped(flat, model, step), Scorer(flat, task, rows, stacked=stacked)
    offers = [candidate(flat, 1, step + noisy * noise), candidate(flat, 2, noisy * noise), candidate(flat, 3, 3 * step)]
    repeated, alone, longer = gains(scorer, model, offers, before=before, fresh=True)
    assert repeated == pytest.approx(alone, abs=20)
    assert abs(longer) <= 20
    whole = gains(Scorer(flat, task, rows, stacked=stacked), model, offers[:1], before=before)[0]
    assert whole > 10_000 > repeated


def test_what_is_new_in_an_update_counts_and_what_undoes_the_last_step_is_measured_whole(digits, repeating):
    task, flat, model, rows, update = digits
    _, noise = repeating
    before = stepped(flat, model, noise)
    offers = [candidate(flat, 1, update), candidate(flat, 2, update + 0.5 * noise), candidate(flat, 3, update - 0.5 * noise)]
    scorer = Scorer(flat, task, rows)
    new, part, undoing = gains(scorer, model, offers, before=before, fresh=True)
    plain = gains(Scorer(flat, task, rows), model, offers)
    assert new == pytest.approx(plain[0], abs=20)
    assert undoing == pytest.approx(plain[2], abs=20)
    assert part <= new + 20


def test_who_repeats_a_step_that_harmed_has_the_harm(digits, repeating):
    """Given a last step that took the model back, then an offer of that once more, in part or with something good, is judged by its harm."""
    task, flat, model, rows, update = digits
    before = stepped(flat, model, -update)
    _, noise = repeating
    offers = [candidate(flat, 1, -update), candidate(flat, 2, -update + 0.1 * noise)]
    harmed = gains(Scorer(flat, task, rows), model, offers, before=before, fresh=True)
    plain = gains(Scorer(flat, task, rows), model, offers)
    assert max(harmed) < -5_000
    assert harmed[0] == pytest.approx(plain[0], rel=0.01)


def test_the_last_step_is_known_in_all_jobs_of_its_round_and_in_no_other(digits, repeating):
    task, flat, model, rows, _ = digits
    step, _ = repeating
    scorer, offer = Scorer(flat, task, rows), [candidate(flat, 1, step)]
    before = stepped(flat, model, step)
    assert abs(gains(scorer, model, offer, before=before, fresh=True)[0]) <= 20
    assert abs(gains(scorer, model, offer, fresh=True)[0]) <= 20
    assert gains(scorer, model, offer)[0] > 10_000, "where it is not wanted"
    assert gains(scorer, model, offer, fresh=True, round=Round(1))[0] > 10_000
    still = stepped(flat, model, 0 * step)
    assert gains(scorer, model, offer, before=still, fresh=True, round=Round(2))[0] > 10_000, "a step of nothing repeats nothing"


def test_a_row_bears_no_more_by_a_repetition_than_it_may(digits, repeating):
    """Given the most that a row may lose, then a repetition of what harmed, however often, costs a judge no more than that."""
    task, flat, model, rows, update = digits
    before = stepped(flat, model, -update)
    limits = {"row_limit": MicroNats(50_000), "gain_limit": MicroNats(20_000)}
    found = gains(Scorer(flat, task, rows), model, [candidate(flat, 1, -50 * update)], before=before, fresh=True, **limits)
    assert -50_000 <= found[0] < 0


@pytest.mark.parametrize("stacked", [False, True])
def test_the_smallest_step_and_the_largest_update_have_a_score(digits, stacked):
    """Given a last step of one weight by the chain's resolution, and an update of the largest weights that may travel, then that repeats it
    ten thousand million times and its score is a number, the same one way and the other but for rounding."""
    task, flat, model, rows, update = digits
    step = np.zeros_like(update)
    step[0] = 2.0**-24
    start = split_payload(model, flat.spec, label=None)[1].copy()
    start[0] = 0.0
    base = join_payload(np.zeros(0, np.int64), start, flat.spec, label=None)
    before = join_payload(np.zeros(0, np.int64), (start - step).astype(np.float32), flat.spec, label=None)
    largest = np.full_like(update, 2.0**10)
    limits = {"limit": 4096, "row_limit": MicroNats(2_400_000)}
    job = replace(score_job(base, [candidate(flat, 1, largest), candidate(flat, 2, update)]), before=before, fresh=True, **limits)
    found = [score.gain for score in Scorer(flat, task, rows, stacked=stacked).score(job, never).scores]
    assert all(abs(gain) <= 2_400_000 for gain in found)
    plain = [score.gain for score in Scorer(flat, task, rows).score(replace(job, fresh=False), never).scores]
    assert found[1] == pytest.approx(plain[1], abs=50), "what has next to nothing of the step is measured as ever"
