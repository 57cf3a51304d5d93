"""Who says of records that they were trained on, and how often that is right: the figures of membership inference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEW_FALSE: Final = 0.01
"""The rate of false alarms at which the rate of true ones is told too (Carlini et al. 2022)."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What an attacker thinks of some records: the higher a score the likelier held; `said`: that it calls it held, at a
    threshold that was chosen where it knew the truth; `held`: what is true."""

    scores: Floats
    said: Flags
    held: Flags

    @staticmethod
    def together(many: "Sequence[Verdicts]") -> "Verdicts":
        """Of several targets."""
        return Verdicts(*(np.concatenate([getattr(one, name) for one in many]) for name in ("scores", "said", "held")))


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and its standard error."""

    value: float
    error: float

    def text(self, digits: int = 3, *, sign: bool = False) -> str:
        """For people."""
        return f"{self.value:{'+' if sign else ''}.{digits}f} ± {self.error:.{digits}f}"


def auc(verdicts: Verdicts) -> Figure:
    """How likely a held record's score is above that of one which is not, ties half (error: Hanley and McNeil 1982)."""
    inside, outside = verdicts.scores[verdicts.held], verdicts.scores[~verdicts.held]
    ordered = np.sort(outside)
    below, upto = np.searchsorted(ordered, inside, side="left"), np.searchsorted(ordered, inside, side="right")
    area = float((below + upto).mean() / 2 / len(outside))
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (len(inside) - 1) * (first - area**2) + (len(outside) - 1) * (second - area**2)
    return Figure(area, sqrt(max(spread, 0.0) / (len(inside) * len(outside))))


def advantage(verdicts: Verdicts) -> Figure:
    """The rate of true alarms less that of false ones, as said."""
    rates = [(float(verdicts.said[part].mean()), int(part.sum())) for part in (verdicts.held, ~verdicts.held)]
    return Figure(rates[0][0] - rates[1][0], sqrt(sum(rate * (1 - rate) / count for rate, count in rates)))


def rate_at_few_false(verdicts: Verdicts) -> Figure | None:
    """The rate of true alarms where one in a hundred others is called held; None where there are too few others to say."""
    outside = np.sort(verdicts.scores[~verdicts.held])[::-1]
    allowed = int(len(outside) * FEW_FALSE)
    if allowed < 1:
        return None
    inside = verdicts.scores[verdicts.held]
    rate = float((inside > outside[allowed]).mean())
    return Figure(rate, sqrt(rate * (1 - rate) / len(inside)))


def best_threshold(scores: Floats, held: Flags) -> float:
    """Above which records are best called held, where the truth is known: between two scores, by the largest advantage."""
    order = np.argsort(scores, axis=None)[::-1]
    ranked, flags = scores.ravel()[order], held.ravel()[order]
    gain = np.cumsum(flags) / max(1, flags.sum()) - np.cumsum(~flags) / max(1, (~flags).sum())
    gain[:-1][ranked[:-1] == ranked[1:]] = -np.inf  # equal scores are called alike
    best = int(np.argmax(gain))
    return float(ranked[best] + ranked[min(best + 1, len(ranked) - 1)]) / 2


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """By how much what is seen speaks for a record's having been there, as shadows tell it (LiRA, Carlini et al. 2022, 5).

    Of each record the features are normal with a mean where it was there and one where it was not, in units of its own
    deviation, and one correlation for all. With few shadows a record's difference is little known, so it is drawn towards the
    mean of all records' by as much (James and Stein 1961). `middle`, `scale`, `weights`: [records, features].
    """

    middle: Floats
    scale: Floats
    weights: Floats

    @classmethod
    def of(cls, features: Floats, inside: Flags) -> "Likelihoods":
        """From `features` [shadows, records, features] and which records were `inside` which shadow, [shadows, records]."""
        there, count = inside[..., None], inside.sum(0)[:, None]
        absent = len(inside) - count
        means = [np.where(flag, features, 0).sum(0) / many for flag, many in ((there, count), (~there, absent))]
        rest = features - np.where(there, means[0], means[1])
        scale = np.sqrt((rest**2).sum(0) / max(1, len(inside) - 2))
        scale = np.where(scale > 0, scale, 1.0)
        known = (1 / count + 1 / absent) * np.ones_like(scale)
        difference = (means[0] - means[1]) / scale
        mean = difference.mean(0)
        spread = np.maximum(0.0, difference.var(0) - known.mean(0))
        difference = mean + spread / (spread + known) * (difference - mean)
        normal = (rest / scale).reshape(-1, features.shape[2])
        likeness = normal.T @ normal / len(normal) + 1e-6 * np.eye(features.shape[2])
        return cls((means[0] + means[1]) / 2, scale, difference @ np.linalg.inv(likeness))

    def scores(self, features: Floats) -> Floats:
        """The logarithm of the likelihood ratio of each record, [..., records], of `features` [..., records, features]."""
        return np.asarray(((features - self.middle) / self.scale * self.weights).sum(-1))
