"""What an asker concludes: a distribution over a judge's class shares, by importance sampling (Gordon et al. 1993).

An answer is an interval of gains, of which the asker has a prediction; each narrows the distribution down.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bflcd.lab.disclosures import Disclosure
from bflcd.lab.questions.answers import Answer, edges
from bflcd.learn.questions.prediction import (
    LEAST_DEVIATION,
    Prediction,
    class_weights,
    deviations,
    expected,
    information,
    normal_cdf,
)

PARTICLES: Final = 2000

_TRIED: Final = 150
"""Particles by which questions are chosen."""


class Belief:
    """What is thought of one judge's class shares."""

    def __init__(
        self,
        public: NDArray[np.float64],
        concentration: float,
        rows: int,
        rng: np.random.Generator,
        *,
        balanced: bool = False,
    ) -> None:
        """`public`: the label distribution that everybody knows; `concentration`: how much judges resemble it; `rows`: theirs;
        `balanced`: whether their classes count too."""
        self._rng, self.rows, self.balanced = rng, rows, balanced
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
        means, variances = expected(self.shares, [prediction], self.rows, noise, balanced=self.balanced)
        return means[:, 0], deviations(variances[:, 0])

    def hear(self, prediction: Prediction, answer: Answer, noise: float) -> None:
        """An answer to a question that was predicted so."""
        self._log_weights += np.log(likelihood(answer, *self.gain_of(prediction, noise)))
        self._renew()

    def information(self, predictions: list[Prediction], rule: Disclosure, least: float) -> NDArray[np.float64]:
        """What each question's answer would tell, in nats: its entropy less what is left of it for known shares."""
        shares = self.shares[self._rng.choice(PARTICLES, _TRIED, p=self.weights)]
        means, variances = expected(shares, predictions, self.rows, rule.noise, balanced=self.balanced)
        if rule.levels is None:
            return np.asarray(np.log1p(means.var(0) / (variances.mean(0) + LEAST_DEVIATION**2)))
        return information(edges(rule.levels, least), means, deviations(variances))

    def _renew(self) -> None:
        """Draw the particles anew around the likely ones once few of them count."""
        weights = self.weights
        if 1.0 / np.square(weights).sum() > PARTICLES / 4:
            return
        drawn = self.shares[self._rng.choice(PARTICLES, PARTICLES, p=weights)]
        gammas = self._rng.standard_gamma(drawn * (3.0 * self.rows) + 0.05)
        self.shares = gammas / gammas.sum(1, keepdims=True)
        self._log_weights = np.zeros(PARTICLES)


def likelihood(answer: Answer, means: NDArray[np.float64], spreads: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely gains of that distribution are answered so."""
    if answer.accuracy is not None:  # a number: its density, up to a factor
        middle = (answer.low + answer.high) / 2
        return np.asarray(np.maximum(np.exp(-np.square((middle - means) / spreads) / 2) / spreads, 1e-12))
    likely = normal_cdf((answer.high - means) / spreads) - normal_cdf((answer.low - means) / spreads)
    return np.asarray(np.maximum(likely, 1e-6))


@dataclass(frozen=True, slots=True)
class Asked:
    """What questions do to a record that is asked about: its gains, one a question, and its class."""

    gains: NDArray[np.float64]
    label: int


def _with_record(belief: Belief, predictions: list[Prediction], record: Asked, noise: float) -> tuple[NDArray[np.float64], ...]:
    """Mean and deviation of each question's gain if the judge doesn't hold a record, and its mean if it does.

    Beside the rows' spread the deviation has what is not known of the shares.
    """
    weights, shares, own = belief.weights, belief.shares, record.gains
    by_share, variances = expected(shares, predictions, belief.rows, noise, balanced=belief.balanced)
    means = weights @ by_share
    unknown = weights @ np.square(by_share - means)
    a_row = np.full(len(predictions), 1.0 / belief.rows)
    if belief.balanced:  # the record counts as much as its class does wherever that mean is the less
        by_row, _ = expected(shares, predictions, belief.rows)
        heavy = np.where(by_share < by_row, class_weights(shares, belief.rows)[:, [record.label]], 1.0)
        a_row *= weights @ heavy
    return means, deviations(unknown + weights @ variances), means + (own - means) * a_row


def telling(belief: Belief, predictions: list[Prediction], record: Asked, rule: Disclosure, least: float) -> NDArray[np.float64]:
    """How much each question's answer would tell of a record's membership, in nats, or in that order."""
    without, spreads, held = _with_record(belief, predictions, record, rule.noise)
    if rule.levels is None:
        return np.asarray(np.square((held - without) / spreads))
    return information(edges(rule.levels, least), np.stack((without, held)), spreads)


def log_odds(belief: Belief, prediction: Prediction, record: Asked, answer: Answer, noise: float) -> float:
    """What an answer adds to the logarithm of the odds that the judge holds the record."""
    without, spreads, held = _with_record(belief, [prediction], record, noise)
    return float(np.log(likelihood(answer, held, spreads)[0]) - np.log(likelihood(answer, without, spreads)[0]))
