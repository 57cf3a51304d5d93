"""Which norm is usual among the offers of a round: by what they gain, and no gain counts much more than the others (design 5).

A plain middle is whatever most trainers say: where half of a round's offers are a hundredth of an update each, that is usual,
and honest updates are far too long. Short offers gain little, so gains weigh. Long ones gain much, and a few of them would make
honest updates too short, so a gain weighs at most twice as much as the middle one.
"""

from collections.abc import Sequence
from typing import Final

from bflcd.ledger.medians import lower_median

MIN_RATED: Final = 3
"""Offers of positive gain from which on what they gain says what is usual."""

GAIN_CAP: Final = 2
"""In middle gains. With 2, neither three short offers of six nor two long ones have the half of what counts."""


def held_gains(gains: Sequence[int]) -> tuple[int, ...]:
    """What each gain counts: 0 where there is none, and at most GAIN_CAP times the lower median of those above 0."""
    above = [gain for gain in gains if gain > 0]
    most = GAIN_CAP * lower_median(above) if above else 0
    return tuple(min(max(gain, 0), most) for gain in gains)


def usual_among(offers: Sequence[tuple[int, int]]) -> int:
    """The usual norm of at least one offer, each a norm and a gain: the least one that half of what the gains count reaches.

    Where fewer than MIN_RATED offers gain, the lower median of all norms.
    """
    if sum(gain > 0 for _, gain in offers) < MIN_RATED:
        return lower_median([norm for norm, _ in offers])
    counted = sorted(zip((norm for norm, _ in offers), held_gains([gain for _, gain in offers]), strict=True))
    total, reached = sum(gain for _, gain in counted), 0
    for norm, gain in counted:
        reached += gain
        if 2 * reached >= total:
            return norm
    return counted[-1][0]
