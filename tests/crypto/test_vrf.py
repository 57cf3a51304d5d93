"""The verifiable random function against the vectors of RFC 9381, appendix B.3, and against everything that is no proof."""

from hashlib import sha512

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)

from bflcd.crypto import vrf
from bflcd.crypto.identity import Identity
from bflcd.crypto.vrf import OUTPUT_BYTES, prove, verify_proof
from bflcd.types import PROOF_BYTES, NodeId

VECTORS = [
    pytest.param(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab12"
        "68a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
        id="example 16",
    ),
    pytest.param(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54ddf2d935be3b67926d"
        "a3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
        id="example 17",
    ),
    pytest.param(
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "af82",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0e52c7a5c691b6c18c9979866568add7a"
        "2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c452118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
        id="example 18",
    ),
]


@pytest.mark.parametrize(("seed", "alpha", "proof", "output"), VECTORS)
def test_the_vectors_of_the_rfc(seed: str, alpha: str, proof: str, output: str) -> None:
    identity, input_ = Identity(bytes.fromhex(seed)), bytes.fromhex(alpha)
    assert prove(identity.seed, input_).hex() == proof
    found = verify_proof(identity.node_id, input_, bytes.fromhex(proof))
    assert found is not None
    assert found.hex() == output


KEYS = [Identity(bytes([number]) * 32) for number in range(1, 4)]


@settings(max_examples=60, deadline=None)
@given(alpha=st.binary(max_size=80), key=st.sampled_from(KEYS))
def test_what_a_key_says_is_one_thing_and_its_own(alpha: bytes, key: Identity) -> None:
    proof = prove(key.seed, alpha)
    assert len(proof) == PROOF_BYTES
    found = verify_proof(key.node_id, alpha, proof)
    assert found is not None
    assert len(found) == OUTPUT_BYTES
    assert verify_proof(key.node_id, alpha + b"\0", proof) is None
    assert all(verify_proof(other.node_id, alpha, proof) is None for other in KEYS if other is not key)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, PROOF_BYTES - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_proves_nothing(place: int, bit: int) -> None:
    proof = bytearray(prove(KEYS[0].seed, b"alpha"))
    proof[place] ^= 1 << bit
    assert verify_proof(KEYS[0].node_id, b"alpha", bytes(proof)) is None


@settings(max_examples=300, deadline=None)
@given(public=st.binary(max_size=40), proof=st.binary(min_size=70, max_size=90))
def test_any_bytes_are_refused_without_an_error(public: bytes, proof: bytes) -> None:
    assert verify_proof(NodeId(public), b"", proof) is None
    assert verify_proof(KEYS[0].node_id, b"", proof) is None


SMALL_ORDER = [bytes([1]) + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_keys_and_points_of_small_order_are_refused(point: bytes) -> None:
    """A key of small order would let its holder choose among few outputs for every input."""
    proof = prove(KEYS[0].seed, b"alpha")
    assert verify_proof(NodeId(point), b"alpha", proof) is None
    assert verify_proof(KEYS[0].node_id, b"alpha", point + proof[32:]) is None


def test_a_scalar_in_another_form_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    proof = prove(KEYS[0].seed, b"alpha")
    again = int.from_bytes(proof[48:], "little") + order
    assert verify_proof(KEYS[0].node_id, b"alpha", proof[:48] + again.to_bytes(32, "little")) is None


def test_a_key_outside_the_prime_order_group_is_refused() -> None:
    """Given a key with a part of order two, whose holder makes a proof that every equation of the check accepts, when it is
    verified, then it is refused: such a key is not bound to one output."""
    order_two, seed, alpha = SMALL_ORDER[2], KEYS[0].seed, b"alpha"
    public = crypto_core_ed25519_add(KEYS[0].node_id, order_two)
    secret = vrf._clamped(sha512(seed).digest()[:32])
    point = vrf._hash_to_curve(public, alpha)
    gamma = crypto_scalarmult_ed25519_noclamp(secret, point)
    for number in range(1, 40):
        nonce = number.to_bytes(32, "little")
        commitments = crypto_scalarmult_ed25519_base_noclamp(nonce), crypto_scalarmult_ed25519_noclamp(nonce, point)
        challenge = vrf._challenge(public, point, gamma, *commitments)
        if challenge[0] % 2 == 0:
            break
    scaled = crypto_core_ed25519_scalar_mul(vrf._scalar(challenge), secret)
    proof = gamma + challenge + crypto_core_ed25519_scalar_add(nonce, scaled)
    assert verify_proof(NodeId(public), alpha, proof) is None
