"""Blocks, segments and certificates (design 4)."""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from bflcd.crypto.hashing import Domain, digest
from bflcd.limits import Between, Name, Size
from bflcd.params import BlobRef, Genesis
from bflcd.types import (
    MAX_COMMITTEE,
    MAX_NORM,
    MAX_PLACES,
    MAX_WEIGHT,
    Amount,
    Digest,
    Epoch,
    Height,
    MicroNats,
    Millis,
    NodeId,
    PartsPerMillion,
    Proof,
    Round,
    Signature,
    View,
)
from bflcd.wire.codec import encode, message
from bflcd.wire.envelope import Envelope, unsigned
from bflcd.wire.operation import MAX_OPERATIONS, Operation, unsigned_operation
from bflcd.wire.recovery import RecoveryCertificate

MAX_SEGMENT_BYTES: Final = 30 * 1024 * 1024
"""q cards of up to MAX_PLACES entries, k offers, operations of MAX_OPERATIONS_BYTES: what one response may carry."""

MAX_STEP: Final = 64 * MAX_NORM
"""The largest limit of a step: norms times the largest `norm_clip`."""

KIND_MODEL: Final = 0
KIND_UPDATE: Final = 1

message(167, max_bytes=4 * 1024 * 1024)(Genesis)


@dataclass(frozen=True, slots=True)
class ModelFields:
    """What only a model header has. `epoch`, `view`: of the first proposal; `proof`: what the key of that view's leader says of
    the parent's lot, None in block 0; `lot`: what is drawn by from here on (`bflcd.ledger.lot`); `state`: hash of the ledger
    after body and rewards; `committee`: of the round that this model opens, in the order in which it leads; `degraded`: a seat
    went past the packed (design 5)."""

    epoch: Epoch
    view: View
    proof: Proof | None
    lot: Digest
    state: Digest
    committee: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    degraded: bool


@message(100, max_bytes=64 * 1024)
@dataclass(frozen=True, slots=True)
class Header:
    """A block's header. Update headers of round t say t, the model header that closes it says t + 1.

    `kind`: KIND_MODEL or KIND_UPDATE; `model` is present exactly in model headers; `blob` is absent in vacant updates.
    """

    chain: Digest
    height: Height
    round: Round
    kind: Annotated[int, Between(KIND_MODEL, KIND_UPDATE)]
    parent: Digest
    body: Digest
    blob: BlobRef | None
    time: Millis
    model: ModelFields | None


@message(11, max_bytes=4 * 1024)
@dataclass(frozen=True, slots=True)
class UpdateBody:
    """The uploader's signed offer, the score that ranked it, its median gain and accuracy. All absent in a vacant block."""

    offer: Envelope | None
    score: MicroNats | None
    gain: MicroNats | None
    accuracy: PartsPerMillion | None


@message(22, max_bytes=MAX_SEGMENT_BYTES)
@dataclass(frozen=True, slots=True)
class ModelBody:
    """The q score cards that decided the round (sorted by author), the aggregation rule (`wire.rollback.RULE`: an older model
    stands in the aggregate's place), the weight of each packed update in block order, the rewards paid (sorted by node, positive
    amounts only), the operations in the order in which they are applied (`bflcd.ledger.operations`), and the largest norm that
    the aggregate's step may have, in the unit of cards; below 0 what each of a young model's updates may; None without one."""

    cards: Annotated[tuple[Envelope, ...], Size(0, MAX_COMMITTEE)]
    rule: Name
    weights: Annotated[tuple[Annotated[int, Between(1, MAX_WEIGHT)], ...], Size(0, MAX_PLACES)]
    rewards: Annotated[tuple[tuple[NodeId, Amount], ...], Size(0, MAX_PLACES)]
    operations: Annotated[tuple[Operation, ...], Size(0, MAX_OPERATIONS)] = ()
    step_limit: Annotated[int, Between(-MAX_STEP, MAX_STEP)] | None = None


@message(101, max_bytes=MAX_SEGMENT_BYTES)
@dataclass(frozen=True, slots=True)
class Segment:
    """The k update blocks and the model block that close a round; headers[i] belongs to updates[i], headers[k] to model."""

    headers: Annotated[tuple[Header, ...], Size(2, MAX_PLACES + 1)]
    updates: Annotated[tuple[UpdateBody, ...], Size(1, MAX_PLACES)]
    model: ModelBody

    @property
    def model_header(self) -> Header:
        """The header whose hash is the segment's digest."""
        return self.headers[-1]


@message(104, max_bytes=64 * 1024)
@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum of Commit signatures over a segment: what anyone needs to believe it. Signatures sorted by author.

    `recovery`: present exactly if managers gave the round the committee that signed (design 6.8).
    """

    chain: Digest
    round: Round
    epoch: Epoch
    view: View
    parent: Digest
    committee: Digest
    digest: Digest
    signatures: Annotated[tuple[tuple[NodeId, Signature], ...], Size(1, MAX_COMMITTEE)]
    recovery: RecoveryCertificate | None = None


@message(105, max_bytes=128 * 1024)
@dataclass(frozen=True, slots=True)
class CertifiedHeader:
    """A model header with its certificate: proves the chain without any body."""

    header: Header
    certificate: Certificate


@message(102, max_bytes=MAX_SEGMENT_BYTES + 64 * 1024)
@dataclass(frozen=True, slots=True)
class CertifiedSegment:
    """A segment with its certificate: what is committed, stored and served."""

    segment: Segment
    certificate: Certificate


def header_hash(header: Header) -> Digest:
    """A block's identity."""
    return digest(Domain.HEADER, encode(header))


def body_hash(body: UpdateBody | ModelBody) -> Digest:
    """Hash of a block's body, as its header carries it; signatures count as zeros (see `unsigned`)."""
    if isinstance(body, UpdateBody):
        hashed: UpdateBody | ModelBody = replace(body, offer=None if body.offer is None else unsigned(body.offer))
    else:
        hashed = replace(
            body,
            cards=tuple(unsigned(card) for card in body.cards),
            operations=tuple(unsigned_operation(operation) for operation in body.operations),
        )
    return digest(Domain.BODY, encode(hashed))


def segment_digest(segment: Segment) -> Digest:
    """Hash of the model header, which reaches every update header through the parent links."""
    return header_hash(segment.model_header)


def chain_id_of(genesis: Genesis) -> Digest:
    """Hash of the canonical genesis."""
    return digest(Domain.CHAIN, encode(genesis))


def model_height(round_: Round, places: int) -> Height:
    """Height of the model block of a round: t * (k + 1) (paper III-A)."""
    return Height(round_ * (places + 1))


def committee_hash(epoch: Epoch, committee: tuple[NodeId, ...]) -> Digest:
    """What every message of a round is bound to: its epoch and its committee in seat order."""
    return digest(Domain.COMMITTEE, epoch.to_bytes(8, "big"), *committee)
