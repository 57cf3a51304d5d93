"""Bodies of signed messages, and what is gossiped (design 5 and 6).

Every signed body names chain, round, epoch, the parent model block and the committee that it speaks to.
"""

from dataclasses import dataclass
from typing import Annotated, Final, get_args

from bflcd.limits import Between, Size
from bflcd.params import BlobRef
from bflcd.types import (
    MAX_COMMITTEE,
    MAX_MEMBERS,
    MAX_NORM,
    MAX_PLACES,
    Digest,
    Epoch,
    MicroNats,
    NodeId,
    PartsPerMillion,
    Round,
    Signature,
    View,
)
from bflcd.wire.blocks import Certificate
from bflcd.wire.codec import message
from bflcd.wire.envelope import MAX_PAYLOAD_BYTES, Envelope
from bflcd.wire.operation import Operation
from bflcd.wire.privacy import PrivacyClaim
from bflcd.wire.proposal import Proposal
from bflcd.wire.recovery import Recovery, RecoveryCertificate

MAX_RATE: Final = 2**32 - 1
"""KiB/s: above any network, and five bytes of an entry."""

MAX_ENTRIES: Final = MAX_PLACES
"""Entries of one card."""

SMALL: Final = 1024
"""Bytes of a vote or an offer, at most."""


@message(30, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class Beacon:
    """I have stored the certificate that opens this round: who is present is known from these (design 5.1)."""

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: Digest


@message(117, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class Offer:
    """A trainer's announcement of an update: where it is, how large, from how many samples (design 5.1).

    `privacy`: what it says that its updates tell of a row, if it trains with privacy; checked for its bounds alone.
    """

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: Digest
    blob: BlobRef
    samples: Annotated[int, Between(1, 2**40)]
    privacy: PrivacyClaim | None = None


@dataclass(frozen=True, slots=True)
class CardEntry:
    """A member's judgement of one offer on its own rows (design 5): paired loss gain, accuracy, norm (scale 2^12).

    `gain`: -1 if the offer does not qualify there, whatever it costs; else one of few levels (`ledger.disclosure`).
    `rate`: KiB/s at which the member pulled the update; 0 where it did not, or did not measure it (paper IV-B).
    `like`: the earlier offer of which it is a copy, the parent of the card if it repeats the last step, None of neither.
    """

    uploader: NodeId
    offer: Digest
    root: Digest
    gain: MicroNats
    accuracy: PartsPerMillion
    norm: Annotated[int, Between(0, MAX_NORM)]
    rate: Annotated[int, Between(0, MAX_RATE)]
    like: Digest | None = None


@message(125, max_bytes=MAX_PAYLOAD_BYTES)
@dataclass(frozen=True, slots=True)
class ScoreCard:
    """A committee member's one list of scores for a round and epoch; entries sorted by (uploader, offer, root), present by id.

    `decided`: the view in which the certificate that its author holds for the parent was made; 0 for the genesis.
    """

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: Digest
    base_loss: MicroNats | None
    base_accuracy: PartsPerMillion | None
    entries: Annotated[tuple[CardEntry, ...], Size(0, MAX_ENTRIES)]
    present: Annotated[tuple[NodeId, ...], Size(0, MAX_MEMBERS)]
    decided: View = View(0)


@message(123, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class CardSeal:
    """My card of this round and epoch is signed, and is this one (`sealed_digest`): it is shown once others are bound too."""

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: Digest
    card: Digest


@message(99, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class OffersClosed:
    """I take no further offers in this round and epoch, so what has been offered may be given to its judges."""

    chain: Digest
    round: Round
    epoch: Epoch
    parent: Digest
    committee: Digest


ClosedBy = Annotated[tuple[tuple[NodeId, Signature], ...], Size(0, MAX_COMMITTEE)]
"""Seats of one round and epoch that take no further offers, each with its signature of `OffersClosed`; sorted by seat."""


@message(106, max_bytes=16 * 1024)
@dataclass(frozen=True, slots=True)
class PrePrepare:
    """The leader's proposal of a segment; `digest` is the hash of its model header."""

    chain: Digest
    round: Round
    epoch: Epoch
    view: View
    parent: Digest
    committee: Digest
    digest: Digest
    proposal: Proposal


@message(49, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class Prepare:
    """I hold this segment, durably, and found it right.

    `proposal`: the id of what it was made from, so nobody who passes on a proof can put another proposal beside it.
    """

    chain: Digest
    round: Round
    epoch: Epoch
    view: View
    parent: Digest
    committee: Digest
    digest: Digest
    proposal: Digest


@message(35, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class Commit:
    """I hold a prepared certificate for this segment."""

    chain: Digest
    round: Round
    epoch: Epoch
    view: View
    parent: Digest
    committee: Digest
    digest: Digest


@message(36, max_bytes=SMALL)
@dataclass(frozen=True, slots=True)
class ViewChange:
    """Let us go to `view`; the highest segment that I hold prepared is this one. Both prepared fields or neither."""

    chain: Digest
    round: Round
    epoch: Epoch
    view: Annotated[View, Between(1, 2**32)]
    parent: Digest
    committee: Digest
    prepared_view: View | None
    prepared_digest: Digest | None


Vote = PrePrepare | Prepare | Commit | ViewChange
"""What the PBFT machine exchanges."""

PunishableBody = Offer | CardSeal | ScoreCard | PrePrepare | Prepare | Commit
"""Messages of which an honest node signs one in each place: two are evidence (design 6.9)."""

PUNISHABLE: Final[tuple[type[PunishableBody], ...]] = get_args(PunishableBody)
"""`PunishableBody`, as the decoder wants it."""

SignedBody = Beacon | Offer | OffersClosed | CardSeal | ScoreCard | PrePrepare | Prepare | Commit | ViewChange | Recovery
"""Everything that a node signs."""


@message(40, max_bytes=256 * 1024)
@dataclass(frozen=True, slots=True)
class JustifiedPrePrepare:
    """A pre-prepare with, for view > 0, q view-changes of distinct authors and the prepares of the highest prepared among them.

    The justification is outside the signature: it is no part of what the leader can be held to (design 6.9).
    """

    pre_prepare: Envelope
    view_changes: Annotated[tuple[Envelope, ...], Size(0, MAX_COMMITTEE)]
    prepares: Annotated[tuple[Envelope, ...], Size(0, MAX_COMMITTEE)]


@message(109, max_bytes=128 * 1024)
@dataclass(frozen=True, slots=True)
class JustifiedViewChange:
    """A view-change with the q prepares that its prepared fields claim, and the proposal that these name; empty if none."""

    view_change: Envelope
    prepares: Annotated[tuple[Envelope, ...], Size(0, MAX_COMMITTEE)]
    proposal: Proposal | None


@message(110, max_bytes=64 * 1024)
@dataclass(frozen=True, slots=True)
class Announcement:
    """A round is decided: its certificate. The segment is pulled over a stream."""

    certificate: Certificate


Gossip = Envelope | JustifiedPrePrepare | JustifiedViewChange | Announcement | Operation | RecoveryCertificate
"""Everything that gossip carries. A bare Envelope holds a Beacon, Offer, OffersClosed, CardSeal, ScoreCard, Prepare or
Commit."""

GOSSIP: Final[tuple[type[Gossip], ...]] = get_args(Gossip)
"""`Gossip`, as the decoder wants it."""
