"""Communities whose terms ask for money, and what their members sign."""

from dataclasses import replace
from typing import Any

from bflcd.crypto.identity import Identity
from bflcd.ledger.alliance.fees import price_of
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.state import Account, State, account_of, with_accounts
from bflcd.params import Terms
from bflcd.types import Amount, PartsPerMillion, Round
from bflcd.wire.envelope import seal
from bflcd.wire.money import Pay
from bflcd.wire.operation import Operation

PERIOD = 20
TERMS = Terms(
    entry_fee=Amount(100), period_fee=Amount(10), period_rounds=PERIOD, deposit=Amount(50), deposit_rounds=5, motion_rounds=30
)
"""A newcomer pays 160, of which 50 stay its own; everybody else 10 every 20 rounds."""


def with_terms(state: State, terms: Terms = TERMS, availability: int = 1_000_000) -> State:
    """A ledger at genesis as if it had begun by these terms, everybody having been here all the time."""
    accounts = tuple(
        replace(
            one,
            balance=Amount(one.balance - terms.deposit),
            deposit=terms.deposit,
            paid_round=terms.period_rounds - 1,
            availability=PartsPerMillion(availability),
        )
        for one in state.accounts
    )
    return replace(state, terms=terms, accounts=accounts)


def account(state: State, who: Identity) -> Account:
    """Somebody's account, which must be there."""
    found = account_of(state, who.node_id)
    assert found is not None
    return found


def changed(state: State, who: Identity, **fields: Any) -> State:
    """The ledger with one account changed."""
    return with_accounts(state, replace(account(state, who), **fields))


def says(state: State, author: Identity, body: type, **fields: Any) -> Operation:
    """What a member signs now, in its turn."""
    known = account_of(state, author.node_id)
    kind = next(name for name, kind in KINDS.items() if kind.bodies == (body,))
    number = 1 if known is None else known.operations + 1
    signed = body(**{"chain": state.chain, "round": state.round, "number": number} | fields)
    return Operation(kind, (seal(signed, author).envelope,))


def pays(state: State, author: Identity, whom: Identity | None = None, **fields: Any) -> Operation:
    """The payment for a member's next period, of its author's own without `whom`."""
    one = account(state, whom or author)
    price = price_of(state.terms, one)
    body = {"node": one.node, "paid": one.paid_round, "fee": price.fee, "deposit": price.deposit}
    return says(state, author, Pay, **body | fields)


def after(state: State, *operations: Operation) -> State:
    """The ledger that one block with these operations leaves, in its next round."""
    ordered = tuple(sorted(operations, key=lambda one: one.author))
    return replace(apply_operations(state, ordered), round=Round(state.round + 1))


def at(state: State, round_: int) -> State:
    """The ledger in a later round, nothing having happened."""
    return replace(state, round=Round(round_))


def all_units(state: State) -> int:
    """All that there is."""
    return sum(one.balance + one.deposit for one in state.accounts) + state.pool + state.burnt
