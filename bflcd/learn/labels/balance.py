"""Classes of a judge's rows: how much each counts in what it says of a gain, and what each loses by an offer."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.params import MILLION

HEAVIEST: Final = 4.0
"""What a row counts at most, of what the rows do on average: none of a rare class says much about itself."""

MIN_CLASS_ROWS: Final = 3
"""Rows of a class without which a judge does not look at it by itself."""


def weights_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a row of each class counts where classes count alike, [..., classes], of `counts` of rows of the same shape.

    The rows' mean weight is 1, no row counts more than `HEAVIEST`, and all classes whose rows don't count that much count the
    same together; a class without rows has no weight.
    """
    most = np.sort(HEAVIEST * counts, axis=-1)
    left = counts.sum(-1, keepdims=True) - np.cumsum(most, axis=-1) + most
    share = left / np.arange(counts.shape[-1], 0, -1)
    first = np.argmax(most >= share, axis=-1)[..., None]  # those below it count as much as they may
    alike = np.take_along_axis(share, first, axis=-1)
    there = counts > 0
    return np.where(there, np.minimum(HEAVIEST, alike / np.where(there, counts, 1.0)), 0.0)


def row_weights(targets: Tensor) -> Tensor:
    """What each row counts where a judge's classes count alike (ADR 36), float64 [rows], of mean 1 and at most `HEAVIEST`.

    Where targets are no classes (numbers below 0 mark rows that a loss ignores), all rows count alike.
    """
    if targets.dtype.is_floating_point or targets.dim() != 1 or not len(targets) or int(targets.min()) < 0:
        return torch.ones(len(targets), dtype=torch.float64)
    _, of, counts = torch.unique(targets, return_inverse=True, return_counts=True)
    return torch.from_numpy(weights_of(counts.double().cpu().numpy()))[of.cpu()]


def class_costs(base: Tensor, losses: Tensor, targets: Tensor) -> Tensor:
    """What each model takes from the class that loses most, less what it gives to the one that gains most, [models].

    In millionths of confidence, from -2 to 1 million; who knows few classes, and knows them well, gives about what it takes.
    Confidence in a row is exp(-loss), for cross-entropy the probability of its class; of a class's rows the mean counts. `base`
    [rows], `losses` [models, rows]. Classes of fewer than `MIN_CLASS_ROWS` rows don't count; targets that are no classes are one.
    """
    lost = torch.exp(-base.clamp(min=0)) - torch.exp(-losses.clamp(min=0))
    if targets.dtype.is_floating_point or targets.dim() != 1:
        targets = torch.zeros(len(base), dtype=torch.int64)
    classes, counts = torch.unique(targets, return_counts=True)
    members = (targets[:, None] == classes[counts >= MIN_CLASS_ROWS]).double()
    if not members.numel():
        return torch.zeros(len(losses), dtype=torch.int64)
    means = lost.double() @ members / members.sum(0)
    given = (-means).max(1).values.clamp(min=0)
    costs: Tensor = ((means.max(1).values - given) * MILLION).round().long()
    return costs
