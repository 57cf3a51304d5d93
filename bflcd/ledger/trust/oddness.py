"""Which of a round's offers stand out on a judge's rows, by what they cost the class that they cost most (ADR 31).

An offer that teaches wrong labels costs little while it is damped, and passes the margin. But some class pays for it, and none
gains as much; an honest offer that knows few classes gives about what it takes (`learn.labels.balance.class_costs`). Three
fifths of the offers, those that cost least, say what is usual; where at most two fifths lie, all of these may be honest. A judge
refuses an odd offer by the word for harm: its card has no further word.
"""

from collections.abc import Sequence
from typing import Final

from bflcd.ledger.medians import lower_median
from bflcd.params import MILLION

MIN_COMPARED: Final = 5
"""Offers without which nothing is odd."""

USUAL_SHARE: Final = (3, 5)
"""Of the offers, those that cost least say what is usual."""

LEAST_COST: Final = 10_000
"""In millionths of confidence: what costs no class more than a hundredth is never odd, however alike the others are."""


def odd_offers(costs: Sequence[int], limit: int) -> list[bool]:
    """Which offers a judge refuses for what they cost one class; `costs` by offer, `limit` in millionths of a spread (0: none).

    A cost is odd if it is above the middle of the usual ones by more than `limit` spreads, and by more than `LEAST_COST`, and
    above the lower median of all. The spread is the mean distance of the usual ones to their middle.
    """
    if not limit or len(costs) < MIN_COMPARED:
        return [False] * len(costs)
    share, whole = USUAL_SHARE
    ordered = sorted(costs)
    usual = ordered[: -(-len(costs) * share // whole)]
    middle = usual[len(usual) // 2]
    spread = sum(abs(cost - middle) for cost in usual) // len(usual)
    most = max(middle + max(limit * spread // MILLION, LEAST_COST), lower_median(costs))
    return [cost > most for cost in costs]
