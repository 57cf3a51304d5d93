"""How far a round may move the model: no further than what has been usual allows, whatever its cards say (design 5).

Whoever holds the majority of a round's cards packs what they like and says of its norm what they like. The weights, which go by
those norms, don't bind them; this does. The ledger remembers the usual norm of the rounds before, and the aggregate's own norm,
which everybody computes from the payloads, is held to it. A captured round then costs a few rounds of learning, not the model.
"""

from collections.abc import Sequence
from typing import Final

from bflcd.ledger.influence.norms import middles
from bflcd.params import MILLION

DRIFT: Final = 4
"""A round moves the usual norm by at most a quarter: captured rounds neither loosen the limit much nor close it."""

YOUNG_DRIFT: Final = 4
"""Up or down to so many times after a round of a young model that is no captured or half refused one: the first may have been
wrong, and there is little to protect."""


def usual_norm_after(before: int, packed: Sequence[tuple[int, int]], *, free: bool) -> int:
    """The usual norm after a round: that of the `packed`, each a norm and a gain as cards have them, held near `before`.

    0 stands for none yet: the first round that packs anything sets it. A round that packs nothing leaves it. `free`: whether the
    model is right on less than half, and more than half of the offers that count are packed.
    """
    if not packed:
        return before
    found = middles(packed)
    usual = found.nearest(before)
    if before == 0:
        return usual
    if free and found.agree:
        return min(max(usual, before // YOUNG_DRIFT, 1), before * YOUNG_DRIFT)
    return min(max(usual, before * DRIFT // (DRIFT + 1), 1), before + max(before // DRIFT, 1))


def step_limit(clip: int, usual: int) -> int | None:
    """The largest norm of a round's step, in the unit of `usual`; `clip` in millionths. None: no limit, or nothing usual yet."""
    return max(clip * usual // MILLION, 1) if clip and usual else None


def limit_of_step(clip: int, usual: int, packed: Sequence[tuple[int, int]], *, young: bool) -> int | None:
    """What a round's step is held to: `step_limit`; below 0 while the model is `young`, or before anything was usual.

    Then it is minus the usual norm, where nothing was that of the `packed`, and holds each update, by the norm that it has and
    not by what cards say; and half of the model's own norm holds the step (`learn.aggregate`). While judges can't tell, nobody
    may count for more than others, and nobody makes of the model what it likes. None only where norms don't weigh at all.
    """
    if clip and (young or not usual):
        return -max(usual or usual_norm_after(0, packed, free=False), 1)
    return step_limit(clip, usual)
