"""All planted defects."""

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.planted import blobs, consensus, core, ledger, store, sync, wire

MUTANTS: Final[tuple[Mutant, ...]] = (
    *consensus.MUTANTS,
    *core.MUTANTS,
    *ledger.MUTANTS,
    *store.MUTANTS,
    *sync.MUTANTS,
    *blobs.MUTANTS,
    *wire.MUTANTS,
)
