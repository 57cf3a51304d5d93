"""What a judged round makes usual among norms, and what holds its step (design 5)."""

from bflcd.ledger.disclosure import HALF_RIGHT
from bflcd.ledger.influence.step_limit import limit_of_step, usual_norm_after
from bflcd.ledger.influence.weights import rated
from bflcd.ledger.judgement import Judgement
from bflcd.ledger.state import State
from bflcd.params import Params


def usual_after(state: State, judgement: Judgement) -> int:
    """The usual norm after the round that `state` opens; one that proves nothing makes nothing usual."""
    if judgement.proves_nothing:
        return state.usual_norm
    return usual_norm_after(state.usual_norm, rated(judgement.packed), free=_moves_freely(state, judgement))


def step_limit_of(params: Params, state: State, judgement: Judgement) -> int | None:
    """What holds the step of the round that `state` opens (`limit_of_step`).

    By what was usual before the round, so that its own cards don't say how far it goes; a young model's, whose norms grow fast,
    by what is usual after it.
    """
    young = state.known < HALF_RIGHT
    usual = usual_after(state, judgement) if young else state.usual_norm
    return limit_of_step(params.norm_clip, usual, rated(judgement.packed), young=young)


def _moves_freely(state: State, judgement: Judgement) -> bool:
    """Whether what is usual may move far: a model is right on less than half, and the round packs most of what counts."""
    return state.known < HALF_RIGHT and 2 * len(judgement.packed) > len(judgement.gains)
