"""What a round's ledger says of how its judges will meet an offer: all that whoever offers can know beforehand."""

from bflcd.learn.protocol import Judging
from bflcd.ledger.disclosure import GAIN_LEVELS, balances, row_range
from bflcd.ledger.influence.step_limit import step_limit
from bflcd.ledger.standing import PATIENCE
from bflcd.ledger.state import State, account_of
from bflcd.ledger.trust.margin import margin_of
from bflcd.params import Params
from bflcd.types import MicroNats, NodeId


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
        patience=max(0, PATIENCE - (0 if account is None else account.refusals)),
    )
