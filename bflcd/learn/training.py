"""Local training: stochastic gradient descent with momentum on one flat vector, deterministic by seed on one kind of device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bflcd.learn.checks.answers import built_model, rate_of, row_losses, transformed
from bflcd.learn.checks.magnitude import check_update, first_beyond
from bflcd.learn.flat import FlatModel, as_tensor, bad_model, tensors_of, to_numpy
from bflcd.learn.labels.calibration import Calibration, strength
from bflcd.learn.protocol import CANARY, TrainJob, TrainResult, WorkerError
from bflcd.learn.task import Rows, Task
from bflcd.params import MILLION, TaskSpec, TensorSpec
from bflcd.wire.tensors import VALUE_LIMIT, Floats, join_payload, split_payload
from bflcd.wire.training import Training

Batch = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Positions among a node's rows."""

Cancelled = Callable[[], bool]
"""Asked between batches; True ends the job."""


def never() -> bool:
    """For callers that cancel nothing."""
    return False


class JobCancelledError(Exception):
    """The job was cancelled between two batches."""


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """A task's rows as tensors on the device that computes."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> "DeviceRows":
        """Move `rows` once; batches are then gathered on the device."""
        inputs, targets = np.ascontiguousarray(rows.inputs), np.ascontiguousarray(rows.targets)  # torch knows no negative strides
        return cls(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device))

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, begin: int, end: int) -> "DeviceRows":
        """Rows from `begin` on and before `end`."""
        return DeviceRows(self.inputs[begin:end], self.targets[begin:end])


def initial_model(task: Task, seed: int) -> tuple[tuple[TensorSpec, ...], bytes]:
    """The tensor specification and the payload of model 0, initialised from `seed`.

    Raises OperatorError: `bad_task` for what is no model, `bad_model` for one that can't be learned.
    """
    torch.manual_seed(seed)
    module = built_model(task)
    spec = tensors_of(module)
    model = FlatModel(module, spec, torch.device("cpu"))
    weights = to_numpy(model.weights)
    found = first_beyond(spec, weights)
    if found is not None:
        limit = f"a model's values are finite and at most +-{VALUE_LIMIT:g}"
        raise bad_model(f"the tensor {found[0]} begins with {found[1]:g}", f"{limit}: let build_model begin with smaller ones")
    return spec, join_payload(model.counters.numpy(), weights, spec, label=None)


def train(
    model: FlatModel,
    task: Task,
    spec: TaskSpec,
    rows: DeviceRows,
    job: TrainJob,
    *,
    cancelled: Cancelled = never,
    descent: "Descend | None" = None,
) -> TrainResult:
    """Train `model` from the job's weights on all of `rows`; the update is the difference, with the parent's counters.

    `descent`: another way down than `descend`.

    Raises PeerError(BAD_TENSOR) for a broken payload, JobCancelledError, NotFiniteError for weights that are not finite,
    TaskError for what the task's code gave back, WorkerError for what else can't be offered.
    """
    begun = perf_counter()
    model.load(job.model)
    torch.manual_seed(job.seed)  # dropout
    plan = Descent.of(task, spec, job)
    loss = (descent or descend)(model, task, rows, plan, cancelled=cancelled)
    update = _difference(model, job.model, loss)
    payload = join_payload(split_payload(job.model, model.spec, label=None)[0], update, model.spec, label=job.label)
    return TrainResult(payload, len(rows), loss, perf_counter() - begun)


def opposite(trained: TrainResult, spec: tuple[TensorSpec, ...], label: str) -> TrainResult:
    """The result with `CANARY` times U in the place of U, each value within what may travel: as many bytes, the same claims, a
    step uphill."""
    counters, update = split_payload(trained.update, spec, label=label)
    turned = np.clip(update * np.float32(CANARY), -VALUE_LIMIT, VALUE_LIMIT)
    return replace(trained, update=join_payload(counters, turned, spec, label=label))


@dataclass(frozen=True, slots=True)
class Descent:
    """How one node trains in one round; `seed` draws the order of its rows, `calibration`: `labels.calibration.strength`."""

    rate: float
    momentum: float
    batch_size: int
    epochs: int
    seed: int
    calibration: float = 0.0

    @classmethod
    def of(cls, task: Task, spec: TaskSpec, job: TrainJob) -> "Descent":
        """What a genesis fixes for the round of `job`."""
        rate, by = rate_of(task, spec, job.round), strength(spec, job.known, job.round)
        return cls(rate, spec.momentum / MILLION, spec.batch_size, spec.local_epochs, job.seed, by)


class Descend(Protocol):
    """A way down from the loaded weights; as `descend`."""

    def __call__(self, model: FlatModel, task: Task, rows: DeviceRows, plan: Descent, *, cancelled: Cancelled) -> float:
        """The mean loss of the last epoch, in nats."""
        ...


def descend(model: FlatModel, task: Task, rows: DeviceRows, plan: Descent, *, cancelled: Cancelled = never) -> float:
    """Stochastic gradient descent from the loaded weights; the mean loss of the last epoch, in nats.

    Raises JobCancelledError, TaskError.
    """
    velocity = torch.zeros_like(model.weights)
    model.module.train()
    calibrated = Calibration(task, [rows.targets], plan.calibration)
    loss = 0.0
    for epoch in epochs_of(len(rows), plan):
        total = torch.zeros((), dtype=torch.float64, device=model.device)
        for chosen in epoch:
            if cancelled():
                raise JobCancelledError
            index = torch.from_numpy(chosen).to(model.device)
            outputs = calibrated.of_one(model.module(transformed(task, rows.inputs[index])))
            losses = row_losses(task, outputs, rows.targets[index])
            if not losses.requires_grad:
                raise WorkerError(
                    "the task's row_loss returned losses without a gradient: leave out detach() and torch.no_grad()",
                    Training.TASK,
                )
            model.gradient.zero_()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            velocity.mul_(plan.momentum).add_(model.gradient)
            model.weights.sub_(velocity, alpha=plan.rate)
            total += losses.detach().sum()
        loss = float(total) / len(rows)
    return loss


def epochs_of(rows: int, plan: Descent) -> Iterator[Iterator[Batch]]:
    """The batches of each epoch, as positions among a node's `rows`."""
    rng = np.random.Generator(np.random.PCG64(plan.seed))
    for _ in range(plan.epochs):
        yield batches(rng.permutation(rows), plan.batch_size)


def _difference(model: FlatModel, base: bytes, loss: float) -> Floats:
    start = as_tensor(split_payload(base, model.spec, label=None)[1]).to(model.device)
    update = to_numpy(model.weights - start)
    check_update(model.spec, model.trained, update, loss)
    return update


def batches(order: Batch, size: int) -> Iterator[Batch]:
    """Slices of `order` of `size`; a last batch of a single row joins the one before, since batch normalisation needs two."""
    begin = 0
    while begin < len(order):
        end = len(order) if len(order) - begin == size + 1 and size > 1 else begin + size
        yield order[begin:end]
        begin = end
