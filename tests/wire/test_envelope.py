"""Signatures: what is signed for one place counts in no other (faults 28 and 29)."""

from dataclasses import fields, replace
from typing import get_args

import pytest

from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Identity, verify
from bflcd.errors import PeerError, Rejection
from bflcd.types import NodeId, Signature
from bflcd.wire.blocks import Certificate
from bflcd.wire.codec import WIRE_VERSION, decode, encode, number_of
from bflcd.wire.envelope import Envelope, open_envelope, payload_digest, seal, signing_hash, verify_envelope
from bflcd.wire.messages import Commit, Prepare, SignedBody, Vote
from tests.helpers.schema import MESSAGES, changes, sample, schema_of

SIGNER, STRANGER = Identity(b"1" * 32), Identity(b"2" * 32)
KINDS = get_args(SignedBody)
IDS = [kind.__name__ for kind in KINDS]
BINDING = ("chain", "round", "epoch", "parent", "committee")
"""What every signed body names, so that it says nothing in another place."""

each_kind = pytest.mark.parametrize("kind", KINDS, ids=IDS)
each_pair = pytest.mark.parametrize(
    ("signed_as", "read_as"),
    [(one, other) for one in KINDS for other in KINDS if one is not other],
    ids=lambda kind: kind.__name__,
)


def body_of(kind):
    return sample(schema_of(kind))


@each_kind
def test_a_sealed_body_verifies_and_opens(kind):
    signed = seal(body_of(kind), SIGNER)
    assert signed.body == body_of(kind)
    assert signed.author == SIGNER.node_id
    assert signed.envelope.payload == encode(signed.body)
    assert signed.digest == payload_digest(signed.envelope)
    assert verify_envelope(signed.envelope)
    assert open_envelope(signed.envelope, KINDS) == signed
    assert decode(encode(signed.envelope), Envelope) == signed.envelope


@each_kind
def test_every_signed_body_is_bound_to_its_place(kind):
    names = {field.name for field in fields(kind)}
    assert names >= set(BINDING)
    assert ("view" in names) is (kind in get_args(Vote))


@each_kind
def test_no_field_changes_under_a_signature(kind):
    envelope = seal(body_of(kind), SIGNER).envelope
    changed_fields = set()
    for path, changed in changes(schema_of(kind), body_of(kind)):
        forged = replace(envelope, payload=encode(changed))
        assert not verify_envelope(forged), path
        assert payload_digest(forged) != payload_digest(envelope), path
        changed_fields.add(path.split(".")[0].split("[")[0])
    assert changed_fields == {field.name for field in fields(kind)}


@each_pair
def test_no_kind_passes_for_another(signed_as, read_as):
    envelope = seal(body_of(signed_as), SIGNER).envelope
    with pytest.raises(PeerError) as caught:
        open_envelope(envelope, (read_as,))
    assert caught.value.rejection is Rejection.UNKNOWN_KIND
    renumbered = envelope.payload.replace(
        bytes([WIRE_VERSION, number_of(signed_as)]), bytes([WIRE_VERSION, number_of(read_as)]), 1
    )
    assert renumbered != envelope.payload
    assert not verify_envelope(replace(envelope, payload=renumbered))


def test_a_prepare_is_no_commit_for_the_same():
    """The pair that is most easily confused: the signature must not carry over."""
    prepare = body_of(Prepare)
    commit = Commit(*(getattr(prepare, field.name) for field in fields(Commit)))
    assert encode(prepare).startswith(encode(commit)[3:], 3)
    signed = seal(prepare, SIGNER).envelope
    assert not verify_envelope(replace(signed, payload=encode(commit)))


@each_kind
@pytest.mark.parametrize("version", [0, 2, 127])
def test_another_wire_version_is_neither_signed_nor_read(kind, version):
    envelope = seal(body_of(kind), SIGNER).envelope
    other = replace(envelope, payload=envelope.payload[:1] + bytes([version]) + envelope.payload[2:])
    assert not verify_envelope(other)
    with pytest.raises(PeerError) as caught:
        open_envelope(other, (kind,))
    assert caught.value.rejection is Rejection.UNKNOWN_KIND


@each_kind
def test_nobody_signs_for_another(kind):
    envelope = seal(body_of(kind), SIGNER).envelope
    copied = replace(envelope, author=STRANGER.node_id)
    assert not verify_envelope(copied)
    assert payload_digest(copied) != payload_digest(envelope)
    assert not verify_envelope(replace(envelope, signature=seal(body_of(kind), STRANGER).envelope.signature))


@each_kind
def test_what_was_said_is_one_thing_however_it_is_signed(kind):
    """An author can sign one payload in many ways; cards and offers are counted and named by what they say."""
    envelope = seal(body_of(kind), SIGNER).envelope
    assert payload_digest(replace(envelope, signature=Signature(bytes(64)))) == payload_digest(envelope)


@each_kind
def test_every_bit_of_a_signature_counts(kind):
    envelope = seal(body_of(kind), SIGNER).envelope
    for bit in range(8 * len(envelope.signature)):
        flipped = bytearray(envelope.signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not verify_envelope(replace(envelope, signature=Signature(bytes(flipped)))), bit


@each_kind
def test_what_is_signed_is_no_hash_of_another_domain(kind):
    payload = encode(body_of(kind))
    assert signing_hash(payload) == digest(Domain.SIGN, payload)
    for domain in Domain:
        signature = SIGNER.sign(digest(domain, payload))
        assert verify_envelope(Envelope(SIGNER.node_id, payload, signature)) is (domain is Domain.SIGN)
    assert not verify_envelope(Envelope(SIGNER.node_id, payload, SIGNER.sign(payload)))


def test_an_envelope_holds_only_what_is_signed():
    """Given an envelope around any other message, when it is opened as a signed body, then it is refused."""
    for cls in MESSAGES.values():
        if cls in KINDS:
            continue
        payload = encode(sample(schema_of(cls)))
        with pytest.raises(PeerError) as caught:
            open_envelope(Envelope(SIGNER.node_id, payload, SIGNER.sign(signing_hash(payload))), KINDS)
        assert caught.value.rejection is Rejection.UNKNOWN_KIND


@pytest.mark.parametrize("payload", [b"\0", b"\x92", b"\x92\x01", b"\x92\x01\xcd", b"\xdd\xff\xff\xff\xff", b"\xc1" * 100])
def test_a_payload_of_garbage_is_refused(payload):
    with pytest.raises(PeerError) as caught:
        open_envelope(Envelope(SIGNER.node_id, payload, Signature(bytes(64))), KINDS)
    assert caught.value.rejection is Rejection.MALFORMED


def test_signing_twice_gives_the_same_bytes():
    """A message that is re-sent after a restart is no second message."""
    assert seal(body_of(Commit), Identity(SIGNER.seed)) == seal(body_of(Commit), SIGNER)


def test_certificate_fields_are_those_of_a_commit():
    """A certificate's signatures stand over the Commit that its other fields spell out."""
    assert [field.name for field in fields(Certificate)][:-2] == [field.name for field in fields(Commit)]


def test_verifying_never_raises():
    payload = encode(body_of(Commit))
    for author in (bytes(32), b"\xff" * 32, b"\x01" + bytes(31), b"", bytes(31)):
        assert not verify(NodeId(author), signing_hash(payload), Signature(bytes(64)))
