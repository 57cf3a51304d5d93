"""What a judge's card answers to offers, by the rule of this project and by others that it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.disclosures import Disclosure
from bflcd.lab.engine.base import Engine
from bflcd.learn.labels.balance import row_weights
from bflcd.learn.scoring import ROW_LOSS_LIMIT
from bflcd.learn.training import DeviceRows
from bflcd.ledger.disclosure import LEAST_ROW_LIMIT, REFUSED
from bflcd.params import MILLION
from bflcd.types import MicroNats

Reals = NDArray[np.float64]

EXACTNESS: Final = 1e-6
"""Nats: the last digit of a number on a card."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An interval of gains in nats, [low, high), and the accuracy where cards say it, else None."""

    low: float
    high: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What one judge measures of a model and of updates to it: losses in nats and rightness, [1 + updates, rows]."""

    losses: Reals
    right: NDArray[np.bool_]


def measured(engine: Engine, model: Tensor, updates: Tensor, rows: DeviceRows, damping: int) -> Measured:
    """Every update, damped, on `rows`."""
    losses, right = engine.losses(torch.cat([model[None], updates / damping + model]), rows)
    return Measured(losses.numpy(), right.numpy())


def row_gains(found: Measured, *, clipped: bool, most: float = inf) -> Reals:
    """Each update's gain on each row, [updates, rows]; `most`: what it may be at most where it is clipped, in nats."""
    limit = LEAST_ROW_LIMIT / MILLION if clipped else ROW_LOSS_LIMIT
    gains: Reals = np.clip(found.losses[:1] - found.losses[1:], -limit, min(limit, most) if clipped else limit)
    return gains


def answers(
    said: Disclosure,
    least: MicroNats,
    found: Measured,
    asked: Sequence[int],
    rng: np.random.Generator,
    *,
    most: float = inf,
    labels: NDArray[np.int64] | None = None,
) -> list[Answer]:
    """What a card says of those updates, of which a gain of `least` qualifies, as the asker knows; `most` as in `row_gains`.

    `rng` is the judge's own: which rows it looks at, what noise it adds. `labels` [rows]: of its classes, where they count too.
    """
    count = found.losses.shape[1]
    kept = np.sort(rng.permutation(count)[: max(1, round(said.share * count))])
    by_row = row_gains(found, clipped=said.clipped, most=most)[np.ix_(np.asarray(asked), kept)]
    gains = by_row.mean(1)
    if labels is not None:
        gains = np.minimum(gains, (by_row * row_weights(torch.from_numpy(labels[kept])).numpy()).mean(1))
    gains = gains + said.noise * rng.standard_normal(len(gains))
    if said.levels is None:
        shares = found.right[1:][np.ix_(np.asarray(asked), kept)].mean(1)
        return [Answer(gain - EXACTNESS / 2, gain + EXACTNESS / 2, share) for gain, share in zip(gains, shares, strict=True)]
    words = [said.gain(MicroNats(round(gain * MILLION)), least) for gain in gains]
    return [interval(word, said.levels, least) for word in words]


def edges(levels: Sequence[MicroNats], least: float) -> Reals:
    """Lower edges of all that a card can say, in nats, then infinity; `least`: the gain that qualifies."""
    return np.array([-inf, least, *(level / MILLION for level in levels[1:]), inf])


def interval(word: MicroNats, levels: Sequence[MicroNats], least: MicroNats) -> Answer:
    """Which gains a card means by `word`."""
    bounds = edges(levels, least / MILLION)
    place = 0 if word == REFUSED else 1 + levels.index(word)
    return Answer(float(bounds[place]), float(bounds[place + 1]), None)
