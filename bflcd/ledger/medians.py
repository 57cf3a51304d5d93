"""The middle that cards, claims and norms are judged by."""

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T", bound=int)

GAIN_CAP: Final = 2
"""A gain counts at most so many middle gains: no single offer has the half of what counts, and who decides a round can't say of
its friends what it likes."""


def lower_median(values: Sequence[T]) -> T:
    """Of at least one value; of an even count the lower of the middle two, so that half of those who say them can't lift it."""
    return sorted(values)[(len(values) - 1) // 2]


def most_gain(gains: Sequence[int]) -> int:
    """What a gain of these counts at most: GAIN_CAP times the lower median of those above 0; 0 where none is."""
    above = [gain for gain in gains if gain > 0]
    return GAIN_CAP * lower_median(above) if above else 0
