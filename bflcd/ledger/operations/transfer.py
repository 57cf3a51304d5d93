"""Transfer: a member gives another a part of what it has."""

from dataclasses import replace
from typing import Final

from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.signed_kind import NumberedKind
from bflcd.ledger.state import NEVER, Account, State, member_of, with_accounts
from bflcd.types import Amount, short
from bflcd.wire.alliance import Transfer
from bflcd.wire.operation import Operation


class TransferKind(NumberedKind[Transfer]):
    """From one balance to another, in full or not at all."""

    name = "transfer"
    body_type = Transfer

    def is_settled(self, state: State, operation: Operation) -> bool:
        """False: its number says whether a block has carried it."""
        del state, operation
        return False

    def describe(self, operation: Operation) -> str:
        """Who gives whom how much."""
        body = self.body(operation)
        return f"{short(operation.author)} gives {body.amount} to {short(body.to)}"

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        self._sides(state, operation)

    def apply(self, state: State, operation: Operation) -> State:
        """Both balances."""
        giver, taker = self._sides(state, operation)
        amount = self.body(operation).amount
        return with_accounts(
            state,
            replace(giver, balance=Amount(giver.balance - amount)),
            replace(taker, balance=Amount(taker.balance + amount)),
        )

    def _sides(self, state: State, operation: Operation) -> tuple[Account, Account]:
        """Who gives, who takes. Raises PeerError(BAD_OPERATION)."""
        body = self.body(operation)
        giver, taker = member_of(state, operation.author), member_of(state, body.to)
        if giver is None:
            raise refused(self.name, f"{short(operation.author)} is no member")
        if taker is None or taker.punished_round != NEVER:
            raise refused(self.name, f"{short(body.to)} is no member, or was punished")
        if giver.node == taker.node:
            raise refused(self.name, f"{short(body.to)} gives to itself")
        if giver.balance < body.amount:
            raise refused(self.name, f"{short(operation.author)} has {giver.balance}, not {body.amount}")
        return giver, taker


TRANSFER: Final = TransferKind()
