"""One Ed25519 key is a node's ledger id, its libp2p peer id and its signature on everything it says."""

from typing import Final, Protocol

import base58
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from bflcd.crypto import vrf
from bflcd.types import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, NodeId, Proof, Signature

SEED_BYTES: Final = 32

_PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
"""Identity multihash (code 0, length 36) of the protobuf public key (type Ed25519, 32 bytes): libp2p peer-ids specification."""


class Signer(Protocol):
    """What a machine needs to speak under its own name."""

    @property
    def node_id(self) -> NodeId:
        """Whose signatures these are."""
        ...

    def sign(self, data: bytes) -> Signature:
        """The signature of `data`."""
        ...

    def prove(self, alpha: bytes) -> Proof:
        """What this key says of `alpha`, which nobody else can foresee and it can't choose (RFC 9381)."""
        ...


class Identity:
    """A node's secret key. Signing is deterministic (RFC 8032)."""

    __slots__ = ("_key", "node_id")

    def __init__(self, seed: bytes) -> None:
        """Take the 32-byte Ed25519 seed; raises ValueError at another length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._key = SigningKey(seed)
        self.node_id = NodeId(bytes(self._key.verify_key))

    @classmethod
    def generate(cls) -> "Identity":
        """A fresh key from the operating system's randomness."""
        return cls(bytes(SigningKey.generate()))

    @property
    def seed(self) -> bytes:
        """The 32-byte seed: the secret itself."""
        return bytes(self._key)

    def sign(self, data: bytes) -> Signature:
        """The 64-byte signature of `data`."""
        return Signature(self._key.sign(data).signature)

    def prove(self, alpha: bytes) -> Proof:
        """The 80-byte proof of what this key says of `alpha` (`bflcd.crypto.vrf`)."""
        return vrf.prove(bytes(self._key), alpha)


def verify(author: NodeId, data: bytes, signature: Signature) -> bool:
    """Whether `signature` is `author`'s of `data`. Never raises, whatever the bytes."""
    if len(author) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(author).verify(data, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def peer_id_of(node_id: NodeId) -> str:
    """The libp2p peer id (base58, `12D3KooW...`) of a ledger id."""
    encoded: bytes = base58.b58encode(_PEER_ID_PREFIX + node_id)
    return encoded.decode("ascii")


def node_id_of(peer_id: str) -> NodeId:
    """The ledger id of a libp2p peer id. Raises ValueError unless it spells out an Ed25519 key."""
    try:
        raw = base58.b58decode(peer_id)
    except ValueError as error:
        raise ValueError(f"{peer_id!r} is no base58 peer id") from error
    if len(raw) != len(_PEER_ID_PREFIX) + PUBLIC_KEY_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise ValueError(f"{peer_id!r} is not the peer id of an Ed25519 key (12D3KooW...)")
    return NodeId(raw[len(_PEER_ID_PREFIX) :])
