"""Defects of what is noticed of judges: who would be framed, excused or paid."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

CANARIES = "bflcd/ledger/trust/canaries.py"
DOUBTS = "bflcd/ledger/trust/doubts.py"
KIND = "bflcd/ledger/operations/canary.py"

SHOWN: Final = selection("ledger/operations/test_canary.py")
DOUBTED: Final = selection("ledger/test_doubts.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "liars-frame-by-a-canary",
        "f liars that refuse, and one honest judge of odd rows, have another one doubted (section 5, Canaries)",
        CANARIES,
        "return 2 * (refusals - f) > q - 1 - f",
        "return 2 * refusals > q - 1",
        SHOWN,
    ),
    mutant(
        "undrawn-canary",
        "a sign flipper excuses every flip as a canary (section 5, Canaries)",
        KIND,
        "if not is_drawn(state.chain, words, operation.author, body.proof):",
        "if len(body.proof) == 0:",
        SHOWN,
    ),
    mutant(
        "canary-shown-twice",
        "a canary is paid in each block that carries it again (section 5, Canaries)",
        KIND,
        "if offer.shown:",
        "if offer.shown and not offer.uploader:",
        SHOWN,
    ),
    mutant(
        "odd-rows-doubted",
        "where all judges differ widely, each is doubted for it (section 5, Canaries)",
        DOUBTS,
        "Bearing(said, share - usual)",
        "Bearing(said, share)",
        DOUBTED,
    ),
    mutant(
        "empty-card-paid",
        "a judge is paid for a card that says next to nothing (section 7)",
        DOUBTS,
        "return 0 < counted <= 2 * bearing.said and",
        "return 0 < counted and",
        DOUBTED,
    ),
)
