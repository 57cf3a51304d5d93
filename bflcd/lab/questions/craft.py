"""Updates whose effect on a judge's rows tells something: of a class, or of one record.

Where nothing is clipped a model's last layer can be made to answer exactly. Where offers are held to the usual norm the asker
pushes the model as far as it may along a gradient, and predicts what that does from rows like the judges' own.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows

STEPS: Final = 4
"""Of gradient descent along one question."""

RATE: Final = 0.05

STRONG: Final = 200.0
"""Weights of a unit that one record wakes, within what may travel after damping by four."""

RIDGE: Final = 0.01
"""Added to each feature's variance, so that features that never vary do not decide."""

LOUD: Final = 1000.0
"""A logit that decides alone, within the +-1024 that may travel, after damping by four."""


@dataclass(frozen=True, slots=True)
class Question:
    """`update` [weights] and what it asks about: a class, or None for a record."""

    update: Tensor
    about: int | None


class Crafter:
    """Makes questions of a model; `reference`: rows like those of the judges, which nobody judges on."""

    def __init__(self, task: Task, reference: DeviceRows, damping: int) -> None:
        module = task.build_model()
        self._flat = FlatModel(module, tensors_of(module), torch.device("cpu"))
        self._task, self._damping = task, damping
        self.reference = reference
        self.classes = int(reference.targets.max()) + 1

    def pushed(self, model: Tensor, rows: DeviceRows, weights: Tensor) -> Tensor:
        """The way from `model` down the losses of `rows` weighted by `weights` [rows], of norm 1."""
        flat = self._flat
        flat.weights.copy_(model)
        flat.module.train()
        for _ in range(STEPS):
            flat.gradient.zero_()
            outputs = flat.module(self._task.transform(rows.inputs))
            (self._task.row_loss(outputs, rows.targets) * weights).sum().backward()  # type: ignore[no-untyped-call]
            flat.weights.sub_(flat.gradient * (RATE / flat.gradient.norm().clamp(min=1e-9)))
        return _of_norm_1(flat.weights - model)

    def toward_class(self, model: Tensor, label: int, sign: float) -> Tensor:
        """A direction that helps (sign 1) or harms (-1) the rows of one class, and does the contrary to the others."""
        own = self.reference.targets == label
        weights = torch.where(own, sign / own.sum().clamp(min=1), -sign / (~own).sum().clamp(min=1))
        return self.pushed(model, self.reference, weights)

    def honest(self, model: Tensor) -> Tensor:
        """A direction that helps everybody."""
        return self.pushed(model, self.reference, torch.full((len(self.reference),), 1.0 / len(self.reference)))

    def toward_record(self, model: Tensor, record: DeviceRows, sign: float, common: Tensor) -> Tensor:
        """A direction that helps or harms one record, without the part that helps everybody (`common`, of norm 1)."""
        pushed = self.pushed(model, record, torch.tensor([sign]))
        return _of_norm_1(pushed - common * (pushed @ common))

    # -- without a clip -----------------------------------------------------------------------------------------------

    def shout(self, model: Tensor, label: int) -> Tensor:
        """A model that sees nothing but `label`: its accuracy is the class's share of the judge's rows."""
        update = torch.zeros_like(model)
        views = dict(self._flat.views(update))
        bias = [view for view in views.values() if view.shape == (self.classes,)][-1]
        bias[label] = LOUD
        return update

    def detector(self, model: Tensor, record: DeviceRows) -> tuple[Tensor, Tensor]:
        """Two updates that differ in one hidden unit, which `record` alone wakes: their gains differ if a judge holds it.

        For a perceptron with one hidden layer.
        """
        views = dict(self._flat.views(model))
        names = [name for name, view in views.items() if view.dim() == 2]
        first, last = names[0], names[-1]
        features = self._task.transform(self.reference.inputs).flatten(1)
        seen = self._task.transform(record.inputs).flatten(1)[0]
        spread = torch.cov(features.T) + RIDGE * torch.eye(features.shape[1])
        centre = _of_norm_1(torch.linalg.solve(spread, seen - features.mean(0)))  # where it stands out most among its like
        highest, own = float((features @ centre).max()), float(seen @ centre)
        wakes_at = own - abs(own - highest) / 20
        asleep, awake = model.clone(), model.clone()
        for wanted, gain in ((asleep, 0.0), (awake, STRONG)):
            parts = dict(self._flat.views(wanted))
            parts[first][0] = centre * gain
            parts[first.replace("weight", "bias")][0] = -gain * wakes_at
            parts[last][:, 0] = 0.0
            parts[last][(int(record.targets[0]) + 1) % self.classes, 0] = gain
        return (asleep - model) * self._damping, (awake - model) * self._damping


def _of_norm_1(way: Tensor) -> Tensor:
    scaled: Tensor = way / way.norm().clamp(min=1e-12)
    return scaled
