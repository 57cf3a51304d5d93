"""Stacks: what is folded and what is not, memory running out, precision, the shape of a schedule."""

import numpy as np
import pytest
import torch

from bflcd.lab.engine.base import Pace, Trainee
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.engine.stack import Stack
from bflcd.lab.engine.stacked import NOWHERE, StackedEngine, _schedule
from bflcd.learn.flat import tensors_of
from bflcd.learn.training import Descent, batches, epochs_of
from tests.helpers.lab import NETS, NetTask, make_scene, noise_rows

SIZES = (9, 17, 1, 8, 30, 16)
PACE = Pace(0.05, 0.9, 8, 2, 0.75)


@pytest.mark.parametrize("net", NETS)
def test_a_network_is_folded_exactly_if_that_changes_nothing(net):
    scene = make_scene(net, (3,), PACE)
    assert StackedEngine(scene.task, scene.pool).folded is NETS[net].folded


@pytest.mark.parametrize("net", ["cnn", "groups", "oblong", "group norm"])
def test_weights_are_spread_and_gathered_without_loss(net):
    task = NetTask({"net": net})
    module = task.build_model()
    spec = tensors_of(module)
    probe = task.transform(torch.from_numpy(noise_rows(task.net.rows, 3).inputs))
    stack = Stack(module, spec, torch.float32, probe)
    flat = torch.randn((3, sum(p.numel() for p in module.parameters())))
    spread = stack.spread(flat)
    assert sorted(spread) == [tensor.name for tensor in spec]
    assert all(len(weight) == 3 and weight.is_contiguous() for weight in spread.values())
    assert torch.equal(stack.gather(spread), flat)


class Scarce:
    """A device that holds no more than `most` models at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.tried: list[int] = []
        genuine = StackedEngine._train_stack

        def train_stack(engine, model, trainees, pace):
            self.tried.append(len(trainees))
            if len(trainees) > most:
                raise torch.OutOfMemoryError("pretended")
            return genuine(engine, model, trainees, pace)

        monkeypatch.setattr(StackedEngine, "_train_stack", train_stack)


def test_memory_running_out_halves_the_stack(monkeypatch):
    """Given a device that holds two models at a time, when six devices are to be trained at once, and then once more,
    then they are trained in stacks of half the size until it fits, with the same result, and the size is remembered.
    """
    scene = make_scene("dropout", SIZES, PACE)
    whole = StackedEngine(scene.task, scene.pool).train(scene.model, scene.trainees, scene.pace)
    scarce = Scarce(monkeypatch, 2)
    engine = StackedEngine(scene.task, scene.pool)
    parts = engine.train(scene.model, scene.trainees, scene.pace)
    assert scarce.tried == [6, 3, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(parts, whole, atol=2e-6, rtol=0)
    engine.train(scene.model, scene.trainees[:2], scene.pace)
    assert scarce.tried[8:] == [1, 1]


def test_memory_for_not_even_one_model_is_an_error(monkeypatch):
    scene = make_scene("digits", SIZES, PACE)
    Scarce(monkeypatch, 0)
    with pytest.raises(torch.OutOfMemoryError, match="pretended"):
        StackedEngine(scene.task, scene.pool).train(scene.model, scene.trainees, scene.pace)


@pytest.mark.parametrize("net", ["digits", "cnn", "group norm"])
def test_bf16_is_close(net):
    """Eight bits of a product's factors are left: updates agree to a tenth, losses to some thousandths of a nat."""
    scene = make_scene(net, (6, 3, 8), Pace(0.05, 0.9, 4, 1))
    exact = LoopEngine(scene.task, scene.pool, threads=1)
    rough = StackedEngine(scene.task, scene.pool, precision="bf16")
    wanted, found = (engine.train(scene.model, scene.trainees, scene.pace) for engine in (exact, rough))
    assert found.dtype == torch.float32
    error = torch.linalg.vector_norm(found - wanted, dim=1) / torch.linalg.vector_norm(wanted, dim=1)
    assert 1e-4 < float(error.max()) < 0.1
    assert rough.measure(scene.model, scene.pool).loss == pytest.approx(exact.measure(scene.model, scene.pool).loss, abs=0.01)


def rounding():
    """How products of float32 may be rounded: of matrices, of cuDNN's convolutions."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "allowed"), [("float32", ("highest", False)), ("tf32", ("high", True)), ("bf16", ("highest", False))]
)
def test_the_precision_of_products_is_given_back(precision, allowed):
    """Convolutions have a switch of their own, which torch leaves on: float32 would be TF32 there."""
    scene = make_scene("digits", SIZES, PACE)
    before = rounding()
    engine = StackedEngine(scene.task, scene.pool, precision=precision)
    with engine._allowed():
        assert rounding() == allowed
    assert rounding() == before
    with pytest.raises(RuntimeError), engine._allowed():
        raise RuntimeError
    assert rounding() == before


def test_passes_of_few_rows_measure_the_same(monkeypatch):
    scene = make_scene("digits", SIZES, PACE)
    engine = StackedEngine(scene.task, scene.pool)
    models = torch.stack([scene.model, -scene.model])
    whole = engine.losses(models, scene.pool)
    monkeypatch.setattr("bflcd.lab.engine.stacked.ACTIVATIONS", 2 * 64 * 7)
    parts = engine.losses(models, scene.pool)
    torch.testing.assert_close(parts[0], whole[0], atol=1e-6, rtol=1e-6)
    assert torch.equal(parts[1], whole[1])


def test_a_schedule_has_the_daemons_batches_longest_training_first():
    trainees = [Trainee(np.arange(100, 117), 1), Trainee(np.arange(9), 2), Trainee(np.array([50]), 3)]
    found = _schedule(trainees, PACE)
    assert found.active == [3, 3, 1, 1]
    assert found.counts.tolist() == [[8, 9, 8, 9], [9, 9, 0, 0], [1, 1, 0, 0]]
    for number, trainee in enumerate(trainees):
        steps = [batch for epoch in epochs_of(len(trainee.rows), Descent(0.05, 0.9, 8, 2, trainee.seed)) for batch in epoch]
        for step, batch in enumerate(steps):
            row = found.rows[number, step]
            assert np.array_equal(row[: len(batch)], trainee.rows[batch])
            assert np.all(row[len(batch) :] == NOWHERE)
    assert [len(batch) for batch in batches(np.arange(17), 8)] == [8, 9]
