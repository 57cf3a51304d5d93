"""Requests over direct streams, each with its one legal reply and its lane (design 8)."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar, get_args

from bflcd.limits import Between, Name, Size
from bflcd.params import BlobRef, Genesis
from bflcd.types import CHUNK_BYTES, HASH_BYTES, MAX_CHUNKS, MAX_COMMITTEE, Digest, Epoch, Height, Millis, NodeId, Round
from bflcd.wire.blocks import MAX_SEGMENT_BYTES, CertifiedHeader, CertifiedSegment
from bflcd.wire.codec import message, registered
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import ClosedBy
from bflcd.wire.operation import MAX_OPERATIONS, MAX_OPERATIONS_BYTES, Operation
from bflcd.wire.recovery import PreparedProof
from bflcd.wire.training import Training

MAX_HEADERS: Final = 256
"""Certified headers in one reply."""

MAX_ADDRESSES: Final = 64
"""Addresses in one reply."""

REQUEST_BYTES: Final = 2048
"""Bytes of most requests, at most."""

BLOB_REQUEST_BYTES: Final = 8 * 1024
"""Bytes of a request for a payload, at most: it may show what the largest committee says."""

ReplyT = TypeVar("ReplyT")

Address = Annotated[str, Size(1, 256)]


class Lane(Enum):
    """Requests of one weight, with streams and limits of their own, so that chunks never delay a heartbeat; the protocol's id."""

    SMALL = "/bflc/1/small"
    CHAIN = "/bflc/1/chain"
    BLOB = "/bflc/1/blob"


class Request(Generic[ReplyT]):
    """Base of all requests; its argument is the class of the one legal reply, besides Refused."""

    __slots__ = ()

    reply: ClassVar[type]
    lane: ClassVar[Lane]
    for_strangers: ClassVar[bool] = False
    """Whether a peer that is no member may ask it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        (base,) = cls.__dict__["__orig_bases__"]
        (cls.reply,) = get_args(base)


@message(116, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class Status:
    """The answer to GetStatus. `oldest_payload`: first round whose payloads are still held; `version` of the software;
    `training`: whether it trains, which counts for whoever says it of itself."""

    chain: Digest
    round: Round
    height: Height
    head: Digest
    epoch: Epoch
    oldest_payload: Round
    version: Name
    time: Millis
    training: Training


@message(115, max_bytes=8 * 1024)
@dataclass(frozen=True, slots=True)
class GetStatus(Request[Status]):
    """Heartbeat and introduction: who am I, where do I stand, do I train. `chain` is zero before the genesis is known."""

    lane = Lane.SMALL
    for_strangers = True

    chain: Digest
    round: Round
    height: Height
    head: Digest
    addresses: Annotated[tuple[Address, ...], Size(0, 16)]
    training: Training


@message(168, max_bytes=4 * 1024 * 1024 + 64)
@dataclass(frozen=True, slots=True)
class GenesisReply:
    """The genesis, whose hash is the chain id."""

    genesis: Genesis


@message(52, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetGenesis(Request[GenesisReply]):
    """Open to strangers. `chain` pins the expected chain id; zero asks for whatever the peer has."""

    lane = Lane.CHAIN
    for_strangers = True

    chain: Digest


@message(112, max_bytes=MAX_HEADERS * 128 * 1024)
@dataclass(frozen=True, slots=True)
class Headers:
    """As many as the peer has, in order, without a gap; may be fewer than asked for."""

    headers: Annotated[tuple[CertifiedHeader, ...], Size(0, MAX_HEADERS)]


@message(54, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetHeaders(Request[Headers]):
    """Certified model headers of rounds first, first + 1, ... (first >= 1)."""

    lane = Lane.CHAIN

    chain: Digest
    first: Round
    count: Annotated[int, Between(1, MAX_HEADERS)]


@message(111, max_bytes=MAX_SEGMENT_BYTES + 128 * 1024)
@dataclass(frozen=True, slots=True)
class SegmentReply:
    """A committed segment."""

    certified: CertifiedSegment


@message(56, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetSegment(Request[SegmentReply]):
    """The committed segment whose model header says `round`."""

    lane = Lane.CHAIN

    chain: Digest
    round: Round


@message(59, max_bytes=MAX_SEGMENT_BYTES)
@dataclass(frozen=True, slots=True)
class Envelopes:
    """Those that the peer holds, in the order asked for."""

    envelopes: Annotated[tuple[Envelope, ...], Size(0, MAX_COMMITTEE)]


@message(58, max_bytes=MAX_COMMITTEE * 64)
@dataclass(frozen=True, slots=True)
class GetEnvelopes(Request[Envelopes]):
    """Signed cards or offers of the current round by payload digest: what a member misses to check a proposal."""

    lane = Lane.SMALL

    chain: Digest
    round: Round
    digests: Annotated[tuple[Digest, ...], Size(1, MAX_COMMITTEE)]


@message(61, max_bytes=MAX_CHUNKS * (HASH_BYTES + 2) + 256)
@dataclass(frozen=True, slots=True)
class Manifest:
    """Size and chunk hashes; together they hash to the root."""

    blob: BlobRef
    chunks: Annotated[tuple[Digest, ...], Size(1, MAX_CHUNKS)]


@message(139, max_bytes=BLOB_REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetManifest(Request[Manifest]):
    """The chunk hashes of a blob. `closed`: of an update that is served late, who takes no further offers (design 5.2)."""

    lane = Lane.BLOB

    chain: Digest
    root: Digest
    closed: ClosedBy = ()


@message(63, max_bytes=CHUNK_BYTES + 64)
@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's bytes."""

    data: Annotated[bytes, Size(1, CHUNK_BYTES)]


