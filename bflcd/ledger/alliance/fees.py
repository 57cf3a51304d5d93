"""What members owe the community, and whom a round leaves out because it owes (design 7).

Whatever is paid is paid for a period. Who never paid pays the entry fee too, and whose deposit is smaller than the terms ask for
pays the rest of it. Who owes neither trains nor judges, is not waited for and gets no payload.

A community can't do without most of its members: where more than a third of those who are here and have ever paid owe, none of
them is left out. Otherwise the few who paid in time, liars among them, would hold all seats and could keep everybody else's
payments out of their blocks.
"""

from dataclasses import dataclass, replace
from typing import Final

from bflcd.ledger.alliance.keys import last_of
from bflcd.ledger.quorum import quorum
from bflcd.ledger.state import NEVER, Account, State, member_of, members_of
from bflcd.params import MILLION, Terms
from bflcd.types import Amount, NodeId, PartsPerMillion, Round

HERE: Final = PartsPerMillion(MILLION // 10)
"""Availability of who is here: it was seen in the last round, or was always there until less than eighteen rounds ago."""


@dataclass(frozen=True, slots=True)
class Dues:
    """`entry`, `period`: into the pool; `deposit`: still the member's."""

    entry: Amount = Amount(0)
    period: Amount = Amount(0)
    deposit: Amount = Amount(0)

    @property
    def fee(self) -> Amount:
        """What the pool gets."""
        return Amount(self.entry + self.period)

    @property
    def total(self) -> Amount:
        """What is taken from the payer's balance."""
        return Amount(self.fee + self.deposit)

    def __str__(self) -> str:
        """In words: `120 units (entry fee 100, deposit 20)`."""
        parts = (("entry fee", self.entry), ("period's fee", self.period), ("deposit", self.deposit))
        return f"{self.total} units ({', '.join(f'{name} {amount}' for name, amount in parts if amount)})"


NOTHING: Final = Dues()


def asks(terms: Terms) -> bool:
    """Whether a community asks its members for anything."""
    return bool(terms.entry_fee or terms.period_fee or terms.deposit)


def terms_text(terms: Terms) -> str:
    """What a community asks for, for who is about to join it."""
    if not asks(terms):
        return "none"
    return f"entry {terms.entry_fee}, {terms.period_fee} for each {terms.period_rounds} rounds, deposit {terms.deposit}"


def price_of(terms: Terms, account: Account) -> Dues:
    """What its next period costs a member, whenever it is paid."""
    return Dues(
        entry=terms.entry_fee if account.paid_round == NEVER else Amount(0),
        period=terms.period_fee,
        deposit=Amount(max(0, terms.deposit - account.deposit)),
    )


def dues_of(terms: Terms, account: Account, round_: Round) -> Dues:
    """What a member owes in a round: nothing while what it has paid for lasts."""
    return NOTHING if account.paid_round >= round_ else price_of(terms, account)


def is_payable(terms: Terms, account: Account, round_: Round) -> bool:
    """Whether a block of `round_` may take a payment for a member: there is something to pay, and less than a whole period is
    paid for in advance."""
    return price_of(terms, account).total > 0 and account.paid_round < round_ + terms.period_rounds


def ends_soon(terms: Terms, account: Account, round_: Round) -> bool:
    """Whether the last tenth of what a member has paid for runs, and its next period costs something."""
    left = account.paid_round - round_
    return price_of(terms, account).total > 0 and 0 <= left < max(1, terms.period_rounds // 10)


def paid_through(terms: Terms, account: Account, round_: Round) -> Round:
    """The last round that a member has paid for once a block of `round_` has taken its payment.

    From the next round on, or from the end of what is paid for; the rounds in which it owed cost nothing, it had nothing of them.
    """
    return Round(max(account.paid_round, round_) + terms.period_rounds)


def owing(state: State) -> frozenset[NodeId]:
    """Members that this round leaves out because they owe; who holds a seat in it all the same, by a recovery, is not."""
    return in_arrears(state, state.round) - frozenset(state.committee)


def owes(state: State, node: NodeId) -> bool:
    """Whether this round leaves a member out because it owes."""
    account = member_of(state, node)
    if account is None or dues_of(state.terms, account, state.round).total == 0:
        return False
    return node in owing(state)


def owed_text(state: State, node: NodeId) -> str:
    """What a member owes in this round, and since when, for people; empty if nothing."""
    account = member_of(state, node)
    owed = NOTHING if account is None else dues_of(state.terms, account, state.round)
    if account is None or owed.total == 0:
        return ""
    return f"{owed}, " + ("never paid" if account.paid_round == NEVER else f"paid through round {account.paid_round}")


def in_arrears(state: State, round_: Round) -> frozenset[NodeId]:
    """Members that `round_` leaves out because they owe in it.

    1. None, where the terms ask for nothing.
    2. All that owe, if those who have paid are a quorum of all that are here and have ever paid.
    3. Otherwise only those that never paid: who paid once is part of the community.
    4. Nobody, if nobody else could hold a seat.
    """
    terms = state.terms
    # 1. Nothing to pay.
    if not asks(terms):
        return frozenset()
    late = {account.node for account in members_of(state) if dues_of(terms, account, round_).total > 0}
    able = [account for account in members_of(state) if account.punished_round == NEVER and account.retired_round == NEVER]
    # 2. Most have paid.
    here = [account for account in able if account.paid_round != NEVER and account.availability >= HERE]
    paid = sum(account.node not in late for account in here)
    if paid >= quorum(max(1, len(here))):
        return frozenset(late)
    # 3. Too few: who ever paid stays.
    never = {account.node for account in members_of(state) if account.node in late and account.paid_round == NEVER}
    # 4. Nobody ever did.
    return frozenset(never) if any(account.node not in never for account in able) else frozenset()


def deposits_freed(state: State) -> State:
    """The ledger that opens the next round: who left so long ago has its deposit among its balance again; or its heir has all
    that it had, unless that one was punished since."""
    due = [
        account.node for account in state.accounts if (account.deposit or account.heir is not None) and _is_free(state, account)
    ]
    now = {account.node: account for account in state.accounts} if due else {}
    for node in sorted(due, key=lambda one: (now[one].left_round, one)):  # what is left to who leaves too goes on
        account = now[node]
        all_of_it = Amount(account.balance + account.deposit)
        heir = None if account.heir is None else now[last_of(state, account.heir)]
        goes = heir is not None and heir.punished_round == NEVER
        now[node] = replace(account, balance=Amount(0) if goes else all_of_it, deposit=Amount(0), heir=None)
        if heir is not None and goes:
            now[heir.node] = replace(heir, balance=Amount(heir.balance + all_of_it))
    return replace(state, accounts=tuple(now.values())) if due else state


def under_terms(state: State, terms: Terms) -> State:
    """The ledger under other terms: who owes nothing by the old ones in the next round has a whole period until new ones ask."""
    next_round = Round(state.round + 1)

    def eased(account: Account) -> Account:
        owed_before = dues_of(state.terms, account, next_round).total
        if owed_before or dues_of(terms, account, next_round).total == 0:
            return account
        return replace(account, paid_round=Round(state.round + terms.period_rounds))

    members = {account.node for account in members_of(state)}
    accounts = tuple(eased(account) if account.node in members else account for account in state.accounts)
    return replace(state, terms=terms, accounts=accounts)


def _is_free(state: State, account: Account) -> bool:
    return account.left_round != NEVER and state.round + 1 - account.left_round >= state.terms.deposit_rounds
