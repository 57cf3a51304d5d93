"""How many rounds a prune keeps, from what its caller named."""

from typing import Final

from bflcd.errors import UsageError
from bflcd.store.pruning import keep_for_height
from bflcd.types import Round
from bflcd.wire.blocks import model_height

MAX_KEPT: Final = 2**32
"""The most rounds that a prune may name."""

NEVER_PRUNED: Final = "the newest model is never pruned"


def rounds_to_keep(keep: int | None, to: int | None, *, head: Round, places: int) -> int:
    """Rounds to keep at the newest model `head`, from exactly one of `keep` (rounds) and `to` (last height to go).

    Raises UsageError, also for a height above the newest model's: nothing stands there.
    """
    if (keep is None) == (to is None):
        raise UsageError("prune takes exactly one of keep (rounds) and to (height)", code="bad_argument")
    if keep is not None:
        if not 1 <= keep <= MAX_KEPT:
            raise UsageError(f"keep must be 1 to {MAX_KEPT} rounds, not {keep}", hint=NEVER_PRUNED, code="bad_argument")
        return keep
    newest = model_height(head, places)
    if to is None or not 0 <= to <= newest:
        raise UsageError(f"to must be a height of this chain, 0 to {newest}, not {to}", hint=NEVER_PRUNED, code="bad_argument")
    return keep_for_height(head, places, to)
