"""What a node makes durable while a round runs, and where its chain stands: the core says it, the store keeps it."""

from dataclasses import dataclass, field

from bflcd.consensus.events import Journal, Prepared
from bflcd.ledger.state import State
from bflcd.params import BlobRef
from bflcd.types import Digest, Epoch, Round, View
from bflcd.wire.blocks import Header
from bflcd.wire.envelope import Envelope
from bflcd.wire.operation import Operation
from bflcd.wire.proposal import Proposal
from bflcd.wire.recovery import RecoveryCertificate


@dataclass(frozen=True, slots=True)
class Head:
    """The newest committed model block: its header, hash, and the ledger after it."""

    header: Header
    hash: Digest
    state: State


@dataclass(frozen=True, slots=True)
class VoteRecord:
    """A vote that this node signed and its place; no place ever takes a second digest."""

    round: Round
    epoch: Epoch
    view: View
    phase: int
    """Message number of the vote's body (`bflcd.wire.codec.number_of`)."""
    digest: Digest
    """The digest that the vote is for; for a view-change the hash of its payload."""
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A prepared certificate of this round."""

    round: Round
    epoch: Epoch
    prepared: Prepared


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """What this node signed besides votes: an offer, the word that offers are closed, a card, its seal, a manager's recovery.

    At most one a round, epoch and phase; re-sent byte for byte.
    """

    round: Round
    epoch: Epoch
    phase: int
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """A segment that was found right but is not decided: its proposal, and every card and offer that it needs."""

    round: Round
    digest: Digest
    proposal: Proposal
    cards: tuple[Envelope, ...]
    offers: tuple[Envelope, ...]
    model: BlobRef
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """A blob that must not be pruned while `round` is undecided."""

    root: Digest
    round: Round


@dataclass(frozen=True, slots=True)
class OfferRecord:
    """Somebody's offer that our card names: a segment that packs it can't be checked without it, and its author may be gone."""

    round: Round
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation that waits for a block, under the round that waits for it."""

    round: Round
    operation: Operation


@dataclass(frozen=True, slots=True)
class RecoveryRecord:
    """What managers signed for this round: by a quorum, and the epochs below its own are over here; or by this manager alone."""

    round: Round
    certificate: RecoveryCertificate


Record = VoteRecord | PreparedRecord | OwnRecord | ProposalRecord | OfferRecord | Pin | OperationRecord | RecoveryRecord
"""Everything about an undecided round that must survive a crash."""


@dataclass(frozen=True, slots=True)
class RoundRecords:
    """All records of one undecided round, as found at start."""

    votes: tuple[VoteRecord, ...]
    prepared: tuple[PreparedRecord, ...]
    own: tuple[OwnRecord, ...]
    proposals: tuple[ProposalRecord, ...]
    operations: tuple[OperationRecord, ...] = ()
    recoveries: tuple[RecoveryRecord, ...] = ()
    offers: tuple[OfferRecord, ...] = ()
    newest: VoteRecord | OwnRecord | None = field(default=None, compare=False)
    """Of all that this node signed in the round, what was stored last: the mark file must name it, or what came with it."""

    def journal(self, epoch: Epoch) -> Journal:
        """What the PBFT machine of this round and epoch remembers."""
        best = max((r.prepared for r in self.prepared if r.epoch == epoch), key=lambda p: p.view, default=None)
        return Journal(tuple(r.envelope for r in self.votes if r.epoch == epoch), best)
