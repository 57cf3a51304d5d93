"""What is proved against members: two messages in one place are evidence, which all hear and a block punishes (design 6.9)."""

from bflcd.core.effects import Blame, Effect
from bflcd.core.operations import OperationHandler
from bflcd.errors import Rejection
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.types import NodeId, Round
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import SignedBody


class EquivocationHandler:
    """Makes evidence of the contradictions that are found here."""

    def __init__(self, operations: OperationHandler, me: NodeId) -> None:
        self._operations = operations
        self._me = me

    def conflict(self, round_: Round, held: Signed[SignedBody] | None, other: Signed[SignedBody], text: str) -> list[Effect]:
        """Two messages in one place by one author, the signatures of both verified. Nothing if none is `held`, or it is us."""
        if held is None or other.author == self._me:
            return []
        blame = Blame(other.author, Rejection.CONFLICT, text)
        return [blame, *self._operations.note(round_, evidence_of(held.envelope, other.envelope))]
