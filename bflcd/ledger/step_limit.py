"""How far a round may move the model: no further than what has been usual allows, whatever its cards say (design 5).

Whoever holds the majority of a round's cards packs what they like and says of its norm what they like. The weights, which go by
those norms, don't bind them; this does. The ledger remembers the usual norm of the rounds before, and the aggregate's own norm,
which everybody computes from the payloads, is held to it. A captured round then costs a few rounds of learning, not the model.
"""

from collections.abc import Sequence
from typing import Final

from bflcd.ledger.medians import lower_median
from bflcd.params import MILLION

DRIFT: Final = 4
"""A round moves the usual norm by at most a quarter: captured rounds neither loosen the limit much nor close it."""


def usual_norm_after(before: int, norms: Sequence[int]) -> int:
    """The usual norm after a round that packed updates of `norms`, as cards have them: their lower median, held near `before`.

    0 stands for none yet: the first round that packs anything sets it. A round that packs nothing leaves it.
    """
    if not norms:
        return before
    middle = lower_median(norms)
    if before == 0:
        return middle
    return min(max(middle, before * DRIFT // (DRIFT + 1), 1), before + max(before // DRIFT, 1))


def step_limit(clip: int, usual: int) -> int | None:
    """The largest norm of a round's step, in the unit of `usual`; `clip` in millionths. None: no limit, or nothing usual yet."""
    return max(clip * usual // MILLION, 1) if clip and usual else None
