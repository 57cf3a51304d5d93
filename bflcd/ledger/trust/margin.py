"""What an offer of a round may cost and still qualify, by all that stands in the ledger before it decides (design 5)."""

from typing import Final

from bflcd.ledger.disclosure import margin_after
from bflcd.ledger.state import NEVER, State
from bflcd.params import Params
from bflcd.types import MicroNats, PartsPerMillion

MOST_LEARNED: Final = PartsPerMillion(250_000)
"""`State.known` rises by so much a round at most: one committee's word does not make an old model of a young one, which would end
what holds liars while it is young (docs/adr/0037-young-rounds.md)."""


def known_after(known: PartsPerMillion, told: PartsPerMillion | None) -> PartsPerMillion:
    """`State.known` after a round whose cards have its model right on `told`, None if too few measured it."""
    return known if told is None else PartsPerMillion(min(told, known + MOST_LEARNED))


def margin_of(params: Params, state: State) -> MicroNats:
    """The margin of the round that `state` opens; a young model's grows with the rounds since one that packed anything and proved
    something (`Judgement.proves_nothing`)."""
    last = max((account.packed_round for account in state.accounts), default=NEVER)
    return margin_after(params, state.known, state.round - 1 - last)
