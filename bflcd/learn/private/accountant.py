"""What noisy steps tell of a row, added up: (epsilon, delta) by Renyi differential privacy.

Two data sets are neighbours if one of their rows is blanked out: its gradient is zero in one of them, and the number of rows,
which offers state, is the same. Each step is the Gaussian mechanism on a Poisson sample; of integer order a its Renyi divergence
is at most

    log(sum over k = 0..a of C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 sigma^2))) / (a - 1)

(Mironov, Talwar and Zhang 2019; a / (2 sigma^2) at q = 1). Divergences of one order add up, whatever each step
depends on; of the orders the one that gives the smallest epsilon counts (Canonne, Kamath and Steinke 2020, proposition 12).
Integer orders alone are an upper bound. Pure Python: the daemon imports no torch, and each order is computed once a process.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import ceil, exp, inf, lgamma, log, log1p
from typing import Final

from bflcd.learn.private.mechanism import LEAST_NOISE, MOST_NOISE, THOUSAND, Spent

ORDERS: Final = (*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 256, 384, 512)
"""Small ones count for large epsilons, large ones for small."""


def epsilon_of(spent: Iterable[Spent], exponent: int) -> float:
    """The smallest epsilon, at delta 10^-`exponent`, that is proven of all of `spent` together; 0 of none, inf beyond all."""
    spent = [one for one in spent if one.steps]
    if not spent:
        return 0.0
    log_delta = -exponent * log(10)
    best = inf
    for order in ORDERS:
        divergence = sum(one.steps * step_divergence(one.noise, one.lots, order) for one in spent)
        best = min(best, divergence + log1p(-1 / order) - (log_delta + log(order)) / (order - 1))
    return max(0.0, best)


def thousandths(epsilon: float) -> int:
    """An epsilon as claims and budgets have it, rounded up; computed to about twelve digits, so a little more than it is."""
    return ceil(epsilon * (1 + 1e-9) * THOUSAND)


@lru_cache(maxsize=2**14)
def step_divergence(noise: int, lots: int, order: int) -> float:
    """Renyi divergence of an integer `order` of one step, in nats; `noise` in thousandths."""
    twice = 2 * (noise / THOUSAND) ** 2
    if lots == 1:
        return order / twice
    drawn, left = -log(lots), log1p(-1 / lots)
    terms = [
        lgamma(order + 1) - lgamma(k + 1) - lgamma(order - k + 1) + (order - k) * left + k * drawn + (k * k - k) / twice
        for k in range(order + 1)
    ]
    largest = max(terms)
    return (largest + log(sum(exp(term - largest) for term in terms))) / (order - 1)


@lru_cache(maxsize=2**10)
def noise_for(epsilon: int, exponent: int, *, lots: int, steps: int) -> int | None:
    """The least noise, in thousandths, with which so many `steps` stay within `epsilon` thousandths; None if there is none."""
    low, high = LEAST_NOISE - 1, MOST_NOISE
    if not _fits(high, epsilon, exponent, lots, steps):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(middle, epsilon, exponent, lots, steps) else (middle, high)
    return high


def _fits(noise: int, epsilon: int, exponent: int, lots: int, steps: int) -> bool:
    return epsilon_of([Spent(noise, lots, steps)], exponent) * (1 + 1e-9) * THOUSAND <= epsilon
