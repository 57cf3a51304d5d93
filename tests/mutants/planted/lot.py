"""Defects of the lot: how a leader, or a committee, would choose what is drawn."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

LOT = "bflcd/ledger/lot.py"
ACCOUNTS = "bflcd/ledger/accounts.py"
TRANSITION = "bflcd/ledger/transition.py"
ELECTION = "bflcd/ledger/election.py"
CERTIFICATE = "bflcd/consensus/certificate.py"
JUSTIFICATION = "bflcd/consensus/justification.py"

DRAWN: Final = selection("ledger/test_lot.py")
DECIDED: Final = selection("ledger/test_lot.py", "ledger/test_transition.py", "ledger/test_apply.py")
WALKED: Final = selection("consensus/test_certificate.py", "consensus/test_recovery.py")
JUSTIFIED: Final = selection("consensus/test_pbft.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "drawn-by-the-proofs-bytes",
        "a leader tries proofs of one word until their bytes seat its friends (section 5)",
        LOT,
        "lot_after(lot, output))",
        "lot_after(lot, proof))",
        DRAWN,
    ),
    mutant(
        "drawn-by-the-parents-hash",
        "the next committee follows from a block that its maker could grind (section 5)",
        TRANSITION,
        "next_seed = seed(state.chain, Round(state.round + 1), draw.lot)",
        "next_seed = seed(state.chain, Round(state.round + 1), head)",
        DECIDED,
    ),
    mutant(
        "lot-stands-still",
        "a draw that is shown changes no later one (section 5)",
        TRANSITION,
        "time=time, lot=draw.lot)",
        "time=time)",
        DECIDED,
    ),
    mutant(
        "view-in-the-lots-input",
        "who leads two views of a round has two draws to choose from (section 5)",
        TRANSITION,
        "state.chain, state.round, state.lot, proposer=",
        "state.chain, Round(state.round + view), state.lot, proposer=",
        DECIDED,
    ),
    mutant(
        "first-view-unchecked",
        "a later leader takes an earlier one's draw for its own first proposal (section 6.4)",
        JUSTIFICATION,
        "if not follows and body.proposal.view != body.view:",
        "if not follows and body.proposal.view > body.view:",
        JUSTIFIED,
    ),
    mutant(
        "lot-of-headers-unproved",
        "a captured committee chooses what later ones are drawn by (section 8)",
        CERTIFICATE,
        "    check_lot(trusted, header, certificate.recovery)\n",
        "",
        WALKED,
    ),
    mutant(
        "lot-not-compared",
        "a header's lot need not follow from its proof (section 8)",
        CERTIFICATE,
        "    if after.lot != draw.lot:\n",
        "    if after.lot == b'':\n",
        WALKED,
    ),
    mutant(
        "recovered-leader-unknown",
        "a chain that managers recovered can't be followed (section 6.8)",
        CERTIFICATE,
        "        return recovery.recovery.committee\n    basis",
        "        return opened\n    basis",
        WALKED,
    ),
    mutant(
        "basis-leader-unknown",
        "a chain that managers recovered twice can't be followed (section 6.8)",
        CERTIFICATE,
        "    return opened if basis is None else basis.committee\n",
        "    return opened\n",
        WALKED,
    ),
    mutant(
        "failure-forgotten",
        "who lets a view fail to draw once more pays nothing (section 5, Election)",
        ACCOUNTS,
        "failed_round=state.round if account.node in found.failed else account.failed_round,",
        "failed_round=account.failed_round,",
        DRAWN,
    ),
    mutant(
        "proposer-failed",
        "who led in vain and then proposed is blamed for the others (section 5, Election)",
        ACCOUNTS,
        "    return frozenset(committee[:view]) - {leader(committee, view)}\n",
        "    return frozenset(committee[:view])\n",
        DRAWN,
    ),
    mutant(
        "failed-leads-on",
        "who lets views fail leads as often as others (section 5, Election)",
        ELECTION,
        "key=lambda node: (node in failed, lead_lot(seed, node))",
        "key=lambda node: lead_lot(seed, node)",
        DRAWN,
    ),
    mutant(
        "merit-leads",
        "the best score leads first: a leader is chosen by cards (section 5, Election)",
        TRANSITION,
        "    committee = lead_order(operated, election.committee, next_seed)\n",
        "    committee = election.committee\n",
        selection("core/test_elections.py"),
    ),
)
