"""Recovery: managers give a round that can't go on another committee, and what its old one had prepared (design 6.8)."""

from dataclasses import dataclass
from typing import Annotated

from bflcd.crypto.hashing import Domain, digest
from bflcd.limits import Size
from bflcd.types import MAX_COMMITTEE, Digest, Epoch, NodeId, Round, Signature, View
from bflcd.wire.codec import encode, message
from bflcd.wire.proposal import Proposal


@dataclass(frozen=True, slots=True)
class ProposalBasis:
    """What an earlier recovery of the round had made of the ledger that a proposal was judged from: committee, retired."""

    committee: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    retired: Annotated[tuple[NodeId, ...], Size(0, MAX_COMMITTEE)]


@message(108, max_bytes=16 * 1024)
@dataclass(frozen=True, slots=True)
class PreparedClaim:
    """That `committee` prepared a segment of `proposal` in `view` of `epoch`.

    `basis`: absent exactly if the proposal is of the round's first epoch.
    """

    epoch: Epoch
    committee: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    view: View
    digest: Digest
    proposal: Proposal
    basis: ProposalBasis | None = None


@dataclass(frozen=True, slots=True)
class PreparedProof:
    """A prepared certificate that stands by itself: a claim with the signatures of q of its committee under one and the same
    Prepare, sorted by author."""

    claim: PreparedClaim
    prepares: Annotated[tuple[tuple[NodeId, Signature], ...], Size(1, MAX_COMMITTEE)]


def claim_hash(claim: PreparedClaim) -> Digest:
    """What managers sign of a proof: the hash of what it claims. Who prepared it, it proves by itself."""
    return digest(Domain.PREPARED, encode(claim))


@message(37, max_bytes=8 * 1024)
@dataclass(frozen=True, slots=True)
class Recovery:
    """A manager's word: round `round` after `parent` is decided by `committee`, in `epoch`, and by nobody else.

    `committee` in seat order. `retired`: members that get no seat until they show up again, sorted. `prepared`: what is
    claimed of the segment that must be re-proposed as it stands (`claim_hash` of its proof), the highest that was found.
    """

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    retired: Annotated[tuple[NodeId, ...], Size(0, MAX_COMMITTEE)]
    prepared: Digest | None


@message(103, max_bytes=32 * 1024)
@dataclass(frozen=True, slots=True)
class RecoveryCertificate:
    """A recovery with its managers' signatures, sorted by manager, and the proof that it names.

    With fewer than a quorum of signatures it is a recovery on its way to one.
    """

    recovery: Recovery
    proof: PreparedProof | None
    signatures: Annotated[tuple[tuple[NodeId, Signature], ...], Size(1, MAX_COMMITTEE)]
