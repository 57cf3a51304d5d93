"""Defects of vouchers: who comes by one, how often, and whose word it is."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

VOUCHING = "bflcd/ledger/operations/vouching.py"
MOTION = "bflcd/ledger/operations/motion.py"
STATE = "bflcd/ledger/state.py"
KEYS = "bflcd/ledger/alliance/keys.py"
NEWCOMER = "bflcd/node/alliance/newcomer.py"

VOUCHES: Final = selection("ledger/operations/test_vouching.py")
ASKS: Final = selection("node/test_vouchers.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "vouchers-admit-again",
        "one voucher admits as many as have it (design 7)",
        VOUCHING,
        "without_motions_about(without_voucher(state, body.voucher), frozenset((body.node,)))",
        "without_motions_about(state, frozenset((body.node,)))",
        VOUCHES,
    ),
    mutant(
        "vouchers-opened-again",
        "who stands behind a voucher after its use opens it again (design 7)",
        VOUCHING,
        "        if voucher is None and not body.opens:\n",
        "        if False:\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-for-who-sees-one",
        "who sees a join on its way takes its voucher (design 7)",
        VOUCHING,
        "if by_node.payload != by_voucher.payload:",
        "if False:",
        VOUCHES,
    ),
    mutant(
        "vouchers-of-another-key",
        "anybody signs in the voucher's stead (design 7)",
        VOUCHING,
        "if (signed.body.node, signed.body.voucher) != (by_node.author, by_voucher.author):",
        "if signed.body.node != by_node.author:",
        VOUCHES,
    ),
    mutant(
        "vouchers-of-one-manager",
        "one manager's voucher is enough where two admit (design 7)",
        VOUCHING,
        "        if behind < needed:\n",
        "        if behind < 1:\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-of-who-managed-once",
        "a liar's voucher admits (design 7)",
        VOUCHING,
        "return tuple(node for node in voucher.approvals if manages(state, node))",
        "return voucher.approvals",
        VOUCHES,
    ),
    mutant(
        "vouchers-outlive-their-manager",
        "a dismissed manager's voucher admits (design 7)",
        STATE,
        "    vouchers = (replace(one, approvals=_others(one.approvals, node)) for one in state.vouchers)\n",
        "    vouchers = state.vouchers\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-lost-by-rotation",
        "a manager that rotates stands behind its vouchers no more (design 7)",
        KEYS,
        "approvals=_all_renamed(one.approvals, account.node, to)) for one in state.vouchers)",
        "approvals=one.approvals) for one in state.vouchers)",
        VOUCHES,
    ),
    mutant(
        "vouchers-without-end",
        "a voucher admits after its last round (design 7)",
        MOTION,
        "    vouchers = tuple(one for one in state.vouchers if one.until >= round_)\n",
        "    vouchers = state.vouchers\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-for-as-long-as-they-say",
        "a voucher holds for ever (design 7)",
        VOUCHING,
        "if not state.round < body.until <= state.round + MAX_VOUCHER_ROUNDS:",
        "if not state.round < body.until:",
        VOUCHES,
    ),
    mutant(
        "vouchers-without-share",
        "one manager takes the room of all vouchers (design 7)",
        VOUCHING,
        "        if behind >= most:\n",
        "        if False:\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-by-anybody",
        "any member vouches (design 7)",
        VOUCHING,
        "        if not manages(state, author):\n",
        "        if False:\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-for-who-was-put-out",
        "who was put out comes back by a voucher (design 7)",
        VOUCHING,
        "        check_admissible(state, self.name, body.node, body.round)\n",
        "        pass\n",
        VOUCHES,
    ),
    mutant(
        "vouchers-instead-of-applications",
        "a newcomer whose voucher is used up waits for ever (ADR 24)",
        NEWCOMER,
        "        if reply.standing == Membership.UNKNOWN:\n",
        "        if reply.standing == Membership.UNKNOWN and self._voucher is None:\n",
        ASKS,
    ),
)
