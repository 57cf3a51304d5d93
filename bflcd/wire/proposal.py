"""What a leader proposes: the little that a segment needs besides the parent state."""

from dataclasses import dataclass
from typing import Annotated

from bflcd.crypto.hashing import Domain, digest
from bflcd.limits import Size
from bflcd.types import MAX_COMMITTEE, Digest, Epoch, Millis, Proof, View
from bflcd.wire.codec import encode, message
from bflcd.wire.operation import MAX_OPERATIONS


@message(107, max_bytes=8 * 1024)
@dataclass(frozen=True, slots=True)
class Proposal:
    """All that a segment needs besides the parent state: everything else is a function of it (design 5.4).

    `epoch`, `view`: of the first proposal; `proof`: what the key of that view's leader says of the parent's lot
    (`bflcd.ledger.lot`); `cards`: payload digests of exactly q cards, sorted by their authors' ids; `operations`: ids of those
    that it carries, in the order in which they are applied.
    """

    epoch: Epoch
    view: View
    proof: Proof
    time: Millis
    cards: Annotated[tuple[Digest, ...], Size(1, MAX_COMMITTEE)]
    operations: Annotated[tuple[Digest, ...], Size(0, MAX_OPERATIONS)] = ()


def proposal_id(proposal: Proposal) -> Digest:
    """A proposal's identity: the hash of its encoding."""
    return digest(Domain.PROPOSAL, encode(proposal))
