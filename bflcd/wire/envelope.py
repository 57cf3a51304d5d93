"""Signed messages: the bytes that are signed are the bytes that travel, and the bytes that are verified."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final, Generic, TypeVar

from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Signer, verify
from bflcd.limits import Size
from bflcd.types import SIGNATURE_BYTES, Digest, NodeId, Signature
from bflcd.wire.codec import decode_any, encode, message

MAX_PAYLOAD_BYTES: Final = 384 * 1024
"""Largest signed payload: a score card of MAX_PLACES entries."""

_NO_SIGNATURE: Final = Signature(bytes(SIGNATURE_BYTES))

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@message(20, max_bytes=MAX_PAYLOAD_BYTES + 256)
@dataclass(frozen=True, slots=True)
class Envelope:
    """`payload` is the canonical encoding of a message body, `signature` its author's over that payload's signing hash."""

    author: NodeId
    payload: Annotated[bytes, Size(1, MAX_PAYLOAD_BYTES)]
    signature: Signature


Verify = Callable[[Envelope], bool]
"""Whether an envelope's signature is its author's."""


@dataclass(frozen=True, slots=True)
class Signed(Generic[T_co]):
    """An envelope whose payload is decoded. That its signature was verified is the holder's duty to know."""

    body: T_co
    envelope: Envelope

    @property
    def author(self) -> NodeId:
        """Who signed."""
        return self.envelope.author

    @property
    def digest(self) -> Digest:
        """Identity of who said what, see `payload_digest`."""
        return payload_digest(self.envelope)


def signing_hash(payload: bytes) -> Digest:
    """What is signed. The payload's first elements are wire version and message number: no kind passes for another."""
    return digest(Domain.SIGN, payload)


def seal(body: T, signer: Signer) -> Signed[T]:
    """Encode and sign a message body under `signer`'s identity."""
    payload = encode(body)
    return Signed(body, Envelope(signer.node_id, payload, signer.sign(signing_hash(payload))))


def open_envelope(envelope: Envelope, allowed: tuple[type[T], ...]) -> Signed[T]:
    """Decode an envelope's payload as one of `allowed`, without verifying the signature. Raises PeerError."""
    return Signed(decode_any(envelope.payload, allowed), envelope)


def verify_envelope(envelope: Envelope) -> bool:
    """Whether the signature is the author's. The costly check: make the cheap ones first."""
    return verify(envelope.author, signing_hash(envelope.payload), envelope.signature)


def payload_digest(envelope: Envelope) -> Digest:
    """Identity of a signed message, as cards and pre-prepares refer to it: its author and payload, without the signature.

    The author counts: two members' cards without entries, or a copied offer, have the same payload and are not the same.
    """
    return digest(Domain.MESSAGE, envelope.author, envelope.payload)


def sealed_digest(envelope: Envelope) -> Digest:
    """What a seal says of a card: the hash of author, payload and signature.

    All of a card but its signature could be guessed, since few words are possible; the signature is its author's alone to make.
    """
    return digest(Domain.SEAL, envelope.author, envelope.payload, envelope.signature)


def unsigned(envelope: Envelope) -> Envelope:
    """The envelope with zeros for its signature, as hashes cover it.

    Ed25519 lets an author sign one payload in many ways. If signatures were hashed, a liar who sends each member another one
    would give honest members different digests of one and the same thing. They are verified where the message is.
    """
    return replace(envelope, signature=_NO_SIGNATURE)
