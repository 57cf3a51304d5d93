"""The sum of clipped gradients, one of each row, by the network's own forward pass on one row at a time (`torch.func.vmap`)."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from bflcd.learn.checks.answers import row_losses, transformed
from bflcd.learn.flat import FlatModel
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows

_FLOATS_AT_ONCE: Final = 2**24
"""Of gradients that are held beside each other: 64 MiB."""

_MOST_ROWS: Final = 256
"""Of one pass: more gain nothing."""


class RowGradients:
    """Gradients of `task`'s loss by row. No row sees another: transform, network and loss get one row each."""

    def __init__(self, model: FlatModel, task: Task) -> None:
        self._model, self._task = model, task
        self._at_once = max(1, min(_MOST_ROWS, _FLOATS_AT_ONCE // max(1, len(model.weights))))
        self._by_row = vmap(grad_and_value(self._loss), in_dims=(None, 0, 0), randomness="different")

    def clipped_sum(self, rows: DeviceRows, clip: float) -> tuple[Tensor, float]:
        """The sum of the rows' gradients, each cut to the norm `clip`, [weights]; and the sum of their losses.

        A row whose gradient is not finite adds nothing. Raises what the task's code or torch raises, TaskError.
        """
        model = self._model
        total = torch.zeros_like(model.weights)
        losses = 0.0
        tensors = {name: view for name, view in model.views(model.weights) if name in model.trained}
        sums = dict(model.views(total))
        for begin in range(0, len(rows), self._at_once):
            part = rows.part(begin, begin + self._at_once)
            found, values = self._by_row(tensors, part.inputs, part.targets)
            shares = _shares(found, clip)
            dropped = not bool((shares > 0).all())
            kept = (shares[shares > 0] if dropped else shares).float()
            for name, gradients in found.items():
                cut = gradients.flatten(1)[shares > 0] if dropped else gradients.flatten(1)
                sums[name].add_((kept @ cut).view_as(sums[name]))
            losses += float(values.sum())
        return total, losses

    def _loss(self, tensors: Mapping[str, Tensor], row: Tensor, target: Tensor) -> Tensor:
        task = self._task
        outputs = functional_call(self._model.module, dict(tensors), (transformed(task, row.unsqueeze(0)),))
        return row_losses(task, outputs, target.unsqueeze(0)).sum()


def _shares(gradients: Mapping[str, Tensor], clip: float) -> Tensor:
    """What is kept of each row's gradient, float64 [rows]: as much as its norm allows, nothing where that is not finite."""
    norms = [torch.linalg.vector_norm(one.flatten(1), dim=1, dtype=torch.float64) for one in gradients.values()]
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return torch.where(norm.isfinite(), clip / norm.clamp(min=clip), 0.0)
