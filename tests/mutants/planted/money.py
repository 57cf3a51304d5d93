"""Defects of money: who owes, what a payment takes, what becomes of deposits."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

FEES = "bflcd/ledger/alliance/fees.py"
PAYING = "bflcd/ledger/operations/paying.py"
LEAVING = "bflcd/ledger/operations/leaving.py"
ADMITTING = "bflcd/ledger/operations/admitting.py"
EVIDENCE = "bflcd/ledger/operations/evidence.py"
RULES = "bflcd/ledger/operations/application.py"
ROLES = "bflcd/ledger/roles.py"
ELECTION = "bflcd/ledger/election.py"
STATE = "bflcd/ledger/state.py"
SERVICES = "bflcd/node/services.py"
FOLLOWING = "bflcd/node/following.py"
WORK = "bflcd/core/round/local_work.py"
NODE_PAYS = "bflcd/node/alliance/paying.py"

PAYS: Final = selection("ledger/operations/test_paying.py")
SERVES: Final = selection("node/test_paying.py")
ROUNDS: Final = selection("core/test_paying.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "money-a-period-is-paid-twice",
        "a member and its sponsor both pay for one period (design 7)",
        PAYING,
        "        if account.paid_round != body.paid:\n",
        "        if False:\n",
        PAYS,
    ),
    mutant(
        "money-any-price",
        "a payment takes what it says, not what is owed (design 7)",
        PAYING,
        "        if (body.fee, body.deposit) != (price.fee, price.deposit):\n",
        "        if False:\n",
        PAYS,
    ),
    mutant(
        "money-paid-from-nothing",
        "a payment takes more than there is (design 7)",
        PAYING,
        "        if payer.balance < price.total:\n",
        "        if False:\n",
        PAYS,
    ),
    mutant(
        "money-fees-vanish",
        "fees leave a balance and reach no pool (design 7)",
        PAYING,
        "pool=Amount(state.pool + body.fee)",
        "pool=state.pool",
        PAYS,
    ),
    mutant(
        "money-periods-without-end",
        "periods are paid for years in advance, at the price of today (design 7)",
        FEES,
        "account.paid_round < round_ + terms.period_rounds",
        "account.paid_round < round_ + 99 * terms.period_rounds",
        PAYS,
    ),
    mutant(
        "money-a-period-ends-early",
        "who pays in time loses the rest of its period (design 7)",
        FEES,
        "return Round(max(account.paid_round, round_) + terms.period_rounds)",
        "return Round(round_ + terms.period_rounds)",
        PAYS,
    ),
    mutant(
        "money-the-few-who-paid-decide",
        "whoever pays first holds all seats when a period ends for all (ADR 20)",
        FEES,
        "    if paid >= quorum(max(1, len(here))):\n",
        "    if paid:\n",
        PAYS,
    ),
    mutant(
        "money-who-is-gone-counts",
        "members that are gone keep fees from counting, or shut out who is here (ADR 20)",
        FEES,
        " and account.availability >= HERE]",
        "]",
        PAYS,
    ),
    mutant(
        "money-newcomers-vote-the-fee-away",
        "whoever never paid is not left out while others owe (ADR 20)",
        FEES,
        "    return frozenset(never) if any(account.node not in never for account in able) else frozenset()",
        "    return frozenset()",
        PAYS,
    ),
    mutant(
        "money-all-are-left-out",
        "where nobody ever paid nobody can hold a seat, and the chain ends (ADR 20)",
        FEES,
        "    return frozenset(never) if any(account.node not in never for account in able) else frozenset()",
        "    return frozenset(never)",
        PAYS,
    ),
    mutant(
        "money-who-owes-trains",
        "offers of who owes count (design 7)",
        ROLES,
        "        if account.node not in late\n        and account.punished",
        "        if account.punished",
        PAYS,
    ),
    mutant(
        "money-who-owes-sits",
        "who owes in the next round gets a seat in it (design 7)",
        ELECTION,
        " and account.node not in late]",
        "]",
        PAYS,
    ),
    mutant(
        "money-deposits-stay",
        "who has left never gets its deposit back (design 7)",
        RULES,
        "    return deposits_freed(without_expired(state, Round(state.round + 1)))\n",
        "    return without_expired(state, Round(state.round + 1))\n",
        PAYS,
    ),
    mutant(
        "money-deposits-free-at-once",
        "a liar leaves, and its deposit is out of reach when the proof comes (design 7)",
        FEES,
        "state.round + 1 - account.left_round >= state.terms.deposit_rounds",
        "state.round + 1 > account.left_round",
        PAYS,
    ),
    mutant(
        "money-liars-keep-their-deposit",
        "evidence takes the balance, which is elsewhere by then (design 7)",
        EVIDENCE,
        "replace(account, balance=Amount(0), deposit=Amount(0), punished_round=state.round)",
        "replace(account, balance=Amount(0), punished_round=state.round)",
        PAYS,
    ),
    mutant(
        "money-who-is-put-out-keeps-its-deposit",
        "being put out costs nothing (design 7)",
        LEAVING,
        "kicked_round=state.round, deposit=Amount(0), heir=None)\n    return replace(with_accounts(state, out), burnt=Amount(state.burnt + account.deposit))",
        "kicked_round=state.round, heir=None)\n    return with_accounts(state, out)",
        PAYS,
    ),
    mutant(
        "money-back-without-a-deposit",
        "who leaves and comes back has its deposit back and its period too (design 7)",
        ADMITTING,
        "account.paid_round > state.round and account.deposit >= state.terms.deposit else NEVER",
        "account.paid_round > state.round else NEVER",
        PAYS,
    ),
    mutant(
        "money-new-terms-at-once",
        "a fee that is new shuts everybody out in the next round (ADR 20)",
        FEES,
        "        return replace(account, paid_round=Round(state.round + terms.period_rounds))\n",
        "        return account\n",
        PAYS,
    ),
    mutant(
        "money-deposits-from-nothing",
        "members of the genesis have their deposit and their balance (design 7)",
        STATE,
        "balance=Amount(member.balance - genesis.terms.deposit)",
        "balance=member.balance",
        PAYS,
    ),
    mutant(
        "money-who-owes-is-served",
        "who owes gets models all the same (design 7)",
        SERVICES,
        "        if peer in context.owing:\n",
        "        if False:\n",
        SERVES,
    ),
    mutant(
        "money-who-owes-asks-on",
        "who owes asks all peers for what none gives it, whenever it catches up (design 7)",
        FOLLOWING,
        "        if not self._core.context.owes:\n",
        "        if True:\n",
        SERVES,
    ),
    mutant(
        "money-who-owes-fetches",
        "who owes asks for the model in every round (design 7)",
        WORK,
        "        return [] if context.owes else [FetchBlob(",
        "        return [FetchBlob(",
        ROUNDS,
    ),
    mutant(
        "money-without-limit",
        "a node pays by itself whatever is asked for (design 7)",
        NODE_PAYS,
        "<= min(limit, account.balance)",
        "<= account.balance",
        SERVES,
    ),
    mutant(
        "money-heirs-of-liars",
        "a liar's units reach its heir before anybody has proof (design 7)",
        FEES,
        "if (account.deposit or account.heir is not None) and _is_free(state, account)",
        "if account.heir is not None or (account.deposit and _is_free(state, account))",
        PAYS,
    ),
    mutant(
        "money-heirs-that-lied",
        "a punished heir gets units again (design 7)",
        FEES,
        "goes = heir is not None and heir.punished_round == NEVER",
        "goes = heir is not None",
        PAYS,
    ),
    mutant(
        "money-heirs-under-dead-keys",
        "what is left to a key that was rotated is nobody's (design 7)",
        FEES,
        "now[last_of(state, account.heir)]",
        "now[account.heir]",
        PAYS,
    ),
    mutant(
        "money-heirs-of-who-came-back",
        "who is admitted again loses all that it has to its heir (design 7)",
        ADMITTING,
        "heir=None, availability",
        "availability",
        PAYS,
    ),
)
