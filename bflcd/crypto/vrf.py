"""A verifiable random function (RFC 9381, ECVRF-EDWARDS25519-SHA512-TAI): what a key says of an input, unforeseeable, checkable.

For one key and one input there is one output, which only the key's holder can compute, and which anybody can check. Group
operations are libsodium's. The number of hash attempts varies, and depends on public values alone.
"""

from dataclasses import dataclass
from hashlib import sha512
from typing import Final

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

from bflcd.types import PROOF_BYTES, PUBLIC_KEY_BYTES, NodeId, Proof

OUTPUT_BYTES: Final = 64

_SUITE: Final = b"\x03"
_POINT_BYTES: Final = 32
_CHALLENGE_BYTES: Final = 16
_SCALAR_BYTES: Final = 32
_MAX_ATTEMPTS: Final = 256
_FIELD: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_NEUTRAL: Final = (1).to_bytes(_POINT_BYTES, "little")


@dataclass(frozen=True, slots=True)
class _Proof:
    gamma: bytes
    challenge: bytes
    response: bytes


def prove(seed: bytes, alpha: bytes) -> Proof:
    """The 80-byte proof of what the key of an Ed25519 `seed` says of `alpha` (RFC 9381, 5.1)."""
    hashed = sha512(seed).digest()
    secret = _clamped(hashed[:32])
    public = crypto_scalarmult_ed25519_base_noclamp(secret)
    point = _hash_to_curve(public, alpha)
    # 1. Gamma = x * H, and a nonce from the key's other half and H (5.4.2.2)
    gamma = crypto_scalarmult_ed25519_noclamp(secret, point)
    nonce = crypto_core_ed25519_scalar_reduce(sha512(hashed[32:] + point).digest())
    # 2. c = hash of (Y, H, Gamma, k * B, k * H)
    commitments = crypto_scalarmult_ed25519_base_noclamp(nonce), crypto_scalarmult_ed25519_noclamp(nonce, point)
    challenge = _challenge(public, point, gamma, *commitments)
    # 3. s = k + c * x
    scaled = crypto_core_ed25519_scalar_mul(_scalar(challenge), secret)
    return Proof(gamma + challenge + crypto_core_ed25519_scalar_add(nonce, scaled))


def verify_proof(public: NodeId, alpha: bytes, proof: bytes) -> bytes | None:
    """The 64-byte output that `proof` shows of `alpha` under a public key, None if it shows none (RFC 9381, 5.3 and 5.6.1).

    Never raises, whatever the bytes. That the key and the proof's point are of the prime-order group, without which a key could
    have several outputs, libsodium checks as it multiplies them.
    """
    taken = _taken_apart(proof)
    if taken is None or len(public) != PUBLIC_KEY_BYTES:
        return None
    try:
        point = _hash_to_curve(public, alpha)
        challenge = _scalar(taken.challenge)
        u = crypto_core_ed25519_sub(
            crypto_scalarmult_ed25519_base_noclamp(taken.response), crypto_scalarmult_ed25519_noclamp(challenge, public)
        )
        v = crypto_core_ed25519_sub(
            crypto_scalarmult_ed25519_noclamp(taken.response, point), crypto_scalarmult_ed25519_noclamp(challenge, taken.gamma)
        )
    except CryptoError:  # no point of the group, or a scalar of zero: no honest proof has one
        return None
    if _challenge(public, point, taken.gamma, u, v) != taken.challenge:
        return None
    return _output(taken.gamma)


def _taken_apart(proof: bytes) -> _Proof | None:
    if len(proof) != PROOF_BYTES:
        return None
    gamma, rest = proof[:_POINT_BYTES], proof[_POINT_BYTES:]
    challenge, response = rest[:_CHALLENGE_BYTES], rest[_CHALLENGE_BYTES:]
    if int.from_bytes(response, "little") >= _ORDER:
        return None
    return _Proof(gamma, challenge, response)


def _hash_to_curve(salt: bytes, alpha: bytes) -> bytes:
    """A point of the prime-order group that nobody knows the logarithm of, by trying (5.4.1.1)."""
    for attempt in range(_MAX_ATTEMPTS):
        tried = sha512(_SUITE + b"\x01" + salt + alpha + bytes((attempt, 0))).digest()[:_POINT_BYTES]
        point = _times_cofactor(tried)
        if point is not None and point != _NEUTRAL:
            return point
    raise CryptoError("no point in 256 attempts: half of all attempts find one")


def _times_cofactor(encoded: bytes) -> bytes | None:
    """Eight times the point that `encoded` is in RFC 8032, 5.1.3; None if it is none."""
    if int.from_bytes(encoded, "little") & (2**255 - 1) >= _FIELD:
        return None
    try:
        for _ in range(3):
            encoded = crypto_core_ed25519_add(encoded, encoded)
    except CryptoError:
        return None
    return encoded


def _challenge(*points: bytes) -> bytes:
    return sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:_CHALLENGE_BYTES]


def _output(gamma: bytes) -> bytes:
    cofactor = _times_cofactor(gamma)
    assert cofactor is not None, "a valid point has an eightfold"
    return sha512(_SUITE + b"\x03" + cofactor + b"\x00").digest()


def _scalar(challenge: bytes) -> bytes:
    return challenge.ljust(_SCALAR_BYTES, b"\0")


def _clamped(half: bytes) -> bytes:
    """The secret scalar of RFC 8032, reduced: multiples of the base and of points of prime order are the same."""
    scalar = bytearray(half)
    scalar[0] &= 248
    scalar[31] &= 127
    scalar[31] |= 64
    return crypto_core_ed25519_scalar_reduce(bytes(scalar).ljust(64, b"\0"))
