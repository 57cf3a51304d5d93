"""Classes of a judge's rows: how much each counts in what it says of a gain, and what each loses by an offer."""

from typing import Final

import torch
from torch import Tensor

from bflcd.params import MILLION

HEAVIEST: Final = 4.0
"""What a row of a rare class counts at most, in what rows of a class as frequent as all others would."""

MIN_CLASS_ROWS: Final = 3
"""Rows of a class without which a judge does not look at it by itself."""


def row_weights(targets: Tensor) -> Tensor:
    """What each row counts where a judge's classes count alike (ADR 36), float64 [rows], of mean 1.

    A class as frequent as the average one has rows of weight 1, a rarer one heavier rows, up to `HEAVIEST`. Targets that are no
    classes are one, so that all rows count alike.
    """
    if targets.dtype.is_floating_point or targets.dim() != 1:
        return torch.ones(len(targets), dtype=torch.float64)
    classes, of, counts = torch.unique(targets, return_inverse=True, return_counts=True)
    weights: Tensor = (len(targets) / (len(classes) * counts.double())).clamp(max=HEAVIEST)[of]
    return weights.div_(weights.mean())


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
