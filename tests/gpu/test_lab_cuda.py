"""The laboratory on a GPU: stacks with and without the kernels equal a loop on the CPU, and the aggregate is the same bytes."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from bflcd.lab import exact
from bflcd.lab.engine import folded
from bflcd.lab.engine.base import Pace, Trainee
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.engine.stacked import StackedEngine
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.learn.task import Rows, find_task
from bflcd.learn.training import DeviceRows, initial_model
from bflcd.params import TensorSpec
from bflcd.wire.tensors import split_payload
from tests.helpers.lab import NETS, flat_of, make_scene, noise_rows, tiny
from tests.helpers.tensors import encode_tensors

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")]

CUDA, CPU = torch.device("cuda"), torch.device("cpu")

SIZES = (9, 1, 5, 16)
PACES = {"cnn": Pace(0.05, 0.9, 8, 1), "light": Pace(0.05, 0.9, 8, 1), "alexnet": Pace(0.005, 0.9, 8, 1)}

TOLERANCE = {"float32": 1e-4, "tf32": 0.25, "bf16": 0.5}
"""Largest relative error of an update: its difference to the loop's by its norm. TF32 has 10 bits of a factor, bf16 eight."""

LOSS = {"float32": 1e-5, "tf32": 0.02, "bf16": 0.05}
"""Nats of a mean loss."""


class Looped:
    """What a loop on the CPU makes of one network: computed once."""

    def __init__(self, model: str) -> None:
        self.task = find_task("femnist", {"classes": "10", "model": model})
        self.rows, self.pace = noise_rows("28x28", sum(SIZES)), PACES[model]
        spec, payload = initial_model(self.task, 1)
        self.model = flat_of(payload, spec)
        bounds = np.cumsum((0, *SIZES))
        self.trainees = [Trainee(np.arange(a, b), 7 + a) for a, b in pairwise(bounds)]
        self.members = [np.arange(10), np.arange(10, sum(SIZES))]
        loop = LoopEngine(self.task, DeviceRows.of(self.rows, CPU))
        self.updates = loop.train(self.model, self.trainees, self.pace)
        self.scored = torch.cat([self.updates, -self.updates[:1], torch.zeros_like(self.updates[:1])])
        self.scores = loop.score(self.model, self.scored, self.members, 4)
        self.measured = loop.measure(self.model, loop.pool)


@pytest.fixture(scope="module", params=PACES)
def looped(request):
    return Looped(request.param)


@pytest.fixture(params=[True, False], ids=["with Triton", "without"])
def _triton(request, monkeypatch):
    if request.param:
        pytest.importorskip("triton")
    monkeypatch.setattr(folded, "_has_triton", lambda: request.param)


@pytest.mark.usefixtures("_triton")
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("stack", [1, 64])
def test_stacks_equal_a_loop_on_the_cpu(looped, precision, stack):
    """Given devices of 1 to 16 rows, when they are trained in stacks of any size, then each offers what a loop on the CPU gives;
    with dropout too, whose masks follow from the seeds alone.
    """
    engine = StackedEngine(looped.task, DeviceRows.of(looped.rows, CUDA), precision=precision, stack=stack)
    assert engine.folded
    found = engine.train(looped.model.to(CUDA), looped.trainees, looped.pace).cpu()
    assert found.dtype == torch.float32
    error = torch.linalg.vector_norm(found - looped.updates, dim=1) / torch.linalg.vector_norm(looped.updates, dim=1)
    assert float(error.max()) < TOLERANCE[precision], error.tolist()


@pytest.mark.usefixtures("_triton")
@pytest.mark.parametrize("precision", TOLERANCE)
def test_scores_are_those_of_a_loop_on_the_cpu(looped, precision):
    engine = StackedEngine(looped.task, DeviceRows.of(looped.rows, CUDA), precision=precision)
    model = looped.model.to(CUDA)
    found, nats = engine.score(model, looped.scored.to(CUDA), looped.members, 4), LOSS[precision] * 1e6
    np.testing.assert_allclose(found.gains, looped.scores.gains, atol=nats, rtol=0.05 if precision == "bf16" else 0.01)
    np.testing.assert_allclose(found.base_losses, looped.scores.base_losses, atol=nats)
    assert engine.measure(model, engine.pool).loss == pytest.approx(looped.measured.loss, abs=LOSS[precision])


@pytest.mark.usefixtures("_triton")
@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_zero_update_gains_nothing(looped, precision):
    """Given a zero update among others, when all are scored at once, then it gains exactly what the base has: nothing."""
    engine = StackedEngine(looped.task, DeviceRows.of(looped.rows, CUDA), precision=precision)
    found = engine.score(looped.model.to(CUDA), looped.scored.to(CUDA), looped.members, 4)
    assert found.gains[:, -1].tolist() == [0, 0]
    assert found.accuracies[:, -1].tolist() == found.base_accuracies.tolist()


