"""What answers about one set of rows tell of a single row at most, as (epsilon, delta).

A judge's card answers several questions about rows drawn without replacement from those that it holds, each answer with Gaussian
noise of a multiple of what one row could change it by. Neighbours are two sets of rows of which one row is another: how many
there are is no secret, since offers claim it. In Renyi terms (Mironov 2017) at order a:

- k answers on the same rows with noise of z times their sensitivity cost a k / (2 z^2), as one answer with z / sqrt(k) does;
- of rows drawn as a share q of all, Wang, Balle and Kasiviswanathan 2019, theorem 27 (for Gaussian noise), says how much less;
- cards add up, whatever the questions were made from;
- epsilon at delta follows by Canonne, Kamath and Steinke 2020, proposition 12, at the best order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import pairwise
from math import comb, inf, log, log1p
from typing import Final

from bflcd.params import NOISE_UNIT

ORDERS: Final = (1.25, 1.5, 1.75, *map(float, range(2, 21)), 24.0, 28.0, 32.0, 48.0, 64.0)
"""Orders at which is counted: small ones for large bounds, large ones for small."""

_DIGITS: Final = 300
"""Of the sums whose terms cancel: the 64th difference at the weakest noise that counts is still exact to dozens of them."""

_WEAKEST: Final = 1e-3
"""Of z / sqrt(k): below it the drawing of rows is taken to help nothing."""

_STRONGEST: Final = 1e3
"""Of z / sqrt(k): above it what is drawn counts as if the noise were no stronger."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a judge tells in a round: `count` answers on `drawn` of the `held` rows; `noise` in thousandths of the sensitivity."""

    noise: int
    count: int
    drawn: int
    held: int


Spent = tuple[float, ...]
"""Renyi divergence at each of `ORDERS`, in nats."""

NOTHING: Final[Spent] = (0.0,) * len(ORDERS)
"""Where nothing was told."""


def added(*parts: Spent) -> Spent:
    """Together."""
    return tuple(map(sum, zip(NOTHING, *parts, strict=True)))


@lru_cache(maxsize=256)
def cost(answers: Answers) -> Spent:
    """What they tell of one row; infinite without noise."""
    if not answers.count:
        return NOTHING
    if not answers.noise:
        return (inf,) * len(ORDERS)
    strength = answers.noise / NOISE_UNIT / answers.count**0.5
    whole = tuple(order / (2 * strength**2) for order in ORDERS)
    if answers.drawn >= answers.held or strength < _WEAKEST:
        return whole
    share = Decimal(answers.drawn) / answers.held
    drawn = _of_a_draw(share, min(strength, _STRONGEST))
    return tuple(min(pair) for pair in zip(whole, drawn, strict=True))


def epsilon(spent: Spent, delta: float) -> float:
    """The least epsilon for which it is (epsilon, delta) differentially private; infinite where nothing bounds it."""
    if not any(spent):
        return 0.0
    pairs = zip(ORDERS, spent, strict=True)
    found = min(cost + log1p(-1 / order) - (log(delta) + log(order)) / (order - 1) for order, cost in pairs)
    return max(0.0, found)


def _of_a_draw(share: Decimal, strength: float) -> Sequence[float]:
    """Theorem 27 at each of `ORDERS`; between two whole orders the logarithms of the moments are interpolated (corollary 10)."""
    whole = {int(order) for order in ORDERS if order.is_integer()} | {2}
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = _DIGITS, 10**9, -(10**9)
        square = Decimal(strength) ** 2
        moments = _moments((1 / square).exp(), max(whole))
        apart = _differences(moments)
        logs = {1: 0.0} | {order: _log_moment(share, order, moments, apart) for order in whole}
    return [_between(logs, order) / (order - 1) for order in ORDERS]


def _moments(ratio: Decimal, most: int) -> list[Decimal]:
    """exp(k (k - 1) / (2 z^2)) for k of 0 to `most`; `ratio`: exp(1 / z^2)."""
    found, power = [Decimal(1)], Decimal(1)
    while len(found) <= most:
        found.append(found[-1] * power)
        power *= ratio
    return found


def _differences(moments: Sequence[Decimal]) -> list[Decimal]:
    """Forward differences at 0 of all degrees: the l-th is the l-th central moment of a likelihood ratio less 1."""
    row, found = list(moments), []
    while row:
        found.append(row[0])
        row = [after - before for before, after in pairwise(row)]
    return found


def _log_moment(share: Decimal, order: int, moments: Sequence[Decimal], apart: Sequence[Decimal]) -> float:
    """ln of the moment of that whole order, at least 2: (order - 1) times the divergence."""
    total = Decimal(0)
    for degree in range(2, order + 1):
        second = degree == 2  # which has a bound of its own
        least = moments[2] - 1 if second else apart[degree - degree % 2].sqrt() * apart[degree + degree % 2].sqrt()
        total += comb(order, degree) * share**degree * min(2 * moments[degree], 4 * least)
    return log1p(float(total)) if total < 1 else float((1 + total).ln())


def _between(logs: dict[int, float], order: float) -> float:
    low = int(order)
    return logs[low] if low == order else logs[low] + (order - low) * (logs[low + 1] - logs[low])
