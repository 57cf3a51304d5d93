"""What a trainer signs to show that an offer of its own was a canary (design 5, Canaries)."""

from dataclasses import dataclass

from bflcd.types import Digest, Proof, Round
from bflcd.wire.alliance import ALLIANCE_BYTES
from bflcd.wire.codec import message


@message(124, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Canary:
    """In `round`, which is closed, its author was drawn to offer what harms: `proof` is what its key says of that round's lot."""

    chain: Digest
    round: Round
    proof: Proof
