"""What an asker concludes: a distribution over a judge's class shares, by importance sampling (Gordon et al. 1993).

Its model of a judge: n rows, each class's gains of some mean and variance that it knows from rows of its own; so the mean gain is
normal around the shares' product with the means. An answer is an interval of gains; each narrows the distribution down.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bflcd.lab.disclosures import Disclosure
from bflcd.lab.questions.answers import Answer, edges

PARTICLES: Final = 2000

CAUTION: Final = 6.0
"""Times the predicted variance: a judge's rows stay the same, so their deviations do not average out over the rounds."""

_TRIED: Final = 150
"""Particles by which questions are chosen."""

_LEAST_DEVIATION: Final = 1e-5
"""Nats: what the prediction is worth at best."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one update, by class: means and variances of a row's gain, in nats, [classes]."""

    means: NDArray[np.float64]
    variances: NDArray[np.float64]


def predict(gains: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> list[Prediction]:
    """One prediction an update from `gains` [updates, rows] on rows of the asker's, each class among them."""
    parts = [gains[:, labels == label] for label in range(classes)]
    means = np.stack([part.mean(1) for part in parts], axis=1)
    variances = np.stack([part.var(1) for part in parts], axis=1)
    return [Prediction(*pair) for pair in zip(means, variances, strict=True)]


def normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the standard normal distribution."""
    found: NDArray[np.float64] = torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    return found


class Belief:
    """What is thought of one judge's class shares."""

    def __init__(self, public: NDArray[np.float64], concentration: float, rows: int, rng: np.random.Generator) -> None:
        """`public`: the label distribution that everybody knows; `concentration`: how much judges resemble it; `rows`: theirs."""
        self._rng, self.rows = rng, rows
        self.shares = rng.dirichlet(np.maximum(public * concentration, 1e-3), PARTICLES)
        self._log_weights = np.zeros(PARTICLES)
        self.known: dict[int, float] = {}
        """Classes whose share an exact answer told."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """Of the particles, summing to 1."""
        weights: NDArray[np.float64] = np.exp(self._log_weights - self._log_weights.max())
        return np.asarray(weights / weights.sum())

    def mean(self) -> NDArray[np.float64]:
        """The best guess of the shares."""
        guess = self.weights @ self.shares
        for label, share in self.known.items():
            guess[label] = share
        return np.asarray(guess / guess.sum()) if not self.known else np.asarray(guess)

    def gain_of(self, prediction: Prediction, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of the judge's mean gain, by particle."""
        means = self.shares @ prediction.means
        variances = self.shares @ prediction.variances * (CAUTION / self.rows) + noise**2
        return means, np.sqrt(variances) + _LEAST_DEVIATION

    def hear(self, prediction: Prediction, answer: Answer, noise: float) -> None:
        """An answer to a question that was predicted so."""
        self._log_weights += np.log(likelihood(answer, *self.gain_of(prediction, noise)))
        self._renew()

    def information(self, predictions: list[Prediction], rule: Disclosure, least: float) -> NDArray[np.float64]:
        """What each question's answer would tell, in nats: its entropy less what is left of it for known shares."""
        shares = self.shares[self._rng.choice(PARTICLES, _TRIED, p=self.weights)]
        means = shares @ np.stack([p.means for p in predictions]).T
        variances = shares @ np.stack([p.variances for p in predictions]).T * (CAUTION / self.rows) + rule.noise**2
        if rule.levels is None:
            return np.asarray(np.log1p(means.var(0) / (variances.mean(0) + _LEAST_DEVIATION**2)))
        odds = _odds(edges(rule.levels, least), means, np.sqrt(variances) + _LEAST_DEVIATION)
        return np.asarray(_entropy(odds.mean(0)) - _entropy(odds).mean(0))

    def _renew(self) -> None:
        """Draw the particles anew around the likely ones once few of them count."""
        weights = self.weights
        if 1.0 / np.square(weights).sum() > PARTICLES / 4:
            return
        drawn = self.shares[self._rng.choice(PARTICLES, PARTICLES, p=weights)]
        gammas = self._rng.standard_gamma(drawn * (3.0 * self.rows) + 0.05)
        self.shares = gammas / gammas.sum(1, keepdims=True)
        self._log_weights = np.zeros(PARTICLES)


def likelihood(answer: Answer, means: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely gains of that distribution are answered so."""
    if answer.accuracy is not None:  # a number: its density, up to a factor
        middle = (answer.low + answer.high) / 2
        return np.asarray(np.maximum(np.exp(-np.square((middle - means) / deviations) / 2) / deviations, 1e-12))
    likely = normal_cdf((answer.high - means) / deviations) - normal_cdf((answer.low - means) / deviations)
    return np.asarray(np.maximum(likely, 1e-6))


def _with_record(
    belief: Belief, predictions: list[Prediction], own: NDArray[np.float64], noise: float
) -> tuple[NDArray[np.float64], ...]:
    """Mean and deviation of each question's gain if the judge doesn't hold a record, and its mean if it does.

    `own`: the record's gains, one a question. Beside the rows' spread the deviation has what is not known of the shares.
    """
    weights, shares = belief.weights, belief.shares
    by_share = shares @ np.stack([p.means for p in predictions]).T
    means = weights @ by_share
    unknown = weights @ np.square(by_share - means)
    spread = (weights @ shares) @ np.stack([p.variances for p in predictions]).T * (CAUTION / belief.rows)
    return means, np.sqrt(unknown + spread + noise**2) + _LEAST_DEVIATION, means + (own - means) / belief.rows


def telling(
    belief: Belief, predictions: list[Prediction], own: NDArray[np.float64], rule: Disclosure, least: float
) -> NDArray[np.float64]:
    """How much each question's answer would tell of a record's membership, in nats, or in that order."""
    without, deviations, held = _with_record(belief, predictions, own, rule.noise)
    if rule.levels is None:
        return np.asarray(np.square((held - without) / deviations))
    bounds = edges(rule.levels, least)
    odds = np.stack([_odds(bounds, means, deviations) for means in (without, held)])
    return np.asarray(_entropy(odds.mean(0)) - _entropy(odds).mean(0))


def log_odds(belief: Belief, prediction: Prediction, own: float, answer: Answer, noise: float) -> float:
    """What an answer adds to the logarithm of the odds that the judge holds the record."""
    without, deviations, held = _with_record(belief, [prediction], np.array([own]), noise)
    return float(np.log(likelihood(answer, held, deviations)[0]) - np.log(likelihood(answer, without, deviations)[0]))


def _odds(bounds: NDArray[np.float64], means: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely each of a card's words is, in a last dimension."""
    marks = normal_cdf((bounds - means[..., None]) / deviations[..., None])
    return np.asarray(np.diff(marks, axis=-1))


def _entropy(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(odds * np.log(np.maximum(odds, 1e-12))).sum(-1))
