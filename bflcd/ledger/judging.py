"""What a round's ledger says of how its judges will meet an offer: all that whoever offers can know beforehand."""

from typing import Final

from bflcd.learn.protocol import Judging
from bflcd.ledger.disclosure import GAIN_LEVELS, HALF_RIGHT, balances, row_range
from bflcd.ledger.influence.step_limit import step_limit
from bflcd.ledger.influence.weights import FEW_UPDATES
from bflcd.ledger.roles import trainers
from bflcd.ledger.standing import PATIENCE
from bflcd.ledger.state import State, account_of
from bflcd.ledger.trust.margin import margin_of
from bflcd.params import Params
from bflcd.types import MicroNats, NodeId

MOST_NEAR: Final = 16
"""Judges look no nearer than this part of the way: float32 losses have seven digits, and each error counts as often."""


def near_of(params: Params, state: State) -> int:
    """Into how many parts judges of the round that `state` opens divide the way to an offer: they measure at the first of them,
    and what it gains or costs there counts as often.

    Of the offers of many trainers each moves the model by a small part of itself. Judged at a fourth of itself, an honest one of
    odd rows costs most judges what it never costs among the others. So where more than `FEW_UPDATES` train, the way is an offer's
    part among theirs. While the model knows little, what a long step costs is all that tells a lie, and where accuracies rank, a
    short step changes none: there the way is whole (1).
    """
    if not params.near_gains or params.score_rule != "gain" or state.known < HALF_RIGHT:
        return 1
    training = len(trainers(params, state))
    return 1 if training <= FEW_UPDATES else max(1, min(MOST_NEAR, training // params.score_damping))


def judging_of(params: Params, state: State, node: NodeId) -> Judging:
    """How the judges of the round that `state` opens measure and name what `node` offers."""
    account = account_of(state, node)
    lost, gained = row_range(params, state.known)
    return Judging(
        damping=params.score_damping,
        limit=step_limit(params.norm_clip, state.usual_norm),
        row_limit=lost,
        words=(MicroNats(-margin_of(params, state)), *GAIN_LEVELS[1:]),
        gain_limit=gained,
        balanced=balances(params),
        near=near_of(params, state),
        patience=max(0, PATIENCE - (0 if account is None else account.refusals)),
    )
