"""A signed payload: its cheap checks, its opening, its signature, and the checks of a round that it might be for."""

from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

from bflcd.consensus.authentication import Authenticator
from bflcd.consensus.signing import VOTES
from bflcd.core.relaying import chain_of_payload
from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError
from bflcd.types import Signature
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, open_envelope, payload_digest, seal, verify_envelope
from bflcd.wire.messages import PrePrepare, SignedBody, ViewChange
from tests.fuzz.target import Target
from tests.helpers.consensus import KEYS, body_of, make_instance, make_proposal
from tests.helpers.schema import FLAVOURS, sample, schema_of

KINDS = get_args(SignedBody)
INSTANCE = make_instance()
AUTHENTICATOR = Authenticator(INSTANCE, verify_envelope)
SIGNER = Identity(b"1" * 32)


def seeds() -> Iterator[bytes]:
    for kind in KINDS:
        for flavour in FLAVOURS:
            envelope = seal(sample(schema_of(kind), flavour), SIGNER).envelope
            yield envelope.author + envelope.signature + envelope.payload
    for kind in VOTES:
        fields = {} if kind is ViewChange else {"digest": INSTANCE.parent}
        fields |= {"proposal": make_proposal(1)} if kind is PrePrepare else {}
        for view in (1, 2**32):
            envelope = seal(body_of(INSTANCE, kind, view, **fields), KEYS[0]).envelope
            yield envelope.author + envelope.signature + envelope.payload


def one(data: bytes) -> None:
    """The first 96 bytes name author and signature, the rest is the payload: the codec around it has a harness of its own."""
    author, signature, payload = data[:32], Signature(data[32:96].ljust(64, b"\0")), data[96:] or b"\0"
    seat = INSTANCE.committee[len(data) % 4]
    for said in (author.ljust(32, b"\0"), seat):
        envelope = Envelope(said, payload, signature)
        with suppress(PeerError):
            chain_of_payload(payload, tuple(range(256)))
        with suppress(PeerError):
            assert encode(open_envelope(envelope, KINDS).body) == payload
        with suppress(PeerError):
            AUTHENTICATOR.read(envelope, VOTES)
            AUTHENTICATOR.check_signature(envelope)
        payload_digest(envelope)
        verify_envelope(envelope)


TARGET = Target("envelope", seeds, one, share=1.5)
