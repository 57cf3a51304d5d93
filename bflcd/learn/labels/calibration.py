"""Training that leaves to the model how common classes are: logits calibrated to a device's own labels (ADR 36).

A device that has few classes learns first of all that there are no others, and its update says so to everybody. Trained on
logits to which the logarithm of each class's share is added, the network has nothing to gain by saying that (logit adjustment:
Menon et al. 2021; between devices: Zhang et al. 2022). What it learns then is to tell its classes apart.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from bflcd.learn.task import Task
from bflcd.params import MILLION, TaskSpec
from bflcd.types import PartsPerMillion

UNSEEN: Final = 0.5
"""Rows that every class counts as having beside its own (Krichevsky and Trofimov 1981): of none the logarithm is finite."""

HALVING: Final = 20
"""Rounds after which half of it is left, a fifth after twice as many, a tenth after three times: a prior that all share is
learned in the end, however hard the task."""

ENOUGH: Final = 3.0
"""Classes, by the perplexity of its labels, from which on a device has enough to tell apart; of one class alone nothing is."""

_BY_CLASS: Final = 3
"""Dimensions of outputs of devices that have a logit a class, [devices, rows, classes]."""

_WHOLE: Final = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def strength(spec: TaskSpec, known: PartsPerMillion, round_: int) -> float:
    """How much of the logarithm is added, from 0 to 1: the genesis' share, less the more the model knows and the older it is.

    `known`: what share of their rows judges found the model right on, as the ledger has it (`ledger.state.State.known`). Its
    square is taken off, since what a class is worth beside others is learned last, from devices that have both.
    """
    age = round_ / HALVING
    return spec.calibration / MILLION * (1.0 - (known / MILLION) ** 2) / (1.0 + max(age, age**2))


def log_shares(targets: Tensor, classes: int) -> Tensor:
    """What is added at full strength: the logarithm of each class's share of `targets` [rows], whole numbers from 0 to below
    `classes`, as much of it as they are classes enough (`ENOUGH`): float32 [classes], on their device."""
    counts = torch.bincount(targets, minlength=classes).double()
    own = counts[counts > 0] / counts.sum()
    perplexity = float(torch.exp(-(own * own.log()).sum()))
    enough = min(1.0, max(0.0, (perplexity - 1.0) / (ENOUGH - 1.0)))
    counts += UNSEEN
    return (enough * torch.log(counts / counts.sum())).float()


class Calibration:
    """What is added to outputs while devices train; nothing for tasks without classes, and at no strength."""

    def __init__(self, task: Task, targets: Sequence[Tensor], by: float) -> None:
        """`targets` [devices][rows]: of all rows that each trains on; `by`: `strength`."""
        named = by > 0 and task.classifies and all(each.dim() == 1 and each.dtype in _WHOLE and len(each) for each in targets)
        self._targets, self._by = targets if named else (), by
        self._added: Tensor | None = None

    def of_one(self, outputs: Tensor) -> Tensor:
        """A batch of the only device, [rows, classes], as its loss takes it. What is no tensor is the loss's own."""
        return self.of_many(outputs[None])[0] if self._targets and isinstance(outputs, Tensor) else outputs

    def of_many(self, outputs: Tensor) -> Tensor:
        """Batches of the first so many devices, [devices, rows, classes], as their losses take them."""
        if not self._targets or outputs.dim() != _BY_CLASS or not outputs.is_floating_point():
            return outputs
        if self._added is None:
            classes = outputs.shape[2]
            if any(int(each.min()) < 0 or int(each.max()) >= classes for each in self._targets):
                self._targets = ()  # numbers, but not of classes
                return outputs
            shares = torch.stack([log_shares(each, classes) for each in self._targets])
            self._added = (self._by * shares[:, None]).to(outputs.dtype)
        return outputs + self._added[: len(outputs)]
