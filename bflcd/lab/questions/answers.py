"""What a judge's card answers to offers, by the rule of this project and by others that it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.engine.base import Engine
from bflcd.learn.scoring import ROW_LOSS_LIMIT
from bflcd.learn.training import DeviceRows
from bflcd.ledger.disclosure import GAIN_LEVELS, LEAST_ROW_LIMIT, margin, said_gain
from bflcd.params import MILLION, Params
from bflcd.types import MicroNats, PartsPerMillion

Reals = NDArray[np.float64]

EXACTNESS: Final = 1e-6
"""Nats: the last digit of a number on a card."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """How much a card says of a gain. `levels`: lower edges in micro-nats, None for the number itself, and the accuracy too.

    `clipped`: whether an offer is held to the step limit before it is measured, and each row's gain to a few nats; `share`: of
    its rows that a judge draws in a round; `noise`: standard deviation, in nats, of what a judge adds to a gain.
    """

    name: str
    levels: tuple[int, ...] | None
    clipped: bool = True
    share: float = 1.0
    noise: float = 0.0


BEFORE: Final = Disclosure("exact, unclipped", None, clipped=False)
HERE: Final = Disclosure("six levels", tuple(GAIN_LEVELS))
TWO: Final = (0, 1_000)

DISCLOSURES: Final = (
    BEFORE,
    Disclosure("exact, clipped", None),
    HERE,
    Disclosure("helps or not", TWO),
    Disclosure("qualifies or not", TWO[:1]),
    Disclosure("six levels, half of the rows", HERE.levels, share=0.5),
    Disclosure("helps or not, half of the rows", TWO, share=0.5),
    Disclosure("six levels, noise 0.1", HERE.levels, noise=0.1),
    Disclosure("helps or not, noise 0.1", TWO, noise=0.1),
    Disclosure("helps or not, noise 0.3", TWO, noise=0.3),
)
"""What is compared: what cards said before, what they say here, and what they could say."""


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

    @property
    def accuracy(self) -> float:
        """Of the model itself."""
        return float(self.right[0].mean())


def measured(engine: Engine, model: Tensor, updates: Tensor, rows: DeviceRows, damping: int) -> Measured:
    """Every update, damped, on `rows`."""
    losses, right = engine.losses(torch.cat([model[None], updates / damping + model]), rows)
    return Measured(losses.numpy(), right.numpy())


def row_gains(found: Measured, *, clipped: bool) -> Reals:
    """Each update's gain on each row, [updates, rows]."""
    limit = LEAST_ROW_LIMIT / MILLION if clipped else ROW_LOSS_LIMIT
    gains: Reals = np.clip(found.losses[:1] - found.losses[1:], -limit, limit)
    return gains


def answers(said: Disclosure, params: Params, found: Measured, asked: Sequence[int], rng: np.random.Generator) -> list[Answer]:
    """What a card says of those updates; `rng` is the judge's own: which rows it looks at, what noise it adds."""
    count = found.losses.shape[1]
    kept = np.sort(rng.permutation(count)[: max(1, round(said.share * count))])
    gains = row_gains(found, clipped=said.clipped)[np.ix_(list(asked), kept)].mean(1)
    gains = gains + said.noise * rng.standard_normal(len(gains))
    if said.levels is None:
        shares = found.right[1:][np.ix_(list(asked), kept)].mean(1)
        return [Answer(gain - EXACTNESS / 2, gain + EXACTNESS / 2, share) for gain, share in zip(gains, shares, strict=True)]
    least = margin(params, PartsPerMillion(int(found.right[0][kept].mean() * MILLION)))
    return [
        _interval(said_gain(MicroNats(round(gain * MILLION)), MicroNats(-least), _levels(said)), said, least) for gain in gains
    ]


def _levels(said: Disclosure) -> tuple[MicroNats, ...]:
    return tuple(MicroNats(level) for level in said.levels or ())


def edges(levels: Sequence[int], least: float) -> Reals:
    """Lower edges of all that a card can say, in nats, then infinity; `least`: the margin in nats."""
    return np.array([-inf, -least, *(level / MILLION for level in levels[1:]), inf])


def _interval(word: MicroNats, said: Disclosure, least: MicroNats) -> Answer:
    """Which gains a card means by `word`; the asker is taken to know the judge's margin."""
    levels = said.levels or ()
    bounds = edges(levels, least / MILLION)
    place = 0 if word < 0 else 1 + sum(level <= word for level in levels[1:])
    return Answer(float(bounds[place]), float(bounds[place + 1]), None)
