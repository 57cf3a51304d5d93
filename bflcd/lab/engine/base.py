"""What a simulation asks of an engine: train many devices, score many updates on many members' rows, measure one model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.engine.privacy import NoisyTraining
from bflcd.learn.checks.moves import held_share
from bflcd.learn.labels.balance import class_costs, row_weights
from bflcd.learn.protocol import WIDEST_ROW_LIMIT
from bflcd.learn.scoring import ROW_LOSS_LIMIT
from bflcd.learn.task import Task
from bflcd.learn.training import Descent, DeviceRows
from bflcd.params import MILLION
from bflcd.types import MicroNats

Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True, slots=True)
class Products:
    """How products are computed: their type, and whether a GPU may round those of float32 (to TF32)."""

    dtype: torch.dtype
    rounded: bool = False


PRECISIONS: Final[Mapping[str, Products]] = {
    "float32": Products(torch.float32),
    "tf32": Products(torch.float32, rounded=True),
    "bf16": Products(torch.bfloat16),
}
"""By the names of `Precision`."""

Positions = NDArray[np.int64]
"""Positions among the rows that an engine holds."""


@dataclass(frozen=True, slots=True)
class Trainee:
    """One device's training in one round: its rows, and the seed of their order and of dropout; `noisy`: how, with privacy."""

    rows: Positions
    seed: int
    noisy: NoisyTraining | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How everybody trains in one round: rate, momentum, rows of a batch, epochs, `learn.labels.calibration.strength`."""

    rate: float
    momentum: float
    batch_size: int
    epochs: int
    calibration: float = 0.0

    def descent(self, seed: int) -> Descent:
        """Of a trainee."""
        return Descent(self.rate, self.momentum, self.batch_size, self.epochs, seed, self.calibration)


@dataclass(frozen=True, slots=True)
class Scores:
    """What Q members measure of P updates, in the integers of a score card.

    `gains` (micro-nats), `accuracies` (millionths), `costs` (`learn.labels.balance.class_costs`): [members, updates];
    `base_losses`, `base_accuracies`: [members].
    """

    gains: NDArray[np.int64]
    accuracies: NDArray[np.int64]
    base_losses: NDArray[np.int64]
    base_accuracies: NDArray[np.int64]
    costs: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model on test rows: accuracy from 0 to 1, mean loss in nats, how many rows, and whether it is right on each."""

    accuracy: float
    loss: float
    rows: int
    right: NDArray[np.bool_] = field(compare=False, repr=False)


class Engine(ABC):
    """Holds the rows of all devices on one device of the machine; models and updates are flat float32 vectors there."""

    device: torch.device
    weights: int
    """Length of a model's vector."""
    _task: Task

    @abstractmethod
    def train(self, model: Tensor, trainees: Sequence[Trainee], pace: Pace) -> Tensor:
        """The updates, [trainees, weights]: each trainee's model after its training, less `model`; not finite if it diverged."""

    @abstractmethod
    def losses(self, models: Tensor, rows: DeviceRows) -> tuple[Tensor, Tensor]:
        """Loss (float64, nats, within +-1000) and rightness (bool) of each model on each row, [models, rows]."""

    @property
    @abstractmethod
    def pool(self) -> DeviceRows:
        """All rows, on the device."""

    def gather(self, positions: Positions) -> DeviceRows:
        """Rows of the pool."""
        index = torch.from_numpy(positions).to(self.device)
        return DeviceRows(self.pool.inputs[index], self.pool.targets[index])

    def score(
        self,
        model: Tensor,
        updates: Tensor,
        members: Sequence[Positions],
        damping: int,
        *,
        limit: int | None = None,
        row_limit: MicroNats = WIDEST_ROW_LIMIT,
        gain_limit: MicroNats = WIDEST_ROW_LIMIT,
        step: Tensor | None = None,
        balanced: bool = False,
    ) -> Scores:
        """Judge each of `updates` [updates, weights] at model + U / damping on each member's rows, all members' rows joined.

        No step is longer than `limit`, in the unit of cards; no row gains or loses more than `row_limit`,
        or gains more than `gain_limit`. With `step` [weights], the last one, each is judged without what it repeats of that
        (`learn.checks.moves`). `balanced`: what a member says is the less of the mean over its rows and over its classes.

        The base is measured in every pass beside the updates that it is compared with: a GPU rounds a stack of one otherwise than
        one of many, and a zero update must gain nothing. Nor does it round every model of a stack alike (it may split a product
        among its processors at other places), so models equal to the base take its losses.
        """
        rows = self.gather(np.concatenate(members))
        sizes = [len(member) for member in members]
        alongs, squares = _repetitions(updates, step)
        norms = (updates.double().square().sum(1) - alongs.square() * squares).clamp(min=0).sqrt()
        shares = torch.tensor([held_share(norm, damping, limit) for norm in norms.tolist()])
        repeated = torch.zeros(len(updates), 1, dtype=torch.float64)
        if step is not None and alongs.any():
            share = held_share(squares**0.5, damping, limit)
            losses = self.losses(torch.stack([model, model + share * step]), rows)[0].cpu()
            repeated = (alongs.cpu() * shares / share)[:, None] * (losses[0] - losses[1])
        targets, by_class, passes = rows.targets.cpu(), balanced and self._task.classifies, []
        for begin in range(0, max(1, len(updates)), self._scored_at_once):
            part = slice(begin, begin + self._scored_at_once)
            stack = torch.cat([model[None], updates[part]])
            if step is not None:
                stack[1:].addcmul_(alongs[part, None].to(stack), step[None], value=-1)
            stack[1:].mul_(shares[part, None].to(stack)).add_(model)
            losses, right = self.losses(stack, rows)
            equal = (stack == model).all(1)
            losses[equal], right[equal] = losses[0].clone(), right[0].clone()
            measured = (losses.cpu(), right.cpu(), targets, sizes, repeated[part])
            passes.append(_by_member(*measured, row_limit=row_limit, gain_limit=gain_limit, balanced=by_class))
        return Scores(
            gains=np.concatenate([one.gains for one in passes], axis=1),
            accuracies=np.concatenate([one.accuracies for one in passes], axis=1),
            base_losses=passes[0].base_losses,
            base_accuracies=passes[0].base_accuracies,
            costs=np.concatenate([one.costs for one in passes], axis=1),
        )

    @property
    def _scored_at_once(self) -> int:
        """Damped models that are held beside the updates."""
        return 64

    def measure(self, model: Tensor, rows: DeviceRows) -> Measurement:
        """Accuracy and loss of one model."""
        losses, right = self.losses(model[None], rows)
        return Measurement(float(right.double().mean()), float(losses.mean()), len(rows), right[0].cpu().numpy())


