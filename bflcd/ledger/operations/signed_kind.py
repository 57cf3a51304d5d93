"""What the kinds have in common that are one signed message of one type: who said it, in which round, as its how-manieth."""

from typing import ClassVar, Generic, Protocol, TypeVar

from bflcd.ledger.operations.base import Body, Limits, refused
from bflcd.ledger.state import NEVER, State, members_of
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.alliance import ALLIANCE_BYTES
from bflcd.wire.envelope import Signed, open_envelope
from bflcd.wire.operation import Operation


class RoundBody(Protocol):
    """A signed body that says in which round its author was."""

    @property
    def chain(self) -> Digest:
        """As `Body.chain`."""
        ...

    @property
    def round(self) -> Round:
        """The round its author was in."""
        ...


class NumberedBody(RoundBody, Protocol):
    """One that is applied in its author's turn."""

    @property
    def number(self) -> int:
        """As `OperationKind.number`."""
        ...


R = TypeVar("R", bound=RoundBody)
N = TypeVar("N", bound=NumberedBody)

OPERATION_BYTES = ALLIANCE_BYTES + 256
"""One body in its envelope, with the kind's name."""


class SignedKind(Generic[R]):
    """A kind that is one message of type `body_type`; whoever derives from it says the rest of `OperationKind`."""

    name: ClassVar[str]
    body_type: type[R]
    limits = Limits(per_block=16, per_author=4, max_bytes=OPERATION_BYTES)

    @property
    def bodies(self) -> tuple[type[Body], ...]:
        """See `OperationKind`."""
        return (self.body_type,)

    def author(self, operation: Operation) -> NodeId:
        """Who signed it."""
        return operation.author

    def number(self, operation: Operation) -> int | None:
        """None: the rule itself refuses a second one."""
        del operation
        return None

    def since(self, operation: Operation) -> Round:
        """The round that its author was in."""
        return self.body(operation).round

    def check_form(self, operation: Operation) -> None:
        """Raise PeerError for what is none of this kind."""
        self.body(operation)

    def body(self, operation: Operation) -> R:
        """What was signed. Raises PeerError for more than one message, or another one."""
        if len(operation.signed) != 1:
            raise refused(self.name, f"{len(operation.signed)} messages, it has one")
        signed: Signed[R] = open_envelope(operation.signed[0], (self.body_type,))
        return signed.body


class NumberedKind(SignedKind[N]):
    """One of a member, applied in the turn of its number."""

    def number(self, operation: Operation) -> int | None:
        """Its place among its author's operations."""
        return self.body(operation).number


def someone_stays(state: State, goes: NodeId) -> bool:
    """Whether a member that may hold a seat is left when `goes` has gone."""
    return any(
        account.node != goes and account.punished_round == NEVER and account.retired_round == NEVER
        for account in members_of(state)
    )
