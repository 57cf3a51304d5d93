"""How much each packed update counts in the aggregate: by its samples, held to what the others claim (design 5)."""

from collections.abc import Sequence
from typing import Final

MAX_WEIGHT: Final = 2**16
"""With at most 2^11 updates of values up to 2^10 the aggregate's sum stays below 2^62."""


def weights(claims: Sequence[int]) -> tuple[int, ...]:
    """Weights from 1 to MAX_WEIGHT, in the order of the claimed numbers of samples.

    A claim counts up to twice the lower median of all: a claim alone must not buy influence. Where that cap is above
    MAX_WEIGHT, all are scaled down by the same ratio, so that large communities keep the proportions of their samples.
    """
    if not claims:
        return ()
    cap = 2 * sorted(claims)[(len(claims) - 1) // 2]
    held = (min(claim, cap) for claim in claims)
    if cap <= MAX_WEIGHT:
        return tuple(held)
    return tuple(max(1, claim * MAX_WEIGHT // cap) for claim in held)
