"""Defects of keys that take the place of others: what a dead one can still do, and who escapes by a new one."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

OPERATIONS = "bflcd/ledger/operations/keys.py"
KEYS = "bflcd/ledger/alliance/keys.py"
EVIDENCE = "bflcd/ledger/operations/evidence.py"
ADMITTING = "bflcd/ledger/operations/admitting.py"
LEAVING = "bflcd/ledger/operations/leaving.py"
TRANSITION = "bflcd/ledger/transition.py"

MOVES: Final = selection("ledger/operations/test_keys.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "keys-nobody-has-the-new-one",
        "a member gives itself to a key that has not signed (design 7)",
        OPERATIONS,
        "(signed.body.old, signed.body.node) != (by_old.author, by_new.author)",
        "signed.body.old != by_old.author",
        MOVES,
    ),
    mutant(
        "keys-a-copied-signature",
        "anybody gives its account to a key that has signed for another (design 7)",
        OPERATIONS,
        "(signed.body.old, signed.body.node) != (by_old.author, by_new.author)",
        "signed.body.node != by_new.author",
        MOVES,
    ),
    mutant(
        "keys-in-circles",
        "a dead key becomes a member again (design 7)",
        OPERATIONS,
        "    if account_of(state, node) is not None:\n",
        "    if False:\n",
        MOVES,
    ),
    mutant(
        "keys-without-end",
        "one member fills the ledger with keys (design 7)",
        OPERATIONS,
        "if account.rotations >= MAX_ROTATIONS:",
        "if False:",
        MOVES,
    ),
    mutant(
        "keys-crowd-out-members",
        "rotations leave no room for admissions (design 7)",
        OPERATIONS,
        "if len(state.accounts) >= MAX_ACCOUNTS_TO_ROTATE:",
        "if False:",
        MOVES,
    ),
    mutant(
        "keys-one-manager-replaces",
        "one manager takes a member's account away (design 7)",
        OPERATIONS,
        "        return manager_quorum(state)\n",
        "        return 1\n",
        MOVES,
    ),
    mutant(
        "keys-by-who-has-not-applied",
        "managers give an account to a key that nobody has (design 7)",
        OPERATIONS,
        "if applicant is None or applicant.refused_round != NEVER:",
        "if False:",
        MOVES,
    ),
    mutant(
        "keys-numbers-begin-anew",
        "the numbers of operations go back with a rotation (design 7)",
        OPERATIONS,
        "account = replace(_member(state, body.old, self.name), operations=body.number)",
        "account = replace(_member(state, body.old, self.name), operations=0)",
        MOVES,
    ),
    mutant(
        "keys-units-twice",
        "the old key keeps what the new one has (design 7)",
        KEYS,
        "balance=Amount(0),",
        "balance=account.balance,",
        MOVES,
    ),
    mutant(
        "keys-thieves-rotate",
        "who has a stolen key escapes its replacement by a rotation (design 7)",
        OPERATIONS,
        "return replaced(state, _member(state, holder_of(state, body.node), self.name), body.by)",
        "return replaced(state, _member(state, body.node, self.name), body.by)",
        MOVES,
    ),
    mutant(
        "keys-escape-a-kick",
        "a member that is to be put out rotates and stays (design 7)",
        LEAVING,
        "return _gone(state, holder_of(state, body.node), kicked=True)",
        "return _gone(state, body.node, kicked=True)",
        MOVES,
    ),
    mutant(
        "keys-lie-and-rotate",
        "what a member signed under its key before proves nothing (design 6.9)",
        EVIDENCE,
        "key, account = account_of(state, accused), account_of(state, holder_of(state, accused))",
        "key, account = account_of(state, accused), account_of(state, accused)",
        MOVES,
    ),
    mutant(
        "keys-thieves-burn",
        "a stolen key that was replaced still burns its owner's balance (design 6.9)",
        KEYS,
        "account.successor is not None and account.kicked_round == NEVER:",
        "account.successor is not None:",
        MOVES,
    ),
    mutant(
        "keys-dead-ones-lie",
        "a key that was rotated is held against its owner for ever (design 6.9)",
        EVIDENCE,
        "if key.successor is not None and of > key.left_round:",
        "if False:",
        MOVES,
    ),
    mutant(
        "keys-admitted-again",
        "a dead key is admitted, and all that it signed counts again (design 7)",
        ADMITTING,
        "    if account.successor is not None:\n",
        "    if False:\n",
        MOVES,
    ),
    mutant(
        "keys-appointed-and-rotated",
        "who rotates while managers appoint it is not appointed (design 7)",
        "bflcd/ledger/operations/managing.py",
        "        node = holder_of(state, body.node)\n        account = member_of(state, node)\n",
        "        node = body.node\n        account = member_of(state, node)\n",
        MOVES,
    ),
    mutant(
        "keys-managers-forgotten",
        "a manager that rotates manages no more (design 7)",
        KEYS,
        "managers = _all_renamed(state.managers, dead.node, moved.node)",
        "managers = state.managers",
        MOVES,
    ),
    mutant(
        "keys-lose-their-seat",
        "who rotates is elected as one that is away (design 5, Election)",
        TRANSITION,
        "return by_holder, frozenset(holder_of(state, node) for node in present)",
        "return by_holder, present",
        MOVES,
    ),
)
