"""The engine for a GPU: whole stacks of devices in one pass, memory bounded by the size of a stack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.sgd import sgd

from bflcd.lab.engine.base import PRECISIONS, Engine, Pace, Precision, Trainee
from bflcd.lab.engine.stack import Stack
from bflcd.learn.flat import tensors_of
from bflcd.learn.labels.calibration import Calibration
from bflcd.learn.scoring import bounded_losses
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows, epochs_of
from bflcd.registry import entry_of

ACTIVATIONS: Final = 2**24
"""Rows times models of one pass without gradients, times the elements of one input row: bounds activations."""

NOWHERE: Final = -1
"""Fills a batch that is shorter than the others'."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The batches of a stack of trainees, longest training first.

    `rows` [trainees, steps, rows of a batch]: positions in the pool, NOWHERE where there is none; `counts` [trainees, steps]:
    rows of each batch; `active` [steps]: how many trainees, from the first, still train.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    active: list[int]


class StackedEngine(Engine):
    """`stack`: devices trained at once, halved while memory runs out."""

    def __init__(self, task: Task, pool: DeviceRows, *, precision: Precision = "float32", stack: int = 256) -> None:
        """Raises OperatorError (`bad_model`)."""
        self._task, self._pool, self.device = task, pool, pool.inputs.device
        self._products = entry_of(PRECISIONS, precision, "precision")
        module = task.build_model().to(self.device)
        spec = tensors_of(module)
        self.weights = sum(int(np.prod(tensor.shape)) for tensor in spec)
        self._stack = Stack(module, spec, self._products.dtype, task.transform(pool.inputs[:3]))
        self._size = stack

    @property
    def pool(self) -> DeviceRows:
        """All rows."""
        return self._pool

    @property
    def folded(self) -> bool:
        """Whether the network could be folded; else it runs through `torch.func.vmap`."""
        return self._stack.folded

    def train(self, model: Tensor, trainees: Sequence[Trainee], pace: Pace) -> Tensor:
        """Stack by stack, those with the most rows first, so that a stack's trainees end at about the same time."""
        updates = torch.empty((len(trainees), self.weights), dtype=torch.float32, device=self.device)
        order = sorted(range(len(trainees)), key=lambda i: (-len(trainees[i].rows), i))
        done = 0
        while done < len(order):
            part = order[done : done + self._size]
            if self._stack.mixes:  # batches of other lengths would be filled up with rows that change the others
                part = [i for i in part if len(trainees[i].rows) == len(trainees[part[0]].rows)]
            try:
                with self._allowed():
                    found = self._train_stack(model, [trainees[i] for i in part], pace)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self._size = len(part) // 2
                torch.cuda.empty_cache()
                continue
            updates[torch.tensor(part, device=self.device)] = found
            done += len(part)
        return updates

    def losses(self, models: Tensor, rows: DeviceRows) -> tuple[Tensor, Tensor]:
        """Passes of as many rows as activations allow."""
        self._stack.train_mode(False)
        weights = self._stack.spread(models)
        at_once = max(1, ACTIVATIONS // (len(models) * max(1, rows.inputs[0].numel())))
        losses, right = [], []
        with torch.no_grad(), self._allowed():
            for begin in range(0, len(rows), at_once):
                targets = rows.targets[begin : begin + at_once]
                inputs = self._task.transform(rows.inputs[begin : begin + at_once])
                outputs = self._stack.forward(weights, inputs, shared=True).flatten(0, 1)
                repeated = targets.repeat(len(models))
                losses.append(bounded_losses(self._task.row_loss(outputs, repeated)).view(len(models), -1))
                right.append(self._task.correct(outputs, repeated).view(len(models), -1))
        return torch.cat(losses, dim=1), torch.cat(right, dim=1)

    def _train_stack(self, model: Tensor, trainees: list[Trainee], pace: Pace) -> Tensor:
        schedule = _schedule(trainees, pace)
        rows = torch.from_numpy(schedule.rows).to(self.device)
        counts = torch.from_numpy(schedule.counts).to(self.device)
        start = self._stack.spread(model[None])
        weights = {name: value.repeat(len(trainees), *[1] * (value.dim() - 1)) for name, value in start.items()}
        velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
        own = [self._pool.targets[torch.from_numpy(trainee.rows).to(self.device)] for trainee in trainees]
        calibration = Calibration(self._task, own, pace.calibration)
        seeds = torch.tensor([trainee.seed for trainee in trainees], device=self.device)
        for dropout in self._stack.dropouts:
            dropout.begin(seeds)
        self._stack.train_mode(True)
        for step, active in enumerate(schedule.active):
            for dropout in self._stack.dropouts:
                dropout.narrow(active)
            parts = {name: value[:active].requires_grad_() for name, value in weights.items()}
            longest = int(schedule.counts[:active, step].max())
            gradients = self._gradients(parts, rows[:active, step, :longest], counts[:active, step], calibration)
            with torch.no_grad():
                sgd(
                    [part.detach() for part in parts.values()],
                    gradients,
                    [value[:active] for value in velocity.values()],
                    fused=True,
                    weight_decay=0.0,
                    momentum=pace.momentum,
                    lr=pace.rate,
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
                )
        return self._stack.gather(weights) - model

    def _gradients(self, weights: Mapping[str, Tensor], rows: Tensor, counts: Tensor, calibration: Calibration) -> list[Tensor]:
        """Of each trainee's mean loss over its batch: `rows` [trainees, rows of a batch], `counts` [trainees]."""
        chosen = rows.flatten()
        present = chosen != NOWHERE
        chosen = chosen.clamp(min=0)
        inputs = self._task.transform(self._pool.inputs[chosen])
        outputs = calibration.of_many(self._stack.forward(weights, inputs, shared=False)).flatten(0, 1)
        losses = self._task.row_loss(outputs, self._pool.targets[chosen]) * present
        total = (losses.view_as(rows).sum(1) / counts).sum()
        found = torch.autograd.grad(total, list(weights.values()))
        return [gradient.contiguous() for gradient in found]  # the fused step reads them in the order of the weights

    def _allowed(self) -> "_Rounding":
        return _Rounding(allowed=self._products.rounded)


class _Rounding:
    """While it is entered, products of float32 are rounded or not; what held before comes back.

    Those of matrices have one switch, cuDNN's convolutions another, which is on by default.
    """

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed
        self._before = ("", False)

    def __enter__(self) -> None:
        self._before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
        self._set("high" if self._allowed else "highest", self._allowed)

    def __exit__(self, *_: object) -> None:
        self._set(*self._before)

    @staticmethod
    def _set(matrices: str, convolutions: bool) -> None:
        torch.set_float32_matmul_precision(matrices)
        torch.backends.cudnn.allow_tf32 = convolutions


def _schedule(trainees: Sequence[Trainee], pace: Pace) -> _Schedule:
    """`trainees` with their rows in descending numbers. A trainee's batches are those of the daemon's own training."""
    every = [list(_steps(trainee, pace)) for trainee in trainees]
    steps, width = max(map(len, every)), max((len(batch) for batches in every for batch in batches), default=0)
    rows = np.full((len(trainees), steps, width), NOWHERE, dtype=np.int64)
    counts = np.zeros((len(trainees), steps), dtype=np.int64)
    for number, batches in enumerate(every):
        for step, batch in enumerate(batches):
            rows[number, step, : len(batch)] = batch
            counts[number, step] = len(batch)
    active = [sum(len(batches) > step for batches in every) for step in range(steps)]
    return _Schedule(rows, counts, active)


def _steps(trainee: Trainee, pace: Pace) -> Iterator[NDArray[np.int64]]:
    plan = pace.descent(trainee.seed)
    for epoch in epochs_of(len(trainee.rows), plan):
        for batch in epoch:
            yield trainee.rows[batch]
