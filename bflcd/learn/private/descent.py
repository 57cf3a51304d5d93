"""Noisy gradient descent (Abadi et al. 2016): nothing of a row reaches the weights but through a clipped, noisy sum."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bflcd.learn.flat import FlatModel
from bflcd.learn.private.gradients import RowGradients
from bflcd.learn.private.mechanism import THOUSAND, Mechanism
from bflcd.learn.private.noise import Chance
from bflcd.learn.task import Task
from bflcd.learn.training import Cancelled, Descent, DeviceRows, JobCancelledError, never


@dataclass(frozen=True, slots=True)
class PrivateDescent:
    """`learn.training.Descend` by a mechanism, with what `chance` draws."""

    mechanism: Mechanism
    chance: Chance

    def __call__(self, model: FlatModel, task: Task, rows: DeviceRows, plan: Descent, *, cancelled: Cancelled = never) -> float:
        """The mechanism's steps from the loaded weights; the mean loss of the rows drawn last, in nats, for the operator alone.

        A step is the noisy sum by the rows that a lot has on average, which nobody need hide; momentum and all that follows only
        work on what is noisy already. Of `plan` the rate and the momentum count: calibration would tell of labels what no
        noise covers. The noise is added in float64 and the sum
        rounded to float32 then, so that no low bit of it tells which sum it hides (Mironov 2012). Raises JobCancelledError,
        TaskError.
        """
        mechanism, gradients = self.mechanism, RowGradients(model, task)
        velocity, moved = torch.zeros_like(model.weights), _moved(model)
        model.module.train()
        last = max(0, mechanism.steps - mechanism.lots)
        loss, looked_at = 0.0, 0
        for step in range(mechanism.steps):
            if cancelled():
                raise JobCancelledError
            index = torch.from_numpy(self.chance.sample(len(rows), mechanism.lots)).to(model.device)
            total, losses = gradients.clipped_sum(DeviceRows(rows.inputs[index], rows.targets[index]), mechanism.clip)
            noisy = self._covered(total).div_(len(rows) / mechanism.lots).float()
            velocity.mul_(plan.momentum).add_(noisy.mul_(moved))
            model.weights.sub_(velocity, alpha=plan.rate)
            if step >= last:
                loss, looked_at = loss + losses, looked_at + len(index)
        return loss / max(1, looked_at)

    def _covered(self, total: Tensor) -> Tensor:
        noise = torch.from_numpy(self.chance.gaussian(len(total))).to(total.device)
        return total.double().add_(noise, alpha=self.mechanism.noise / THOUSAND * self.mechanism.clip)


def _moved(model: FlatModel) -> Tensor:
    """1 where training moves a weight, 0 where it stands still: noise there would be an update of its own."""
    moved = torch.zeros_like(model.weights)
    for name, view in model.views(moved):
        view.fill_(name in model.trained)
    return moved
