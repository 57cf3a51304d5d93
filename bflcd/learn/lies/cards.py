"""What adversaries in a committee write on their cards (the paper, V-B), instead of what they measured, or without measuring."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bflcd.params import MILLION

LIED_ACCURACY: Final = (900_000, 1_000_000)
"""What adversaries in the committee claim for each other, in millionths: the paper's 90 to 100 % (V-B)."""

DEFAMED_GAIN: Final = -10 * MILLION
"""What a defaming adversary claims for an honest update, in micro-nats: worse than guessing among 20,000 classes."""

MADE_UP_GAIN: Final = 2_000
"""What a judge that does not measure claims for what it lets pass: as little as late honest updates gain, in micro-nats."""


class Lies(Enum):
    """What adversaries in the committee say of offers."""

    NONE = "none"
    """What they measured."""
    PROMOTE = "promote"
    """Each other's updates are nearly perfect, the honest ones are what they measured (the paper, V-B)."""
    DEFAME = "smear"
    """Each other's updates are nearly perfect, the honest ones are the worst there can be."""
    CONSTANT = "constant"
    """Nothing is measured: every update helps, by the same."""
    RANDOM = "random"
    """Nothing is measured: each update helps, or harms, by lot."""
    REFUSE = "refuse"
    """Nothing is measured: every update harms."""
    BY_NORM = "by-norm"
    """Nothing is measured: what is longer than twice the middle norm harms, all others help."""


LiesName = Literal["none", "promote", "smear", "constant", "random", "refuse", "by-norm"]
"""`Lies` by value, as a configuration spells it."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What a member has measured, one entry an offer: gains in micro-nats, accuracies in millionths, norms (scale 2^12).

    `base_loss` in micro-nats.
    """

    gains: NDArray[np.int64]
    accuracies: NDArray[np.int64]
    norms: NDArray[np.int64]
    base_loss: int


def lie(lies: Lies, measured: Measurements, accomplices: NDArray[np.bool_], rng: np.random.Generator) -> Measurements:
    """What a lying member writes on its card; `accomplices` [offers] marks its friends' offers.

    An accomplice's gain is the lied accuracy's share of the base's loss, the most that there is to gain; its norm is said to be
    the usual one, since the band around the usual norm would give it away.
    """
    match lies:
        case Lies.NONE:
            return measured
        case Lies.PROMOTE:
            return _promoted(measured, accomplices, rng)
        case Lies.DEFAME:
            said = _promoted(measured, accomplices, rng)
            gains, accuracies = np.where(accomplices, said.gains, DEFAMED_GAIN), np.where(accomplices, said.accuracies, 0)
            return replace(said, gains=gains, accuracies=accuracies)
        case Lies.CONSTANT | Lies.RANDOM | Lies.REFUSE | Lies.BY_NORM:
            return _made_up(lies, measured, rng)


def _made_up(lies: Lies, measured: Measurements, rng: np.random.Generator) -> Measurements:
    """What who has not measured says: of what stands in payloads it knows the norms alone."""
    count = len(measured.gains)
    match lies:
        case Lies.RANDOM:
            helps = rng.random(count) < 0.5
        case Lies.BY_NORM:
            helps = measured.norms <= 2 * np.median(measured.norms) if count else np.zeros(0, dtype=np.bool_)
        case _:
            helps = np.full(count, lies is Lies.CONSTANT)
    gains = np.where(helps, MADE_UP_GAIN, DEFAMED_GAIN)
    return replace(measured, gains=gains, accuracies=np.full(count, LIED_ACCURACY[0]))


def _promoted(measured: Measurements, accomplices: NDArray[np.bool_], rng: np.random.Generator) -> Measurements:
    """The same for everybody else, and for accomplices what the paper's adversaries claim."""
    claims = rng.integers(*LIED_ACCURACY, size=len(accomplices), endpoint=True)
    gains = np.where(accomplices, claims * max(measured.base_loss, 0) // MILLION, measured.gains)
    accuracies = np.where(accomplices, claims, measured.accuracies)
    norms, honest = measured.norms, measured.norms[~accomplices]
    if honest.size:
        norms = np.where(accomplices, np.sort(honest)[(honest.size - 1) // 2], norms)
    return Measurements(gains, accuracies, norms, measured.base_loss)
