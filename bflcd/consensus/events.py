"""What goes into the PBFT machine of one round, and what it remembers across a restart."""

from dataclasses import dataclass

from bflcd.errors import Rejection
from bflcd.ledger.quorum import faults, leader, quorum
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, View
from bflcd.wire.blocks import committee_hash
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import JustifiedPrePrepare, JustifiedViewChange
from bflcd.wire.proposal import Proposal


@dataclass(frozen=True, slots=True)
class LockedProposal:
    """What an older epoch of the round had prepared: the only thing that this one may decide (design 6.8)."""

    digest: Digest
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Instance:
    """What one PBFT instance decides about: the round, its parent block, its committee."""

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: tuple[NodeId, ...]
    view_timeout: Millis
    """T0."""
    locked: LockedProposal | None = None

    @property
    def f(self) -> int:
        """Byzantine members that are survived."""
        return faults(len(self.committee))

    @property
    def q(self) -> int:
        """Quorum, M - f."""
        return quorum(len(self.committee))

    @property
    def committee_hash(self) -> Digest:
        """What every vote is bound to."""
        return committee_hash(self.epoch, self.committee)

    def leader(self, view: View) -> NodeId:
        """committee[v mod M]."""
        return leader(self.committee, view)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared certificate: a pre-prepare of `view` and q prepares of distinct members for its digest."""

    view: View
    digest: Digest
    proposal: Proposal
    prepares: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class Journal:
    """What a member has made durable in this round and epoch: every vote it signed, and its highest prepared certificate."""

    votes: tuple[Envelope, ...] = ()
    prepared: Prepared | None = None


@dataclass(frozen=True, slots=True)
class CardsReady:
    """This member holds q valid cards: view 0 is timed from now, and a leader can build (design 6.7)."""


@dataclass(frozen=True, slots=True)
class Built:
    """Answer to `Build`: the segment from this proposal has this digest, is durable and right."""

    view: View
    proposal: Proposal
    digest: Digest


@dataclass(frozen=True, slots=True)
class Checked:
    """Answer to `Check`: `refused` is None if the segment is the function of its cards, durable and pinned with all its blobs."""

    proposal: Proposal
    digest: Digest
    refused: Rejection | None


@dataclass(frozen=True, slots=True)
class Received:
    """A message of this round from the network; nothing of it is verified yet."""

    message: Envelope | JustifiedPrePrepare | JustifiedViewChange


Event = CardsReady | Built | Checked | Received
"""Everything that the machine takes, besides the passing of time."""
