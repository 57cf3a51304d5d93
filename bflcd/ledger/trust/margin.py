"""What an offer of a round may cost and still qualify, by all that stands in the ledger before it decides (design 5)."""

from bflcd.ledger.disclosure import margin_after
from bflcd.ledger.state import NEVER, State
from bflcd.params import Params
from bflcd.types import MicroNats


def margin_of(params: Params, state: State) -> MicroNats:
    """The margin of the round that `state` opens; a young model's grows with the rounds since one that packed anything and proved
    something (`Judgement.proves_nothing`)."""
    last = max((account.packed_round for account in state.accounts), default=NEVER)
    return margin_after(params, state.known, state.round - 1 - last)