@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "size"), [(16, 32, 5, 14), (64, 192, 3, 14), (192, 384, 3, 7), (384, 256, 3, 7)]
)
def test_the_kernels_treat_every_model_alike_and_do_so_again(inputs, outputs, side, size):
    """Given seven models of the same weights on the same 31 rows, when the kernels run twice, then all results are the same bits, and
    near those of float64.
    """
    pytest.importorskip("triton")
    from bflcd.lab.engine import kernels

    dtype = torch.bfloat16
    torch.manual_seed(0)
    one = torch.randn((31, size, size, inputs), device=CUDA).to(dtype)
    kernel = (torch.randn((side, side, inputs, outputs), device=CUDA) / (side * inputs**0.5)).to(dtype)
    slope = torch.randn((31, size, size, outputs), device=CUDA).to(dtype)
    x, weights, gradient = (part.expand(7, *part.shape).contiguous() for part in (one, kernel, slope))
    wide = kernel.double().permute(3, 2, 0, 1).requires_grad_()
    expected = torch.nn.functional.conv2d(one.double().permute(0, 3, 1, 2), wide, padding=side // 2)
    (of_kernel,) = torch.autograd.grad(expected, wide, slope.double().permute(0, 3, 1, 2))
    expected = expected.detach()
    for run, wanted in (
        (lambda: kernels.convolve(x, weights), expected.permute(0, 2, 3, 1)),
        (lambda: kernels.convolve(x[:1], weights), expected.permute(0, 2, 3, 1)),
        (lambda: kernels.kernel_gradient(x, gradient, side), of_kernel.permute(2, 3, 1, 0)),
    ):
        first, again = run(), run()
        assert torch.equal(first, again)
        assert torch.equal(first, first[:1].expand_as(first).contiguous())
        assert float((first[0].double() - wanted).abs().max() / wanted.abs().max()) < 2e-2


@pytest.mark.parametrize("net", [name for name in NETS if name not in PACES])
def test_every_kind_of_network(net):
    """Those that go through `vmap` too."""
    sizes, pace = (9, 17, 1, 8), Pace(0.05, 0.9, 8, 2)
    cpu, gpu = make_scene(net, sizes, pace), make_scene(net, sizes, pace, CUDA)
    wanted = LoopEngine(cpu.task, cpu.pool, threads=1).train(cpu.model, cpu.trainees, pace)
    engine = StackedEngine(gpu.task, gpu.pool)
    assert engine.folded is NETS[net].folded
    error = engine.train(gpu.model, gpu.trainees, pace).cpu() - wanted  # one rectifier at its edge turns some coordinates
    assert float((torch.linalg.vector_norm(error, dim=1) / torch.linalg.vector_norm(wanted, dim=1)).max()) < 1e-3
    scores = [
        e.score(s.model, u, [np.arange(20)], 4)
        for e, s, u in ((engine, gpu, wanted.to(CUDA)), (LoopEngine(cpu.task, cpu.pool), cpu, wanted))
    ]
    np.testing.assert_allclose(scores[0].gains, scores[1].gains, atol=40)


def test_the_aggregate_is_the_daemons_bytes():
    rng = np.random.default_rng(1)
    spec = (TensorSpec("w", (70_001,), "F32"),)
    model = rng.normal(size=70_001).astype(np.float32)
    for rule, count, limit in (("fedavg", 9, None), ("median", 8, None), ("median", 9, 2**14), ("fedavg", 8, 2**14)):
        updates = (rng.normal(size=(count, 70_001)) * rng.choice([1e-7, 0.1, 300.0], (count, 1))).astype(np.float32)
        updates = updates.clip(-1024, 1024)
        updates[:, :4] = [1024.0, -1024.0, 2.0**-25, -(2.0**-25)]
        weights = rng.integers(1, 2**16, count).tolist()
        payloads = [
            WeightedUpdate(w, "u", encode_tensors({"w": u}, spec, label="u")) for w, u in zip(weights, updates, strict=True)
        ]
        theirs = split_payload(
            aggregate(rule, encode_tensors({"w": model}, spec, label=None), payloads, spec, limit), spec, label=None
        )[1]
        ours = exact.aggregate(rule, torch.from_numpy(model).to(CUDA), torch.from_numpy(updates).to(CUDA), weights, limit)
        assert ours.cpu().numpy().tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    "setting", [tiny(rounds=8, every=8), tiny(rounds=8, every=8, framework="fedavg", attack="noise", liars=0.2, strength=1.0)]
)
def test_rounds_on_a_gpu_end_where_they_do_on_a_cpu(setting):
    """Within two points, with noise of another generator too; and twice on one GPU is the same."""
    found = {}
    for name, machine in (
        ("cpu", Machine("cpu")),
        ("cuda", Machine("cuda")),
        ("again", Machine("cuda")),
        ("bf16", Machine("cuda", "bf16")),
    ):
        simulation = Simulation(setting, machine)
        while not simulation.done:
            record = simulation.advance()
        found[name] = (record["accuracy"], simulation.model.cpu())
    assert found["cuda"][0] == pytest.approx(found["cpu"][0], abs=0.02)
    assert found["bf16"][0] == pytest.approx(found["cpu"][0], abs=0.04)
    assert torch.equal(found["cuda"][1], found["again"][1])


def test_an_interrupted_simulation_goes_on_where_it_was_kept():
    setting = tiny(rounds=4, attack="sleeper", liars=0.5)
    whole, first, second = (Simulation(setting, Machine("cuda")) for _ in range(3))
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        first.advance()
    second.restore({name: vector.cpu() for name, vector in first.vectors().items()}, first.memory())
    for _ in range(2):
        second.advance()
    assert torch.equal(second.model, whole.model)
    assert second.memory() == whole.memory()


def test_memory_running_out_for_real_halves_the_stack():
    """Given a GPU most of which is taken, when a stack of networks is trained that does not fit, then smaller ones are."""
    task = find_task("femnist", {"classes": "10", "model": "alexnet"})
    rng = np.random.default_rng(0)
    rows = Rows(rng.integers(0, 256, (64, 28, 28), dtype=np.uint8), rng.integers(0, 10, 64))
    spec, payload = initial_model(task, 1)
    model = flat_of(payload, spec).to(CUDA)
    trainees = [Trainee(np.arange(i, i + 8), i) for i in range(48)]
    engine, pace = StackedEngine(task, DeviceRows.of(rows, CUDA), stack=48), Pace(0.005, 0.9, 8, 1)
    expected = engine.train(model, trainees, pace)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2.5 * 2**30) / total)
    try:
        found = engine.train(model, trainees, pace)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert engine._size < 48
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
