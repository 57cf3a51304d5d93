"""Requests and their legal replies over direct streams (design 8)."""

from dataclasses import dataclass
from typing import Annotated, Final

from bflcd.limits import Between, Name, Size
from bflcd.params import BlobRef, Genesis
from bflcd.types import CHUNK_BYTES, HASH_BYTES, MAX_CHUNKS, MAX_COMMITTEE, Digest, Epoch, Height, Millis, NodeId, Round
from bflcd.wire.blocks import MAX_SEGMENT_BYTES, CertifiedHeader, CertifiedSegment
from bflcd.wire.codec import message
from bflcd.wire.envelope import Envelope
from bflcd.wire.evidence import MAX_EVIDENCE, MAX_EVIDENCE_BYTES, Evidence
from bflcd.wire.recovery import PreparedProof

MAX_HEADERS: Final = 256
"""Certified headers in one reply."""

MAX_ADDRESSES: Final = 64
"""Addresses in one reply."""

REQUEST: Final = 2048
"""Bytes of most requests, at most."""

Address = Annotated[str, Size(1, 256)]


@message(50, max_bytes=8 * 1024)
@dataclass(frozen=True, slots=True)
class GetStatus:
    """Heartbeat and introduction: who am I, where do I stand. `chain` is zero before the genesis is known."""

    chain: Digest
    round: Round
    height: Height
    head: Digest
    addresses: Annotated[tuple[Address, ...], Size(0, 16)]


@message(51, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class Status:
    """The answer to GetStatus. `oldest_payload`: first round whose payloads are still held; `version` of the software."""

    chain: Digest
    round: Round
    height: Height
    head: Digest
    epoch: Epoch
    oldest_payload: Round
    version: Name
    time: Millis


@message(52, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetGenesis:
    """Open to strangers. `chain` pins the expected chain id; zero asks for whatever the peer has."""

    chain: Digest


@message(74, max_bytes=4 * 1024 * 1024 + 64)
@dataclass(frozen=True, slots=True)
class GenesisReply:
    """The genesis, whose hash is the chain id."""

    genesis: Genesis


@message(54, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetHeaders:
    """Certified model headers of rounds first, first + 1, ... (first >= 1)."""

    chain: Digest
    first: Round
    count: Annotated[int, Between(1, MAX_HEADERS)]


@message(55, max_bytes=MAX_HEADERS * 128 * 1024)
@dataclass(frozen=True, slots=True)
class Headers:
    """As many as the peer has, in order, without a gap; may be fewer than asked for."""

    headers: Annotated[tuple[CertifiedHeader, ...], Size(0, MAX_HEADERS)]


@message(56, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetSegment:
    """The committed segment whose model header says `round`."""

    chain: Digest
    round: Round


@message(75, max_bytes=MAX_SEGMENT_BYTES + 128 * 1024)
@dataclass(frozen=True, slots=True)
class SegmentReply:
    """A committed segment."""

    certified: CertifiedSegment


@message(58, max_bytes=MAX_COMMITTEE * 64)
@dataclass(frozen=True, slots=True)
class GetEnvelopes:
    """Signed cards or offers of the current round by payload digest: what a member misses to check a proposal."""

    chain: Digest
    round: Round
    digests: Annotated[tuple[Digest, ...], Size(1, MAX_COMMITTEE)]


@message(59, max_bytes=MAX_SEGMENT_BYTES)
@dataclass(frozen=True, slots=True)
class Envelopes:
    """Those that the peer holds, in the order asked for."""

    envelopes: Annotated[tuple[Envelope, ...], Size(0, MAX_COMMITTEE)]


@message(60, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetManifest:
    """The chunk hashes of a blob."""

    chain: Digest
    root: Digest


@message(61, max_bytes=MAX_CHUNKS * (HASH_BYTES + 2) + 256)
@dataclass(frozen=True, slots=True)
class Manifest:
    """Size and chunk hashes; together they hash to the root."""

    blob: BlobRef
    chunks: Annotated[tuple[Digest, ...], Size(1, MAX_CHUNKS)]


@message(62, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetChunk:
    """One chunk of a blob."""

    chain: Digest
    root: Digest
    index: Annotated[int, Between(0, MAX_CHUNKS - 1)]


@message(63, max_bytes=CHUNK_BYTES + 64)
@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's bytes."""

    data: Annotated[bytes, Size(1, CHUNK_BYTES)]


@message(64, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetAddresses:
    """Where other members can be reached."""

    chain: Digest


@message(65, max_bytes=MAX_ADDRESSES * 512)
@dataclass(frozen=True, slots=True)
class Addresses:
    """Known addresses by node; hearsay: a dial authenticates."""

    addresses: Annotated[tuple[tuple[NodeId, Address], ...], Size(0, MAX_ADDRESSES)]


@message(70, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetEvidence:
    """Evidence that a proposal names, by its ids."""

    chain: Digest
    ids: Annotated[tuple[Digest, ...], Size(1, MAX_EVIDENCE)]


@message(71, max_bytes=MAX_EVIDENCE * MAX_EVIDENCE_BYTES + 64)
@dataclass(frozen=True, slots=True)
class EvidenceReply:
    """Those that the peer holds, in the order asked for."""

    evidence: Annotated[tuple[Evidence, ...], Size(0, MAX_EVIDENCE)]


@message(72, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class GetPrepared:
    """The highest prepared proof of a round that the peer holds: what managers look for before they sign a recovery."""

    chain: Digest
    round: Round
    parent: Digest


@message(73, max_bytes=32 * 1024)
@dataclass(frozen=True, slots=True)
class PreparedReply:
    """That proof, if there is one."""

    proof: PreparedProof | None


@message(69, max_bytes=REQUEST)
@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not answered: the name of a Rejection and a text for people."""

    rejection: Name
    text: Annotated[str, Size(0, 512)]


LEGAL_REPLIES: Final[dict[type, type]] = {
    GetStatus: Status,
    GetGenesis: GenesisReply,
    GetHeaders: Headers,
    GetSegment: SegmentReply,
    GetEnvelopes: Envelopes,
    GetManifest: Manifest,
    GetChunk: Chunk,
    GetAddresses: Addresses,
    GetEvidence: EvidenceReply,
    GetPrepared: PreparedReply,
}
"""Each request's one legal reply, besides Refused."""

OPEN_TO_STRANGERS: Final = (GetStatus, GetGenesis)
"""What a peer that is no member may ask."""
