"""Operations: what members bring into a block besides learning, as it travels (ADR 14)."""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from bflcd.crypto.hashing import Domain, digest
from bflcd.limits import Name, Size
from bflcd.types import Digest, NodeId
from bflcd.wire.codec import encode, message
from bflcd.wire.envelope import MAX_PAYLOAD_BYTES, Envelope, unsigned

MAX_SIGNED: Final = 2
"""Signed messages of one operation."""

MAX_OPERATION_BYTES: Final = MAX_SIGNED * (MAX_PAYLOAD_BYTES + 256) + 256
"""Two score cards of the largest community, one of whose authors signed both."""

MAX_OPERATIONS: Final = 64
"""Operations of one block; the rest waits for the next one."""

MAX_OPERATIONS_BYTES: Final = 4 * MAX_OPERATION_BYTES
"""All operations of one block, or of one reply, together."""


@message(44, max_bytes=MAX_OPERATION_BYTES)
@dataclass(frozen=True, slots=True)
class Operation:
    """Signed messages, the first of them by whom the operation counts for. What `kind` means by them:
    `bflcd.ledger.operations`."""

    kind: Name
    signed: Annotated[tuple[Envelope, ...], Size(1, MAX_SIGNED)]

    @property
    def author(self) -> NodeId:
        """Whom it counts for: who asks for it, or whom it accuses."""
        return self.signed[0].author


def operation_id(operation: Operation) -> Digest:
    """What a proposal calls it by: who said what, without the signatures (see `unsigned`)."""
    return digest(Domain.OPERATION, encode(unsigned_operation(operation)))


def unsigned_operation(operation: Operation) -> Operation:
    """The operation with zeros for signatures."""
    return replace(operation, signed=tuple(unsigned(envelope) for envelope in operation.signed))
