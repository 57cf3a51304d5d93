"""What one private training does to a node's rows, in the numbers that bound what it tells of them."""

from dataclasses import dataclass
from math import ceil
from typing import Final

THOUSAND: Final = 1_000
"""Noise multipliers and epsilons are kept in whole thousandths: what is stored, compared and said is then exact."""

LEAST_NOISE: Final = 100
"""In thousandths: below a tenth of the clip no bound is worth its name."""

MOST_NOISE: Final = 10_000 * THOUSAND
"""In thousandths: beyond it nothing is left of any gradient."""


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


def lots_of(rows: int, batch_size: int) -> int:
    """Into how many lots of about `batch_size` so many rows fall: the steps of an epoch."""
    return max(1, ceil(rows / batch_size))
