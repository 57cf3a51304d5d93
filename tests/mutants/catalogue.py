"""All planted defects."""

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.planted import (
    blobs,
    border,
    consensus,
    core,
    evidence,
    forks,
    guard,
    interpreter,
    ledger,
    lot,
    operations,
    recovery,
    store,
    sync,
    wire,
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *consensus.MUTANTS,
    *core.MUTANTS,
    *guard.MUTANTS,
    *interpreter.MUTANTS,
    *evidence.MUTANTS,
    *operations.MUTANTS,
    *recovery.MUTANTS,
    *forks.MUTANTS,
    *ledger.MUTANTS,
    *lot.MUTANTS,
    *store.MUTANTS,
    *sync.MUTANTS,
    *blobs.MUTANTS,
    *border.MUTANTS,
    *wire.MUTANTS,
)
