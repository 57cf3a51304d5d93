"""What one private training does to a node's rows, in the numbers that bound what it tells of them."""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Final

from bflcd.limits import Between

THOUSAND: Final = 1_000
"""Noise multipliers and epsilons are kept in whole thousandths: what is stored, compared and said is then exact."""

LEAST_NOISE: Final = 100
"""In thousandths: below a tenth of the clip no bound is worth its name."""

MOST_NOISE: Final = 10_000 * THOUSAND
"""In thousandths: beyond it nothing is left of any gradient."""

MOST_EPSILON: Final = 1_000 * THOUSAND
"""In thousandths: what a claim can say."""

LEAST_EXPONENT: Final = 2
MOST_EXPONENT: Final = 15
"""Of delta, a negative power of ten: above a hundredth it promises nothing, below 10^-15 rounding takes over."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`steps` noisy steps of gradient descent, each on rows drawn by themselves with probability 1 / `lots`.

    In each, every drawn row's gradient is cut to the L2 norm `clip`, and Gaussian noise of deviation `noise` / 1000 * `clip` is
    added to each coordinate of their sum. `lots` 1: all rows, in each step.
    """

    noise: int
    clip: float
    lots: int
    steps: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Steps that were made, of one noise (in thousandths) and one sampling."""

    noise: int
    lots: int
    steps: int


@dataclass(frozen=True, slots=True)
class PrivacyClaim:
    """What a trainer says that its rows have told so far, this offer's update included: nobody can check it.

    `epsilon` in thousandths, rounded up; delta is 10^-`exponent`.
    """

    epsilon: Annotated[int, Between(0, MOST_EPSILON)]
    exponent: Annotated[int, Between(LEAST_EXPONENT, MOST_EXPONENT)]


def lots_of(rows: int, batch_size: int) -> int:
    """Into how many lots of about `batch_size` so many rows fall: the steps of an epoch."""
    return max(1, ceil(rows / batch_size))
