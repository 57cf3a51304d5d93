"""Local training: deterministic, exact about what it returns, cancelled between batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bflcd.errors import OperatorError, PeerError
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.labels.calibration import log_shares
from bflcd.learn.protocol import TrainJob, WorkerError
from bflcd.learn.scoring import evaluate
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, JobCancelledError, batches, initial_model, never, opposite, train
from bflcd.params import MILLION
from bflcd.types import Round
from bflcd.wire.tensors import join_payload, split_payload
from tests.helpers.learning import task_spec
from tests.helpers.tensors import decode_tensors
from tests.helpers.worker_tasks import LineTask

CPU = torch.device("cpu")
LINE = "tests.helpers.worker_tasks:LineTask"


@pytest.fixture
def line():
    task = LineTask({})
    spec, model = initial_model(task, 1)
    data = task.load(DataConfig())
    return task, task_spec(LINE, spec), FlatModel(task.build_model(), spec, CPU), model, DeviceRows.of(data.own, CPU)


def job(model, seed=3, round_=0):
    return TrainJob(Round(round_), model, seed, "mine")


def test_same_seed_same_bytes_other_seed_other_bytes(line):
    task, spec, flat, model, rows = line
    first = train(flat, task, spec, rows, job(model))
    assert train(flat, task, spec, rows, job(model)).update == first.update
    assert train(flat, task, spec, rows, job(model, seed=4)).update != first.update
    assert first.samples == 64


def test_the_update_is_trained_minus_base_with_the_parents_counters(line):
    task, spec, flat, model, rows = line
    before = decode_tensors(model, spec.tensors, label=None)
    update = decode_tensors(train(flat, task, spec, rows, job(model)).update, spec.tensors, label="mine")
    after = dict(flat.views(flat.weights))
    np.testing.assert_array_equal(update["line.weight"], after["line.weight"].numpy() - before["line.weight"])
    assert update["batches"] == before["batches"] == 0
    assert int(flat.counters) == 2  # the local copy did count


@pytest.mark.parametrize("calibration", [0, MILLION])
def test_equals_torchs_own_optimiser(line, calibration):
    task, spec, flat, model, rows = line
    loss = train(flat, task, replace(spec, calibration=calibration), rows, job(model)).loss
    added = log_shares(rows.targets, 2) * (calibration / MILLION)
    reference = task.build_model()
    start = decode_tensors(model, spec.tensors, label=None)
    reference.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in start.items()})
    optimiser = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=0.9)
    order = np.random.Generator(np.random.PCG64(3)).permutation(64)
    losses = []
    for begin in range(0, 64, 32):
        index = torch.from_numpy(order[begin : begin + 32])
        optimiser.zero_grad()
        losses.append(task.row_loss(reference(rows.inputs[index]) + added, rows.targets[index]))
        losses[-1].mean().backward()
        optimiser.step()
    torch.testing.assert_close(dict(flat.views(flat.weights))["line.weight"], reference.line.weight.detach())
    assert loss == pytest.approx(float(torch.cat(losses).detach().mean()))


def test_training_learns(line):
    task, spec, flat, model, rows = line
    test = DeviceRows.of(task.load(DataConfig()).test, CPU)
    before = evaluate(flat, task, test, model, never)
    train(flat, task, task_spec(LINE, spec.tensors, local_epochs=20), rows, job(model))
    flat_after = evaluate_loaded(flat, task, test)
    assert flat_after > before.accuracy
    assert flat_after > 950_000


def evaluate_loaded(flat, task, rows):
    from bflcd.learn.scoring import measure

    return measure(flat, task, rows, never).accuracy


def test_the_rate_decays_by_round(line):
    task, spec, *_ = line
    decaying = task_spec(LINE, spec.tensors, learning_rate=100_000, rate_decay=500_000)
    assert task.learning_rate(decaying, 0) == pytest.approx(0.1)
    assert task.learning_rate(decaying, 3) == pytest.approx(0.0125)


def test_divergence_is_an_error_not_an_update(line):
    task, spec, flat, model, rows = line
    wild = task_spec(LINE, spec.tensors, learning_rate=100_000_000, momentum=1_000_000, local_epochs=200)
    with pytest.raises(WorkerError, match=r"line.(weight|bias) changed by up to .* lower the learning rate"):
        train(flat, task, wild, rows, job(model))


def test_cancelled_betweenbatches(line):
    task, spec, flat, model, rows = line
    asked = iter([False, True])
    with pytest.raises(JobCancelledError):
        train(flat, task, spec, rows, job(model), cancelled=lambda: next(asked))


def test_a_broken_model_is_refused(line):
    task, spec, flat, model, rows = line
    with pytest.raises(PeerError):
        train(flat, task, spec, rows, job(model[:-1]))


def test_a_model_that_is_not_the_genesis_one_is_refused(line):
    _, spec, *_ = line
    with pytest.raises(OperatorError, match="genesis"):
        FlatModel(find_task("digits", {}).build_model(), spec.tensors, CPU)


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        (64, 32, [32, 32]),
        (65, 32, [32, 33]),
        (66, 32, [32, 32, 2]),
        (3, 32, [3]),
        (1, 32, [1]),
        (3, 1, [1, 1, 1]),
        (33, 32, [33]),
        (0, 4, []),
    ],
)
def test_no_batch_of_one_row_is_left_over(rows, size, expected):
    slices = list(batches(np.arange(rows), size))
    assert [len(batch) for batch in slices] == expected
    assert np.array_equal(np.concatenate([np.arange(0), *slices]), np.arange(rows))


def test_dropout_and_batch_normalisation_are_deterministic_too():
    class Net(LineTask):
        def build_model(self):
            return torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 2))

    task = Net({})
    tensors, model = initial_model(task, 0)
    spec, rows = task_spec(LINE, tensors), DeviceRows.of(task.load(DataConfig()).own, CPU)
    flat = FlatModel(task.build_model(), tensors, CPU)
    first = train(flat, task, spec, rows, job(model))
    assert train(flat, task, spec, rows, job(model)).update == first.update
    update = decode_tensors(first.update, tensors, label="mine")
    assert np.abs(update["1.running_mean"]).max() > 0
    assert split_payload(first.update, tensors, label="mine")[0].tolist() == [0]


def test_a_canary_is_minus_four_times_the_update_within_what_may_travel(line):
    """Given a trained update, then its canary has its size, counters and claims, and each value times -4, cut where payloads end."""
    task, spec, flat, model, rows = line
    trained = train(flat, task, spec, rows, job(model))
    turned = opposite(trained, spec.tensors, "mine")
    counters, update = split_payload(trained.update, spec.tensors, label="mine")
    other_counters, other = split_payload(turned.update, spec.tensors, label="mine")
    assert np.array_equal(other, update * np.float32(-4))
    assert np.array_equal(counters, other_counters)
    assert (len(turned.update), turned.samples, turned.loss) == (len(trained.update), trained.samples, trained.loss)
    far = replace(trained, update=join_payload(counters, np.full_like(update, 1_000), spec.tensors, label="mine"))
    cut = split_payload(opposite(far, spec.tensors, "mine").update, spec.tensors, label="mine")[1]
    assert set(cut.tolist()) == {-1024.0}
