"""Which norm is usual among the offers of a round (design 5).

A plain middle is whatever half of the trainers say: where half of a round's offers are a hundredth of an update each, that is
usual, and honest updates are far too long. Short offers gain little, so there is a second middle, by gains. Long offers gain
much, and would make honest updates too short by that one. So what was usual in the rounds before decides between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isqrt
from typing import Final

from bflcd.ledger.medians import lower_median

MIN_RATED: Final = 3
"""Offers of positive gain from which on what they gain says anything of norms."""

GAIN_CAP: Final = 2
"""A gain counts at most so many middle gains: no single offer has the half of what counts."""

AGREEING: Final = 4
"""Two middles of which the greater is at most so many times the other say the same."""

NEAR: Final = 16
"""A norm of up to so many times another is as usual as that (`ledger.judgement`)."""


@dataclass(frozen=True, slots=True)
class Middles:
    """Two middle norms of the same offers, the lesser and the greater: the lower median, and that by gains."""

    low: int
    high: int

    @property
    def agree(self) -> bool:
        """Whether both say the same."""
        return self.high <= AGREEING * self.low

    def nearest(self, before: int) -> int:
        """What is usual, by what was `before`: that, or the nearer of the two if it is not between them.

        0: nothing was. Then it is the lesser, if both can be as usual at once, else their geometric mean: which half of the round
        is honest, nobody can tell, and from there the next rounds find it.
        """
        if before:
            return min(max(before, self.low), self.high)
        return self.low if self.high <= NEAR * self.low else isqrt(self.low * self.high)

    @property
    def apart(self) -> bool:
        """Whether no norm is near both, not even their geometric mean."""
        return self.high > NEAR**2 * self.low


def middles(offers: Sequence[tuple[int, int]]) -> Middles:
    """Those of at least one offer, each a norm and a gain.

    By gains: the least norm that half of what the gains count reaches, where at least MIN_RATED offers gain. A gain counts at
    most GAIN_CAP times the lower median of those above 0.
    """
    plain = lower_median([norm for norm, _ in offers])
    above = [gain for _, gain in offers if gain > 0]
    if len(above) < MIN_RATED:
        return Middles(plain, plain)
    most = GAIN_CAP * lower_median(above)
    counted = sorted((norm, min(max(gain, 0), most)) for norm, gain in offers)
    reached = list(accumulate(gain for _, gain in counted))
    gained = next(norm for (norm, _), sum_ in zip(counted, reached, strict=True) if 2 * sum_ >= reached[-1])
    return Middles(min(plain, gained), max(plain, gained))
