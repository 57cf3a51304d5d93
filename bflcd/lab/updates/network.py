"""A task's network as a function of its weights and rows, so that an attacker can train in thought and follow the gradients."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from bflcd.learn.checks.answers import built_model, row_losses, transformed
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Course:
    """One local training in thought: rate, momentum, the rows of each step, what is added to logits (calibration), and the norm
    that a row's gradient is cut to (None: it is not)."""

    rate: float
    momentum: float
    steps: tuple[Tensor, ...]
    added: Tensor | None = None
    clip: float | None = None


class Network:
    """Weights are flat vectors, rows are what the model takes (`Task.transform`); dropout is off."""

    def __init__(self, task: Task, device: torch.device) -> None:
        """Raises OperatorError (`bad_task`, `bad_model`)."""
        self._task, module = task, built_model(task)
        self._flat = FlatModel(module, tensors_of(module), device)
        module.eval()

    def inputs(self, rows: DeviceRows) -> Tensor:
        """Rows as the model takes them."""
        return transformed(self._task, rows.inputs)

    def head(self) -> slice | None:
        """Where in a flat vector the last layer's biases stand, one a class; None where the network doesn't end with any."""
        name, last = list(self._flat.module.named_parameters())[-1]
        if last.dim() != 1:
            return None
        ends = torch.arange(len(self._flat.weights), dtype=torch.float32)
        place = dict(self._flat.views(ends))[name]
        return slice(int(place[0]), int(place[-1]) + 1)

    def output_gradients(self, weights: Tensor, inputs: Tensor, targets: Tensor, added: Tensor | None = None) -> Tensor:
        """The gradient of each row's loss by its outputs: what it does to the last layer's biases, [rows, classes]."""
        with torch.no_grad():
            outputs: Tensor = functional_call(self._flat.module, self._tensors(weights), (inputs,))
        outputs = (outputs if added is None else outputs + added).requires_grad_()
        found: Tensor = torch.autograd.grad(row_losses(self._task, outputs, targets).sum(), outputs)[0]
        return found

    def row_gradients(self, weights: Tensor, inputs: Tensor, targets: Tensor, added: Tensor | None = None) -> Tensor:
        """The gradient of each row's loss by the weights, [rows, weights]; differentiable by `inputs`."""
        return self._flattened(self._by_row(self._tensors(weights), inputs, targets, added), len(targets))

    def train(self, weights: Tensor, inputs: Tensor, targets: Tensor, course: Course) -> Tensor:
        """The update [weights] that a device with these rows would publish, without noise; differentiable by `inputs`."""
        at, velocity = weights, torch.zeros_like(weights)
        for step in course.steps:
            velocity = course.momentum * velocity + self._step(at, inputs[step], targets[step], course)
            at = at - course.rate * velocity
        return at - weights

    def _step(self, weights: Tensor, inputs: Tensor, targets: Tensor, course: Course) -> Tensor:
        tensors = self._tensors(weights)
        if course.clip is None:
            trained, rest = self._split(tensors)
            found = grad(self._mean_loss)(trained, rest, inputs, targets, course.added)
            return self._flattened({name: one[None] for name, one in found.items()}, 1)[0]
        by_row = self._flattened(self._by_row(tensors, inputs, targets, course.added), len(targets))
        norms = torch.linalg.vector_norm(by_row, dim=1)
        summed: Tensor = (course.clip / norms.clamp(min=course.clip)) @ by_row
        return summed / len(targets)

    def _by_row(self, tensors: Tensors, inputs: Tensor, targets: Tensor, added: Tensor | None) -> dict[str, Tensor]:
        trained, rest = self._split(tensors)

        def loss(of: dict[str, Tensor], row: Tensor, target: Tensor) -> Tensor:
            return self._mean_loss(of, rest, row[None], target[None], added)

        found: dict[str, Tensor] = vmap(grad(loss), in_dims=(None, 0, 0))(trained, inputs, targets)
        return found

    def _mean_loss(
        self, trained: dict[str, Tensor], rest: dict[str, Tensor], inputs: Tensor, targets: Tensor, added: Tensor | None
    ) -> Tensor:
        outputs = functional_call(self._flat.module, {**trained, **rest}, (inputs,))
        mean: Tensor = row_losses(self._task, outputs if added is None else outputs + added, targets).mean()
        return mean

    def _tensors(self, weights: Tensor) -> dict[str, Tensor]:
        return dict(self._flat.views(weights))

    def _split(self, tensors: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What training moves, and what it does not."""
        trained = {name: one for name, one in tensors.items() if name in self._flat.trained}
        return trained, {name: one for name, one in tensors.items() if name not in trained}

    def _flattened(self, found: Tensors, rows: int) -> Tensor:
        """Named tensors with a leading dimension of `rows` as flat vectors, zeros where nothing is trained."""
        parts = [
            found[name].flatten(1) if name in found else view.new_zeros(rows, view.numel())
            for name, view in self._flat.views(self._flat.weights)
        ]
        return torch.cat(parts, dim=1)
