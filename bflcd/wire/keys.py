"""What members and managers sign when a key takes the place of another (ADR 22)."""

from dataclasses import dataclass

from bflcd.types import Digest, NodeId, Round
from bflcd.wire.alliance import ALLIANCE_BYTES, Number
from bflcd.wire.codec import message


@message(118, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Rotate:
    """A member, and its new key `node`, which sign the same: what `old` has is `node`'s."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    old: NodeId


@message(119, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Replace:
    """A manager: the key `node` is lost or stolen; what it has is `by`'s, which has applied."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    by: NodeId
