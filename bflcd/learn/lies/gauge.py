"""What an offer will cost its judges, as far as a liar can know: the round's rules, which are public, and rows of its own."""

import torch
from torch import Tensor

from bflcd.learn.checks.answers import built_model
from bflcd.learn.checks.moves import held_share, norm_of
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.labels.balance import row_weights
from bflcd.learn.protocol import Judging
from bflcd.learn.scoring import mean_gain, measure
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows, never


class Gauge:
    """Measures offers on a liar's true rows as a judge would on its own."""

    def __init__(self, task: Task, rows: DeviceRows) -> None:
        module = built_model(task)
        self._task, self._rows = task, rows
        self._flat = FlatModel(module, tensors_of(module), rows.inputs.device)

    def cost(self, model: Tensor, offer: Tensor, judging: Judging) -> float:
        """The loss that `offer` adds to `model`, in margins of the round: above 1 such judges would refuse it."""
        flat = self._flat
        start = model.to(flat.device)
        flat.weights.copy_(start)
        base = measure(flat, self._task, self._rows, never).losses
        share = held_share(norm_of(offer.cpu().numpy()), judging.damping, judging.limit)
        torch.add(start, offer.to(flat.device), alpha=share, out=flat.weights)
        found = measure(flat, self._task, self._rows, never).losses
        return cost_in_margins(mean_gain(base, found, judging.row_limit, weights=self._weights(judging)), judging)

    def _weights(self, judging: Judging) -> Tensor | None:
        return row_weights(self._rows.targets.cpu()) if judging.balanced and self._task.classifies else None


def cost_in_margins(gain: int, judging: Judging) -> float:
    """A measured gain in micro-nats as a cost in margins; the margin is the edge of the lowest word that is no refusal."""
    return -gain / max(1, -judging.words[0])
