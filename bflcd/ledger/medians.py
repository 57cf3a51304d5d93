"""The middle that cards, claims and norms are judged by."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T", bound=int)


def lower_median(values: Sequence[T]) -> T:
    """Of at least one value; of an even count the lower of the middle two, so that half of those who say them can't lift it."""
    return sorted(values)[(len(values) - 1) // 2]
