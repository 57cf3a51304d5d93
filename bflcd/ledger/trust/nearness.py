"""How near the judges of a round look at what is offered (docs/adr/0040-near-judging.md, design 5.2)."""

from typing import Final

from bflcd.ledger.disclosure import HALF_RIGHT
from bflcd.ledger.roles import offering, trainers
from bflcd.ledger.state import State
from bflcd.params import Params

MANY: Final = 16
"""Trainers up to which each is much of a step: of more the errors of honest updates cancel each other."""

MOST_NEAR: Final = 16
"""Judges look no nearer than this part of the way: float32 losses have seven digits, and each error counts as often."""


def near_of(params: Params, state: State) -> int:
    """Into how many parts judges of the round that `state` opens divide the way to an offer: they measure at the first of them,
    and what it gains or costs there counts as often.

    Of the offers of many trainers each moves the model by a small part of itself. Judged at a fourth of itself, an honest one of
    odd rows costs most judges what it never costs among the others. So where more than `MANY` may train that have offered in most
    of their rounds, the way is an offer's part among theirs. It is whole (1) while the model knows little, since what a long step
    costs is all that tells a lie then; where accuracies rank, which a short step doesn't change; and where judges add noise.
    """
    if not params.near_gains or params.score_noise or params.score_rule != "gain" or state.known < HALF_RIGHT:
        return 1
    training = len(trainers(params, state) & offering(state))
    return 1 if training <= MANY else max(1, min(MOST_NEAR, training // params.score_damping))
