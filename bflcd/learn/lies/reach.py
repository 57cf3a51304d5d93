"""How far from the mean liars dare to go."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Final

WIDEST: Final = 16.0
"""Beyond so many deviations nobody looks: norms of more than 16 times the usual are refused in any case."""

_HALVINGS: Final = 10


def widest(fits: Callable[[float], bool]) -> float:
    """The largest number found that `fits`, from 0 to `WIDEST`, where what fits is below what does not."""
    if fits(WIDEST):
        return WIDEST
    low, high = 0.0, WIDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def z_max(trainers: int, adversaries: int) -> float:
    """ALIE's z: how far from the mean `adversaries` of `trainers` may stand and still have honest ones beyond them.

    Phi^-1((n - m - s) / (n - m)) with s = floor(n / 2 + 1) - m (Baruch et al. 2019, 3.2); at least 0, at most 4.
    """
    honest = trainers - adversaries
    needed = max(trainers // 2 + 1 - adversaries, 0)
    if honest <= 0:
        return 4.0
    share = min(max((honest - needed) / honest, 1e-4), 1.0 - 1e-4)
    return min(max(NormalDist().inv_cdf(share), 0.0), 4.0)
