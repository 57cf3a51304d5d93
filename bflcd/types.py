"""Types of their own for everything that is counted or identified, so that a round is never mistaken for a height."""

from typing import Final, NewType

NodeId = NewType("NodeId", bytes)
"""A node's Ed25519 public key, 32 bytes. Its libp2p peer id is another spelling of the same key."""

Digest = NewType("Digest", bytes)
"""A 256-bit domain-separated hash (`bflcd.crypto.hashing`)."""

Signature = NewType("Signature", bytes)
"""An Ed25519 signature, 64 bytes."""

Proof = NewType("Proof", bytes)
"""What a key says of an input, with the proof that it says so (`bflcd.crypto.vrf`), 80 bytes."""

Height = NewType("Height", int)
"""Number of a block on the chain; model of round t stands at t * (k + 1)."""

Round = NewType("Round", int)
"""Round t leads from the model of round t to the model of round t + 1."""

View = NewType("View", int)
"""Attempt within a round; view v is led by committee[v mod M]."""

Epoch = NewType("Epoch", int)
"""Raised only by a recovery certificate; messages of a lower epoch are not processed any more."""

Millis = NewType("Millis", int)
"""Milliseconds: of the Unix clock where it is a time, else a duration."""

Amount = NewType("Amount", int)
"""Units of the integer ledger."""

MicroNats = NewType("MicroNats", int)
"""Loss, or difference of losses, in millionths of a nat."""

PartsPerMillion = NewType("PartsPerMillion", int)
"""Accuracy or share, floor(10^6 x)."""

HASH_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
PROOF_BYTES: Final = 80

ZERO_DIGEST: Final = Digest(bytes(HASH_BYTES))
"""Parent of block 0."""

MAX_COMMITTEE: Final = 64
"""Seats; a segment with the fullest cards of a quorum of them stays under 17 MB, a justified pre-prepare under 64 KiB."""

MAX_PLACES: Final = 2**11
"""k, the update blocks of a round."""

MAX_WEIGHT: Final = 2**16
"""Of one update: with MAX_PLACES of values up to 2^10 the aggregate's sum stays below 2^61 (design 5)."""

MAX_REPUTATION: Final = 2**53
"""Micro-nats either way: as large as a gain on a card."""

MAX_NORM: Final = 2**22
"""Norms are clamped to 2^10 and scaled by 2^12 (design 5)."""

MAX_MEMBERS: Final = 2**14
"""Members of one alliance; bounds the state that one message may carry."""

MAX_CHUNKS: Final = 2**14
"""Chunks of one blob: 16 GiB of payload, a manifest of 512 KiB."""

CHUNK_BYTES: Final = 2**20
"""Size of every chunk of a blob but the last."""


def short(value: bytes) -> str:
    """First eight hexadecimal digits: how identities and hashes are shown to people."""
    return value[:4].hex()
