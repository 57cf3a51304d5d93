"""What an overloaded node leaves of what it is told: what can be asked for, or is said, again (design 8, Waits).

What a proof of liveness rests on is in no row of this: of a round that runs or is to come nothing is left but beacons and offers,
and those only where this node has no seat, so that nobody's presence and no update is judged by it.
"""

from enum import Enum, auto
from typing import Final

from bflcd.core.relaying import Standpoint, round_of_payload, signed_part
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Beacon, Gossip, JustifiedPrePrepare, JustifiedViewChange, Offer

_OF_TRAINERS: Final = frozenset(number_of(kind) for kind in (Beacon, Offer))


class Shed(Enum):
    """Why a message can be left."""

    OVER = auto()
    """Its round is decided here. One of it is enough to answer its sender with the certificate."""
    SAID_AGAIN = auto()
    """It is for the seats, of which this node has none, and its author says it again to whoever did not take it in."""


def shed_of(message: Gossip, stands: Standpoint) -> Shed | None:
    """Whether an overloaded node leaves a message, read no further than the beginning of what is signed. Raises PeerError."""
    if not isinstance(message, Envelope | JustifiedPrePrepare | JustifiedViewChange):
        return None  # certificates, recoveries and operations
    payload = signed_part(message).payload
    round_ = round_of_payload(payload)
    if round_ < stands.round:
        return Shed.OVER
    if round_ == stands.round and not stands.judges and payload[2] in _OF_TRAINERS:
        return Shed.SAID_AGAIN
    return None
