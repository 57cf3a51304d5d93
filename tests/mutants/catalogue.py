"""All planted defects."""

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.planted import (
    addresses,
    blobs,
    border,
    consensus,
    core,
    evidence,
    forks,
    guard,
    interpreter,
    judgement,
    keys,
    ledger,
    lot,
    membership,
    newcomer,
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
    *judgement.MUTANTS,
    *lot.MUTANTS,
    *membership.MUTANTS,
    *keys.MUTANTS,
    *store.MUTANTS,
    *sync.MUTANTS,
    *blobs.MUTANTS,
    *border.MUTANTS,
    *addresses.MUTANTS,
    *newcomer.MUTANTS,
    *wire.MUTANTS,
)
