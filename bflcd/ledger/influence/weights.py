"""How much each packed update counts in the aggregate: by its samples, held to what others claim, by its norm, and by whether it
helps (design 5)."""

from collections.abc import Sequence
from typing import Final

from bflcd.errors import InvariantError
from bflcd.ledger.influence.norms import middles
from bflcd.ledger.judgement import OfferJudgement
from bflcd.ledger.medians import lower_median
from bflcd.ledger.quorum import faults
from bflcd.ledger.state import State
from bflcd.params import MILLION, Params
from bflcd.types import MAX_WEIGHT

CLAIM_LIMIT: Final = 4
"""A claim counts up to so many times the lower median of all: a claim alone must not buy influence."""

FEW_UPDATES: Final = 16
"""Updates of a round up to which those that don't help are lightened. Of more of them the errors of honest ones cancel each
other: on 900 devices most help nobody by themselves, and their mean does (docs/adr/0034-influence.md)."""

MOST_LIGHTENED: Final = 8
"""No update weighs less than this part of what it would: one that a few claim to help must not be the mean."""


def weigh(params: Params, state: State, packed: Sequence[OfferJudgement], claims: Sequence[int]) -> tuple[int, ...]:
    """The weights of what the round of `state` packed, whose trainers claim so many samples: `weights`, then `lighten_idle`."""
    if not packed:
        return ()
    found, f = middles(rated(packed)), faults(len(state.committee))
    usual = found.nearest(state.usual_norm)
    shares = weights(claims, [offer.norm or 0 for offer in packed], params.norm_clip, usual)
    return lighten_idle(shares, [offer.helps > f for offer in packed], params.idle_weight)


def rated(packed: Sequence[OfferJudgement]) -> list[tuple[int, int]]:
    """Norm and gain of each, in their order (`OfferJudgement.clear_gain`)."""
    return [(offer.norm or 0, offer.clear_gain) for offer in packed]


def weights(claims: Sequence[int], norms: Sequence[int], clip: int, usual: int) -> tuple[int, ...]:
    """Weights from 1 to MAX_WEIGHT, in the order of the updates: their claimed numbers of samples, their norms (all above 0).

    A claim counts up to CLAIM_LIMIT times the lower median of all. Where that cap is above MAX_WEIGHT, all are scaled down by the
    same ratio, so that large communities keep the proportions of their samples.

    With `clip` above 0, in millionths, an update whose norm is above clip * `usual` (`middles`) weighs less by that ratio: it
    moves the model as far as one of that norm would (norm bounding, Sun et al. 2019). All are then scaled so that the cap is
    MAX_WEIGHT, since a ratio of small numbers would be coarse. Raises InvariantError for a norm of 0.
    """
    if not claims:
        return ()
    if min(norms) <= 0:
        raise InvariantError("an update of norm 0 is never packed")
    cap = CLAIM_LIMIT * lower_median(claims)
    held = [min(claim, cap) for claim in claims]
    if clip == 0:
        return tuple(held) if cap <= MAX_WEIGHT else tuple(max(1, claim * MAX_WEIGHT // cap) for claim in held)
    bound = clip * usual
    return tuple(
        max(1, claim * MAX_WEIGHT * min(bound, norm * MILLION) // (cap * norm * MILLION))
        for claim, norm in zip(held, norms, strict=True)
    )


def lighten_idle(shares: Sequence[int], helps: Sequence[bool], part: int) -> tuple[int, ...]:
    """The weights of at most FEW_UPDATES, those that don't help (idle) together at most `part`, in millionths, of those that do.

    Idle is what no more than f cards gain by: what odd rows teach, and what costs a little less than the margin. Each keeps at
    least a MOST_LIGHTENED-th of its weight. Of more updates, where nobody helps, and with `part` 0, all are as they are. Where
    something is taken, all are scaled up first, since a ratio of small numbers would be coarse.
    """
    kept = sum(share for share, fine in zip(shares, helps, strict=True) if fine)
    idle = sum(shares) - kept
    if not part or not kept or len(shares) > FEW_UPDATES or idle * MILLION <= kept * part:
        return tuple(shares)
    scale = MAX_WEIGHT // max(shares)
    over, under = (kept * part, idle * MILLION) if MOST_LIGHTENED * kept * part >= idle * MILLION else (1, MOST_LIGHTENED)
    return tuple(
        share * scale if fine else max(1, share * scale * over // under) for share, fine in zip(shares, helps, strict=True)
    )
