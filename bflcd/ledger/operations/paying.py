"""Pay: a member pays what it owes, or what another owes, which is then its sponsor."""

from dataclasses import replace
from typing import Final

from bflcd.ledger.alliance.fees import is_payable, paid_through, price_of
from bflcd.ledger.operations.base import Limits, refused
from bflcd.ledger.operations.signed_kind import OPERATION_BYTES, NumberedKind
from bflcd.ledger.state import NEVER, Account, State, account_of, member_of, with_accounts
from bflcd.types import Amount, NodeId, short
from bflcd.wire.money import Pay
from bflcd.wire.operation import MAX_OPERATIONS, Operation


class PayKind(NumberedKind[Pay]):
    """One period of one member, at its price, in full or not at all."""

    name = "pay"
    body_type = Pay
    limits = Limits(per_block=MAX_OPERATIONS // 2, per_author=4, max_bytes=OPERATION_BYTES)

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether the period that it is for was paid for."""
        body = self.body(operation)
        account = account_of(state, body.node)
        return account is not None and account.paid_round > body.paid

    def describe(self, operation: Operation) -> str:
        """Who pays how much, for whom."""
        body, author = self.body(operation), operation.author
        whom = "" if body.node == author else f" for {short(body.node)}"
        return f"{short(author)} pays {body.fee + body.deposit}{whom}: fees {body.fee}, deposit {body.deposit}"

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        body, node = self.body(operation), short(self.body(operation).node)
        # 1. For a member, by a member.
        account, payer = member_of(state, body.node), member_of(state, operation.author)
        if payer is None:
            raise refused(self.name, f"{short(operation.author)} is no member")
        if account is None or account.punished_round != NEVER:
            raise refused(self.name, f"{node} is no member, or was punished")
        # 2. For the next period, which nobody has paid for.
        price = price_of(state.terms, account)
        if account.paid_round != body.paid:
            raise refused(self.name, f"{node} has paid through round {account.paid_round}, not {body.paid}")
        if price.total == 0:
            raise refused(self.name, f"{node} owes nothing: the terms ask for nothing more")
        if not is_payable(state.terms, account, state.round):
            raise refused(self.name, f"{node} owes nothing: it has paid through round {account.paid_round}")
        # 3. At its price, which is there.
        if (body.fee, body.deposit) != (price.fee, price.deposit):
            raise refused(self.name, f"it costs {price}, not {body.fee} in fees and {body.deposit} of deposit")
        if payer.balance < price.total:
            raise refused(self.name, f"{short(payer.node)} has {payer.balance}, not {price.total}")

    def apply(self, state: State, operation: Operation) -> State:
        """The payer's balance, the pool, and the account that is paid for."""
        body = self.body(operation)
        payer = self._account(state, operation.author)
        paid = replace(payer, balance=Amount(payer.balance - body.fee - body.deposit))
        state = replace(with_accounts(state, paid), pool=Amount(state.pool + body.fee))
        account = self._account(state, body.node)
        through = paid_through(state.terms, account, state.round)
        return with_accounts(state, replace(account, deposit=Amount(account.deposit + body.deposit), paid_round=through))

    def _account(self, state: State, node: NodeId) -> Account:
        account = account_of(state, node)
        if account is None:
            raise refused(self.name, f"{short(node)} is no member")
        return account


PAY: Final = PayKind()
