"""Defects of what a node does with two certificates for one round."""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Mutant, mutant

FORKS = "bflcd/consensus/forks.py"
CERTIFICATES = "bflcd/core/certificates.py"

SHOWN = "faults/test_liars.py::test_row_25"
FORKED: Final = selection(
    "faults/test_forks.py",
    f"{SHOWN}_a_node_that_is_shown_the_other_certificate_halts_and_keeps_the_proof",
    f"{SHOWN}_a_contradiction_is_seen_while_the_decided_segment_is_still_on_its_way",
    f"{SHOWN}_a_contradiction_in_a_recovered_round_is_seen",
)
GONE: Final = Simulated("gone")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "fork-across-views-convicts",
        "honest members who committed in two views are punished (rule 9; row 25)",
        FORKS,
        "        if self.ours.view != self.other.view:\n            return ()\n",
        "",
        FORKED,
    ),
    mutant(
        "fork-across-epochs",
        "a recovery that superseded a block stops its nodes as a fork would (rule 8)",
        FORKS,
        'place = ("chain", "round", "epoch", "parent", "committee")',
        'place = ("chain", "round", "parent")',
        FORKED,
        GONE,
    ),
    mutant(
        "forged-fork-halts",
        "a forged certificate stops a node (rule 8; row 25)",
        CERTIFICATES,
        "        verify_certificate(certificate, instance, self._verify)\n        named = ",
        "        named = ",
        FORKED,
    ),
    mutant(
        "fork-passes",
        "a node that sees two certificates for one round goes on (rule 8; row 25)",
        CERTIFICATES,
        "notice(context.round, EventKind.FORK, text), Halt(text, FORK_HINT)]",
        "notice(context.round, EventKind.FORK, text)]",
        FORKED,
    ),
    mutant(
        "fork-convicts-nobody",
        "the commits that convict the signers of two blocks are dropped (rule 9; row 25)",
        CERTIFICATES,
        "return [*proofs, notice(context.round, EventKind.FORK, text)",
        "return [notice(context.round, EventKind.FORK, text)",
        FORKED,
    ),
    mutant(
        "fork-of-the-running-round-unseen",
        "while a decided round waits for its segment, the contradicting certificate is not looked at (row 25)",
        "bflcd/core/certificates.py",
        "if pending is not None and certificate.round == context.round:",
        "if pending is not None and certificate.round < 0:",
        FORKED,
    ),
    mutant(
        "fork-of-a-recovered-round-refused",
        "a true contradiction in a recovered round is held against its first committee and blamed (rule 8; row 25)",
        "bflcd/core/core.py",
        "*self._certificates.closed(context, certificate, now),",
        "*self._certificates.closed(context.first, certificate, now),",
        FORKED,
    ),
)
