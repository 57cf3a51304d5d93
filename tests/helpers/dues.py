"""An operation that no product has: members burn some of the pool. It needs a message, a kind, and its place in the registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated
from unittest.mock import patch

from bflcd.crypto.identity import Identity
from bflcd.ledger.operations.base import Body, Limits, refused
from bflcd.ledger.operations.registry import KINDS
from bflcd.ledger.state import State
from bflcd.limits import Between
from bflcd.types import Amount, Digest, NodeId, Round, short
from bflcd.wire.codec import message
from bflcd.wire.envelope import Signed, open_envelope, seal
from bflcd.wire.operation import Operation


@message(127, max_bytes=1024)
@dataclass(frozen=True, slots=True)
class Dues:
    """`number`: of its author's operations; `amount`: burnt, or all that the pool has."""

    chain: Digest
    number: Annotated[int, Between(1, 2**53)]
    amount: Amount


class DuesKind:
    """Burns a part of the pool that rewards come from."""

    name = "dues"
    bodies: tuple[type[Body], ...] = (Dues,)
    limits = Limits(per_block=3, per_author=4, max_bytes=2048, rounds=None)

    def author(self, operation: Operation) -> NodeId:
        return operation.author

    def number(self, operation: Operation) -> int | None:
        return self._body(operation).number

    def since(self, _: Operation) -> Round:
        return Round(0)

    def is_settled(self, _state: State, _: Operation) -> bool:
        return False

    def describe(self, operation: Operation) -> str:
        return f"{short(operation.author)} burns {self._body(operation).amount}"

    def check(self, _: State, operation: Operation) -> None:
        self.check_form(operation)

    def check_form(self, operation: Operation) -> None:
        if len(operation.signed) != 1:
            raise refused(self.name, "more than one message")
        if self._body(operation).amount == 0:
            raise refused(self.name, "nothing to burn")

    def apply(self, state: State, operation: Operation) -> State:
        burnt = min(state.pool, self._body(operation).amount)
        return replace(state, pool=Amount(state.pool - burnt), burnt=Amount(state.burnt + burnt))

    def _body(self, operation: Operation) -> Dues:
        signed: Signed[Dues] = open_envelope(operation.signed[0], (Dues,))
        return signed.body


def dues(author: Identity, chain: Digest, number: int = 1, amount: int = 5) -> Operation:
    """A member's `number`-th operation."""
    return Operation(DuesKind.name, (seal(Dues(chain, number, Amount(amount)), author).envelope,))


@contextmanager
def dues_registered() -> Iterator[None]:
    """The registry with this kind in it: all that adding one takes."""
    with patch.dict(KINDS, {DuesKind.name: DuesKind()}):
        yield