def _repetitions(updates: Tensor, step: Tensor | None) -> tuple[Tensor, float]:
    """How many times each of `updates` repeats `step`, and that one's squared norm; zeros without one."""
    squares = 0.0 if step is None else float(step.double().square().sum())
    if step is None or squares == 0.0:
        return torch.zeros(len(updates), dtype=torch.float64, device=updates.device), 0.0
    return ((updates.double() @ step.double()) / squares).clamp(min=0), squares


def _by_member(
    losses: Tensor,
    right: Tensor,
    targets: Tensor,
    sizes: Sequence[int],
    repeated: Tensor | None = None,
    *,
    row_limit: MicroNats = WIDEST_ROW_LIMIT,
    gain_limit: MicroNats = WIDEST_ROW_LIMIT,
    balanced: bool = False,
) -> Scores:
    """Means over each member's rows as integers; losses and rightness are [models, rows], the first model is the base.

    `repeated` [models - 1, rows or 1]: what rows gain by what was left out of each model; it counts if the mean is less with it.
    `balanced`: and so do classes, if the mean over them is less.
    """
    owned = torch.split(targets, list(sizes))
    parts = zip(torch.split(losses, list(sizes), dim=1), owned, strict=True)
    costs = torch.stack([class_costs(part[0], part[1:], own) for part, own in parts])
    by_class = torch.cat([row_weights(own) for own in owned]).numpy() if balanced else None
    weighings = [1.0] if by_class is None else [1.0, by_class]
    counts = np.array(sizes, dtype=np.int64)[:, None]
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    loss = losses.numpy()
    least, most = -row_limit / MILLION, min(row_limit, gain_limit) / MILLION
    gained = loss[:1] - loss[1:]
    ways = [gained] if repeated is None else [gained, gained + repeated.numpy()]
    held = [np.clip(one, least, most) for one in ways]
    gains = np.minimum.reduce([np.add.reduceat(one * by, starts, axis=1).T / counts for one in held for by in weighings])
    bases = np.add.reduceat(loss[0], starts) / counts[:, 0]
    accuracies = np.add.reduceat(right.numpy().astype(np.int64), starts, axis=1).T * MILLION // counts
    return Scores(
        gains=np.rint(np.clip(gains, -ROW_LOSS_LIMIT, ROW_LOSS_LIMIT) * MILLION).astype(np.int64),
        accuracies=accuracies[:, 1:],
        base_losses=np.rint(bases * MILLION).astype(np.int64),
        base_accuracies=accuracies[:, 0],
        costs=costs.numpy(),
    )
