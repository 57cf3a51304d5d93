"""Training and scoring on a GPU: stacked scoring equals the loop, training runs, memory running out is survived."""

import numpy as np
import pytest
import torch

from bflcd.learn import scoring
from bflcd.learn.client import WorkerClient, describe_task
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.protocol import EvaluateJob, ScoreJob, TrainJob, UpdateToScore
from bflcd.learn.scoring import Scorer
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, initial_model, never, train
from bflcd.params import TaskSpec
from bflcd.types import Digest, Round
from bflcd.wire.tensors import join_payload, split_payload
from tests.helpers.learning import write_npz

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")]

OPTIONS = {"cnn": {"classes": "10"}, "alexnet": {"classes": "10", "model": "alexnet"}}


@pytest.fixture(params=["cnn", "alexnet"])
def setting(request, tmp_path):
    options = OPTIONS[request.param]
    task = find_task("femnist", options)
    tensors, model = initial_model(task, 1)
    spec = TaskSpec("femnist", tuple(sorted(options.items())), tensors, learning_rate=10_000)
    data = task.load(DataConfig(str(write_npz(tmp_path / "d.npz", rows=300))))
    return task, spec, model, data.own


def place(setting, device):
    task, spec, _, rows = setting
    return FlatModel(task.build_model(), spec.tensors, torch.device(device)), DeviceRows.of(rows, torch.device(device))


def candidates(spec, update, count):
    weights = split_payload(update, spec.tensors, label="u")[1]
    scales = [0.0, -1.0, *(1.0 + i for i in range(count - 2))]
    parts = [join_payload(np.zeros(0, np.int64), weights * np.float32(scale), spec.tensors, label="u") for scale in scales]
    return tuple(UpdateToScore(Digest(i.to_bytes(32, "big")), part, "u") for i, part in enumerate(parts))


def test_stacked_scoring_equals_the_loop(setting):
    task, spec, model, _ = setting
    cpu, cpu_rows = place(setting, "cpu")
    gpu, gpu_rows = place(setting, "cuda")
    update = train(cpu, task, spec, cpu_rows, TrainJob(Round(0), model, 1, "u")).update
    job = ScoreJob(Round(0), model, candidates(spec, update, 9), 3, 256, 4)
    looped = Scorer(cpu, task, cpu_rows).score(job, never)
    stacked = Scorer(gpu, task, gpu_rows).score(job, never)
    assert stacked.base_loss == pytest.approx(looped.base_loss, abs=20)
    assert abs(stacked.scores[0].gain) <= 1
    for one, other in zip(stacked.scores, looped.scores, strict=True):
        assert one.gain == pytest.approx(other.gain, abs=40)
        assert one.norm == other.norm
        assert one.accuracy == pytest.approx(other.accuracy, abs=10_000)


def test_training_on_a_gpu_is_deterministic_and_close_to_the_cpu(setting):
    task, spec, model, _ = setting
    gpu, rows = place(setting, "cuda")
    job = TrainJob(Round(0), model, 1, "u")
    first = train(gpu, task, spec, rows, job)
    assert train(gpu, task, spec, rows, job).update == first.update
    assert np.abs(split_payload(first.update, spec.tensors, label="u")[1]).max() > 0


def test_memory_running_out_halves_the_stack(setting, monkeypatch):
    """Given a device that holds only two models at a time, When nine are scored, Then all are, in smaller stacks."""
    task, spec, model, _ = setting
    gpu, rows = place(setting, "cuda")
    update = train(gpu, task, spec, rows, TrainJob(Round(0), model, 1, "u")).update
    job = ScoreJob(Round(0), model, candidates(spec, update, 9), 3, 256, 4)
    whole = Scorer(gpu, task, rows).score(job, never)
    genuine, sizes = scoring._measure_stack, []

    def small(flat, task, stack, rows, cancelled):
        sizes.append(len(stack))
        if len(stack) > 2:
            raise torch.OutOfMemoryError("pretended")
        return genuine(flat, task, stack, rows, cancelled)

    monkeypatch.setattr(scoring, "_measure_stack", small)
    parts = Scorer(gpu, task, rows).score(job, never)
    assert max(size for size in sizes if size <= 2) == 2
    for one, other in zip(parts.scores, whole.scores, strict=True):
        assert one.gain == pytest.approx(other.gain, abs=40)


async def test_the_worker_computes_on_the_gpu(tmp_path):
    path = str(write_npz(tmp_path / "d.npz", rows=300))
    described = describe_task("femnist", {}, seed=1, data=DataConfig(path))
    spec = TaskSpec("femnist", described.options, described.tensors)
    client = WorkerClient(spec, DataConfig(path), validation_fraction=200_000, split_seed=1, device="auto")
    await client.start()
    assert client.ready.device != "cpu"
    trained = await client.train(TrainJob(Round(0), described.model, 1, "u"))
    scored = await client.score(
        ScoreJob(Round(0), described.model, (UpdateToScore(Digest(bytes(32)), trained.update, "u"),), 1, 256, 4)
    )
    assert len(scored.scores) == 1
    assert (await client.evaluate(EvaluateJob(described.model))).rows == 10
    await client.close()