@message(140, max_bytes=BLOB_REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetChunk(Request[Chunk]):
    """One chunk of a blob; `closed` as in `GetManifest`."""

    lane = Lane.BLOB

    chain: Digest
    root: Digest
    index: Annotated[int, Between(0, MAX_CHUNKS - 1)]
    closed: ClosedBy = ()


@message(65, max_bytes=MAX_ADDRESSES * 512)
@dataclass(frozen=True, slots=True)
class Addresses:
    """Known addresses by node; hearsay: a dial authenticates."""

    addresses: Annotated[tuple[tuple[NodeId, Address], ...], Size(0, MAX_ADDRESSES)]


@message(64, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetAddresses(Request[Addresses]):
    """Where other members can be reached."""

    lane = Lane.SMALL

    chain: Digest


@message(79, max_bytes=MAX_OPERATIONS_BYTES + 256)
@dataclass(frozen=True, slots=True)
class OperationsReply:
    """Those that the peer holds, in the order asked for, as many as MAX_OPERATIONS_BYTES leave room for."""

    operations: Annotated[tuple[Operation, ...], Size(0, MAX_OPERATIONS)]


@message(78, max_bytes=MAX_OPERATIONS * 64)
@dataclass(frozen=True, slots=True)
class GetOperations(Request[OperationsReply]):
    """Operations that a proposal names, by their ids."""

    lane = Lane.SMALL

    chain: Digest
    ids: Annotated[tuple[Digest, ...], Size(1, MAX_OPERATIONS)]


@message(114, max_bytes=32 * 1024)
@dataclass(frozen=True, slots=True)
class PreparedReply:
    """That proof, if there is one."""

    proof: PreparedProof | None


@message(72, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class GetPrepared(Request[PreparedReply]):
    """The highest prepared proof of a round that the peer holds: what managers look for before they sign a recovery."""

    lane = Lane.SMALL

    chain: Digest
    round: Round
    parent: Digest


@message(132, max_bytes=8 * 1024)
@dataclass(frozen=True, slots=True)
class MembershipReply:
    """What a peer's ledger says of who asks. `standing`: a `Membership`'s name; `text`: of a refusal, why; `managers`: who can
    admit it; `needed`: how many of them have to."""

    round: Round
    standing: Name
    text: Annotated[str, Size(0, 512)]
    managers: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    needed: Annotated[int, Between(1, MAX_COMMITTEE)]


@message(131, max_bytes=4 * 1024)
@dataclass(frozen=True, slots=True)
class GetMembership(Request[MembershipReply]):
    """Am I a member? Open to strangers, who may hand in their application with it."""

    lane = Lane.SMALL
    for_strangers = True

    chain: Digest
    application: Operation | None


@message(69, max_bytes=REQUEST_BYTES)
@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not answered: the name of a Rejection and a text for people."""

    rejection: Name
    text: Annotated[str, Size(0, 512)]


REQUESTS: Final[tuple[type[Request[Any]], ...]] = tuple(kind for kind in registered().values() if issubclass(kind, Request))
"""All that a node serves."""
