"""Identities: RFC 8032's signatures, libp2p's peer ids, and nobody else's."""

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_is_valid_point

from bflcd.crypto.identity import SEED_BYTES, Identity, node_id_of, peer_id_of, verify
from bflcd.types import NodeId, Signature

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]
"""RFC 8032, section 7.1, tests 1 and 2: seed, public key, message, signature."""

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group: s and s + ORDER would both satisfy the equation."""

SMALL_ORDER = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\xee" + b"\xff" * 30 + b"\x7f"]
"""Keys under which one signature could fit many messages."""


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_rfc_8032(seed, public, message, signature):
    identity = Identity(bytes.fromhex(seed))
    assert identity.node_id.hex() == public
    assert identity.seed.hex() == seed
    assert identity.sign(bytes.fromhex(message)).hex() == signature
    assert verify(identity.node_id, bytes.fromhex(message), Signature(bytes.fromhex(signature)))


def test_only_the_author_signs_and_only_what_was_signed():
    one, other = Identity(b"1" * 32), Identity(b"2" * 32)
    signature = one.sign(b"data")
    assert verify(one.node_id, b"data", signature)
    assert not verify(other.node_id, b"data", signature)
    assert not verify(one.node_id, b"data2", signature)


@given(author=st.binary(max_size=40), data=st.binary(max_size=8), signature=st.binary(max_size=70))
def test_verifying_garbage_says_no(author, data, signature):
    assert verify(NodeId(author), data, Signature(signature)) is False


@given(author=st.binary(min_size=32, max_size=32), signature=st.binary(min_size=64, max_size=64))
def test_verifying_garbage_of_the_right_length_says_no(author, signature):
    assert verify(NodeId(author), b"data", Signature(signature)) is False


def test_a_signature_moved_by_the_group_order_is_refused():
    identity = Identity(b"1" * 32)
    signature = identity.sign(b"data")
    moved = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(identity.node_id, b"data", Signature(signature[:32] + moved.to_bytes(32, "little")))


@pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
def test_a_key_of_small_order_signs_nothing(key):
    assert not crypto_core_ed25519_is_valid_point(key)
    for point in SMALL_ORDER:
        for data in (b"one", b"two", b"three"):
            assert not verify(NodeId(key), data, Signature(point + bytes(32)))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(length):
    with pytest.raises(ValueError, match=str(length)):
        Identity(bytes(length))


def test_fresh_identities_differ():
    assert len({Identity.generate().seed for _ in range(20)}) == 20
    assert len(Identity.generate().seed) == SEED_BYTES


# Peer ids, with the library itself as the judge.


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("bflcd.net.libp2p.library", reason="libp2p is not installed")


@given(seed=st.binary(min_size=32, max_size=32))
def test_libp2p_gives_the_same_peer_id(library, seed):
    pair, node = library.create_new_key_pair(seed), Identity(seed).node_id
    assert node == pair.public_key.to_bytes()
    assert peer_id_of(node) == library.ID.from_pubkey(pair.public_key).to_base58()
    assert node_id_of(peer_id_of(node)) == node


@given(node=st.binary(min_size=32, max_size=32))
def test_a_peer_id_spells_the_same_key(library, node):
    text = peer_id_of(NodeId(node))
    assert text.startswith("12D3KooW")
    assert node_id_of(text) == node
    assert library.ID.from_base58(text).to_bytes()[-32:] == node


def spelled(raw):
    return base58.b58encode(raw).decode()


GOOD = Identity(b"1" * 32).node_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0OIl",
        "ä",
        " " + peer_id_of(GOOD) + "x",
        peer_id_of(GOOD)[:-1],
        peer_id_of(GOOD) + "1",
        "1" + peer_id_of(GOOD),
        "Qm" + "a" * 44,
        spelled(bytes.fromhex("002408011220") + GOOD[:-1]),
        spelled(bytes.fromhex("002408011220") + GOOD + b"x"),
        spelled(bytes.fromhex("002408021220") + GOOD),
        spelled(bytes.fromhex("122008011220") + GOOD),
        spelled(GOOD),
    ],
    ids=repr,
)
def test_what_spells_no_ed25519_key_is_refused(text):
    with pytest.raises(ValueError, match="peer id"):
        node_id_of(text)


def test_other_kinds_of_keys_are_refused(library):
    from libp2p.crypto.secp256k1 import create_new_key_pair

    with pytest.raises(ValueError, match="Ed25519"):
        node_id_of(library.ID.from_pubkey(create_new_key_pair().public_key).to_base58())
