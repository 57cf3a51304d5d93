"""Evidence: two messages that one author signed in one place, where an honest node signs one (design 6.9)."""

from dataclasses import dataclass
from typing import Final

from bflcd.crypto.hashing import Domain, digest
from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, NodeId
from bflcd.wire.codec import message
from bflcd.wire.envelope import MAX_PAYLOAD_BYTES, Envelope, payload_digest

MAX_EVIDENCE: Final = 4
"""Pieces of evidence in one block; the rest waits for the next one."""

MAX_EVIDENCE_BYTES: Final = 2 * (MAX_PAYLOAD_BYTES + 256) + 256
"""Two score cards of the largest community."""


@message(43, max_bytes=MAX_EVIDENCE_BYTES)
@dataclass(frozen=True, slots=True)
class Evidence:
    """Two envelopes of one author, by `payload_digest` in rising order. What makes it proof: `bflcd.ledger.evidence`."""

    first: Envelope
    second: Envelope

    @property
    def accused(self) -> NodeId:
        """Whom it is about."""
        return self.first.author


class ConflictError(PeerError):
    """The author signed another message in this place; `evidence` proves it once both signatures hold."""

    def __init__(self, evidence: Evidence, message: str) -> None:
        super().__init__(Rejection.CONFLICT, message)
        self.evidence = evidence


def evidence_of(one: Envelope, other: Envelope) -> Evidence:
    """The evidence that two different messages of one author make."""
    first, second = sorted((one, other), key=payload_digest)
    return Evidence(first, second)


def evidence_id(evidence: Evidence) -> Digest:
    """What a proposal calls it by: who said which two things, without the signatures."""
    return digest(Domain.EVIDENCE, payload_digest(evidence.first), payload_digest(evidence.second))
