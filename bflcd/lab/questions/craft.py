"""Questions where nothing is clipped: a model's last layer can be made to answer exactly."""

from typing import Final

import torch
from torch import Tensor

from bflcd.learn.questions.craft import Crafter, of_norm_1
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows

STRONG: Final = 200.0
"""Weights of a unit that one record wakes, within what may travel after damping by four."""

RIDGE: Final = 0.01
"""Added to each feature's variance, so that features that never vary do not decide."""

LOUD: Final = 1000.0
"""A logit that decides alone, within the +-1024 that may travel, after damping by four."""


class LoudCrafter(Crafter):
    """Makes questions for judges that hold offers to no length too; `reference`: rows that nobody judges on, of all classes."""

    def __init__(self, task: Task, reference: DeviceRows, damping: int) -> None:
        super().__init__(task, reference, int(reference.targets.max()) + 1)
        self._damping = damping

    def shout(self, model: Tensor, label: int) -> Tensor:
        """A model that sees nothing but `label`: its accuracy is the class's share of the judge's rows."""
        update = torch.zeros_like(model)
        views = dict(self.flat.views(update))
        bias = [view for view in views.values() if view.shape == (self.classes,)][-1]
        bias[label] = LOUD
        return update

    def detector(self, model: Tensor, record: DeviceRows) -> tuple[Tensor, Tensor]:
        """Two updates that differ in one hidden unit, which `record` alone wakes: their gains differ if a judge holds it.

        For a perceptron with one hidden layer.
        """
        views = dict(self.flat.views(model))
        names = [name for name, view in views.items() if view.dim() == 2]
        first, last = names[0], names[-1]
        features = self._task.transform(self.reference.inputs).flatten(1)
        seen = self._task.transform(record.inputs).flatten(1)[0]
        spread = torch.cov(features.T) + RIDGE * torch.eye(features.shape[1])
        centre = of_norm_1(torch.linalg.solve(spread, seen - features.mean(0)))  # where it stands out most among its like
        highest, own = float((features @ centre).max()), float(seen @ centre)
        wakes_at = own - abs(own - highest) / 20
        asleep, awake = model.clone(), model.clone()
        for wanted, gain in ((asleep, 0.0), (awake, STRONG)):
            parts = dict(self.flat.views(wanted))
            parts[first][0] = centre * gain
            parts[first.replace("weight", "bias")][0] = -gain * wakes_at
            parts[last][:, 0] = 0.0
            parts[last][(int(record.targets[0]) + 1) % self.classes, 0] = gain
        return (asleep - model) * self._damping, (awake - model) * self._damping
