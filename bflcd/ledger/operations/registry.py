"""The kinds of operations that a block may carry: a new one is a module of this folder and a line here."""

from typing import Final

from bflcd.ledger.operations.admitting import ADMIT, REFUSE
from bflcd.ledger.operations.applying import APPLY
from bflcd.ledger.operations.base import OperationKind, refused
from bflcd.ledger.operations.canary import CANARY
from bflcd.ledger.operations.evidence import EVIDENCE
from bflcd.ledger.operations.keys import REPLACE, ROTATE
from bflcd.ledger.operations.leaving import KICK, LEAVE, RETURN
from bflcd.ledger.operations.managing import APPOINT, DISMISS
from bflcd.ledger.operations.paying import PAY
from bflcd.ledger.operations.rollback import ROLLBACK
from bflcd.ledger.operations.setting import SET
from bflcd.ledger.operations.transfer import TRANSFER
from bflcd.ledger.operations.vouching import JOIN, VOUCH
from bflcd.types import Digest
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import open_envelope
from bflcd.wire.operation import Operation

KINDS: Final[dict[str, OperationKind[Operation]]] = {
    kind.name: kind
    for kind in (
        *(EVIDENCE, APPLY, ADMIT, REFUSE, LEAVE, KICK, RETURN, APPOINT, DISMISS, SET, TRANSFER, PAY, ROLLBACK),
        *(ROTATE, REPLACE, VOUCH, JOIN, CANARY),
    )
}
"""By what `Operation.kind` says."""


def kind_of(operation: Operation) -> OperationKind[Operation]:
    """The kind of an operation. Raises PeerError(BAD_OPERATION) if there is none of this name."""
    kind = KINDS.get(operation.kind)
    if kind is None:
        raise refused("operation", f"there is no kind {operation.kind!r}, only {', '.join(sorted(KINDS))}")
    return kind


def chain_of(operation: Operation) -> Digest:
    """The chain that the signed messages of an operation are of. Raises PeerError for what is none of its kind."""
    bodies = kind_of(operation).bodies
    chains: set[Digest] = {open_envelope(envelope, bodies).body.chain for envelope in operation.signed}
    if len(chains) != 1:
        raise refused(operation.kind, "its messages are of different chains")
    return chains.pop()


def body_numbers(operation: Operation) -> tuple[int, ...]:
    """Message numbers that the signed messages of its kind may have. Raises PeerError(BAD_OPERATION) for an unknown kind."""
    return tuple(number_of(body) for body in kind_of(operation).bodies)
