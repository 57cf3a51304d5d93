"""Updates whose effect on a judge's rows tells something: of a class, or of one record.

Offers are held to the usual norm, so the asker pushes the model as far as it may along a gradient, and predicts what that does
from rows like the judges' own.
"""

from typing import Final

import torch
from torch import Tensor

from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows

STEPS: Final = 4
"""Of gradient descent along one question."""

RATE: Final = 0.05


class Crafter:
    """Makes questions of a model; `reference`: rows like those of the judges, `classes`: how many there may be."""

    def __init__(self, task: Task, reference: DeviceRows, classes: int) -> None:
        module = task.build_model()
        self.flat = FlatModel(module, tensors_of(module), reference.targets.device)
        self._task = task
        self.reference, self.classes = reference, classes

    def pushed(self, model: Tensor, rows: DeviceRows, weights: Tensor) -> Tensor:
        """The way from `model` down the losses of `rows` weighted by `weights` [rows], of norm 1."""
        flat = self.flat
        flat.weights.copy_(model)
        flat.module.train()
        for _ in range(STEPS):
            flat.gradient.zero_()
            outputs = flat.module(self._task.transform(rows.inputs))
            (self._task.row_loss(outputs, rows.targets) * weights).sum().backward()  # type: ignore[no-untyped-call]
            flat.weights.sub_(flat.gradient * (RATE / flat.gradient.norm().clamp(min=1e-9)))
        return of_norm_1(flat.weights - model)

    def toward_class(self, model: Tensor, label: int, sign: float) -> Tensor:
        """A direction that helps (sign 1) or harms (-1) the rows of one class, and does the contrary to the others."""
        own = self.reference.targets == label
        weights = torch.where(own, sign / own.sum().clamp(min=1), -sign / (~own).sum().clamp(min=1))
        return self.pushed(model, self.reference, weights)

    def honest(self, model: Tensor) -> Tensor:
        """A direction that helps everybody."""
        even = torch.full((len(self.reference),), 1.0 / len(self.reference), device=self.flat.device)
        return self.pushed(model, self.reference, even)

    def toward_record(self, model: Tensor, record: DeviceRows, sign: float, common: Tensor) -> Tensor:
        """A direction that helps or harms one record, without the part that helps everybody (`common`, of norm 1)."""
        pushed = self.pushed(model, record, torch.tensor([sign], device=self.flat.device))
        return of_norm_1(pushed - common * (pushed @ common))


def of_norm_1(way: Tensor) -> Tensor:
    """The same direction with norm 1."""
    scaled: Tensor = way / way.norm().clamp(min=1e-12)
    return scaled
