"""All planted defects."""

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.planted import blobs, consensus, core, evidence, forks, guard, ledger, recovery, store, sync, wire

MUTANTS: Final[tuple[Mutant, ...]] = (
    *consensus.MUTANTS,
    *core.MUTANTS,
    *guard.MUTANTS,
    *evidence.MUTANTS,
    *recovery.MUTANTS,
    *forks.MUTANTS,
    *ledger.MUTANTS,
    *store.MUTANTS,
    *sync.MUTANTS,
    *blobs.MUTANTS,
    *wire.MUTANTS,
)
