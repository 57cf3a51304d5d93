"""What an asker expects of an answer, and what the answer would tell it: a judge's mean gain is normal, a word an interval of it.

A judge has n rows, each class's gains some mean and variance that the asker knows from rows of its own; so the mean gain is
normal around the product of the judge's class shares with the means, each as much as a row of that class counts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bflcd.learn.labels.balance import weights_of

Reals = NDArray[np.float64]

CAUTION: Final = 6.0
"""Times the predicted variance: a judge's rows stay the same, so their deviations do not average out over the rounds."""

_A_ROW: Final = 0.5
"""Of a class, from which on a judge that is thought of has it."""

LEAST_DEVIATION: Final = 1e-5
"""Nats: what the prediction is worth at best."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one update, by class: means and variances of a row's gain, in nats, [classes]."""

    means: Reals
    variances: Reals


def predict(gains: Reals, labels: NDArray[np.int64], classes: int) -> list[Prediction]:
    """One prediction an update from `gains` [updates, rows] on rows of the asker's; of a class that it lacks, as of all rows."""
    parts = [gains[:, labels == label] for label in range(classes)]
    known = [part if part.shape[1] else gains for part in parts]
    means = np.stack([part.mean(1) for part in known], axis=1)
    variances = np.stack([part.var(1) for part in known], axis=1)
    return [Prediction(*pair) for pair in zip(means, variances, strict=True)]


def expected(
    shares: Reals, predictions: list[Prediction], rows: int, noise: float = 0.0, *, balanced: bool = False
) -> tuple[Reals, Reals]:
    """Means and variances of the mean gains of judges with class `shares` [judges, classes], [judges, predictions].

    `balanced`: whether a judge says the less of the mean over its rows and over its classes.
    """
    by_row = _moments(shares, shares, predictions, rows, noise)
    if not balanced:
        return by_row
    weights = class_weights(shares, rows)
    by_class = _moments(shares * weights, shares * weights**2, predictions, rows, noise)
    less = by_class[0] < by_row[0]
    return np.where(less, by_class[0], by_row[0]), np.where(less, by_class[1], by_row[1])


def _moments(means: Reals, spreads: Reals, predictions: list[Prediction], rows: int, noise: float) -> tuple[Reals, Reals]:
    """By what each class counts for in a mean, and for in its variance, [judges, classes]."""
    found = means @ np.stack([p.means for p in predictions]).T
    return found, spreads @ np.stack([p.variances for p in predictions]).T * (CAUTION / rows) + noise**2


def class_weights(shares: Reals, rows: int) -> Reals:
    """What a row of each class counts, [judges, classes], as `learn.labels.balance.row_weights` of so many `rows`; a class of
    less than half of a row is not there."""
    counts = shares * rows
    return weights_of(np.where(counts >= _A_ROW, counts, 0.0))


def deviations(variances: Reals) -> Reals:
    """Their roots, at least what a prediction is worth at best."""
    return np.asarray(np.sqrt(variances) + LEAST_DEVIATION)


def normal_cdf(x: Reals) -> Reals:
    """Of the standard normal distribution."""
    found: Reals = torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    return found


def information(bounds: Reals, means: Reals, spreads: Reals) -> Reals:
    """What each answer would tell, in nats: its entropy less what is left of it for whoever knows which case holds.

    `means`, `spreads` [cases, questions], all cases alike likely; `bounds`: of the words, from -infinity to infinity.
    """
    marks = normal_cdf((bounds - means[..., None]) / spreads[..., None])
    odds = np.diff(marks, axis=-1)
    return np.asarray(_entropy(odds.mean(0)) - _entropy(odds).mean(0))


def _entropy(odds: Reals) -> Reals:
    return np.asarray(-(odds * np.log(np.maximum(odds, 1e-12))).sum(-1))
