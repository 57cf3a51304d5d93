"""What a round's ledger says of how its judges will meet an offer: all that whoever offers can know beforehand."""

from bflcd.learn.protocol import Judging
from bflcd.ledger.disclosure import GAIN_LEVELS, gain_limit, margin, row_limit
from bflcd.ledger.standing import PATIENCE
from bflcd.ledger.state import State, account_of
from bflcd.ledger.step_limit import step_limit
from bflcd.params import Params
from bflcd.types import MicroNats, NodeId


def judging_of(params: Params, state: State, node: NodeId) -> Judging:
    """How the judges of the round that `state` opens measure and name what `node` offers."""
    account = account_of(state, node)
    return Judging(
        damping=params.score_damping,
        limit=step_limit(params.norm_clip, state.usual_norm),
        row_limit=row_limit(params),
        words=(MicroNats(-margin(params, state.known)), *GAIN_LEVELS[1:]),
        gain_limit=gain_limit(params),
        patience=max(0, PATIENCE - (0 if account is None else account.refusals)),
    )
