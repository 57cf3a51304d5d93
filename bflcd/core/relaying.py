"""What a node passes on for others: what is of the running round or the next, and what tells where the community stands.

Asked in the network's thread, before anybody's machine has seen the message: it reads, remembers nothing and waits for nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.cards import MAX_ENTRIES_EACH
from bflcd.ledger.operations.registry import body_numbers
from bflcd.types import HASH_BYTES, ZERO_DIGEST, Digest, Round
from bflcd.wire.codec import WIRE_VERSION, decode_any, limit_of, number_of, peek_number, registered
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import (
    GOSSIP,
    Announcement,
    Beacon,
    CardSeal,
    Commit,
    Gossip,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    OffersClosed,
    Prepare,
    PrePrepare,
    ScoreCard,
    ViewChange,
)
from bflcd.wire.operation import MAX_SIGNED, Operation
from bflcd.wire.recovery import RecoveryCertificate

_BARE: Final = tuple(number_of(kind) for kind in (Beacon, Offer, OffersClosed, CardSeal, ScoreCard, Prepare, Commit))
"""What a bare Envelope may hold."""

_PLACE_BYTES: Final = 5 + HASH_BYTES
"""Array header, wire version, message number, then `bin 8` of 32 bytes: where every signed body has its chain id."""

_AHEAD: Final = 1
"""Rounds that a message may be ahead of ours: the others may have closed theirs a moment ago."""

_BEHIND: Final = 1
"""Rounds that a proof may be behind ours: who sat in the committee has closed its round before the announcement comes by, and who
is behind it has not."""

_MEMBER_BYTES: Final = MAX_ENTRIES_EACH * 128 + 34
"""What a member takes on a card at most: two entries, and its place among the present."""

_ROOM: Final = 2 * 1024
"""The rest of a card in its envelope, with room to spare."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where this node stands: its chain (zero: it knows none yet), the round that it runs, how many members there are, whether it
    has a seat, and whether it is overloaded."""

    chain: Digest
    round: Round
    members: int
    judges: bool = True
    overloaded: bool = False


Stands = Callable[[], Standpoint | None]
"""Where this node stands now, None if nobody asks; called in any thread."""


def decode_gossip(data: bytes, stands: Standpoint | None) -> Gossip:
    """The message that `data` is, of a kind and size that gossip may have. Raises PeerError."""
    kind = registered().get(peek_number(data))
    if kind not in GOSSIP:
        raise PeerError(Rejection.UNKNOWN_KIND, "this message is not gossiped")
    most = limit_of(kind) if stands is None else min(limit_of(kind), most_bytes(kind, stands.members))
    if len(data) > most:
        raise PeerError(Rejection.TOO_LARGE, f"{len(data)} bytes for a {kind.__name__}, in this community it has {most} at most")
    message: Gossip = decode_any(data, GOSSIP)
    return message


def most_bytes(kind: type, members: int) -> int:
    """What a message of so many members can't exceed: a card about all of them, and evidence of two."""
    card = _ROOM + members * _MEMBER_BYTES
    if kind is Envelope:
        return card
    return MAX_SIGNED * card if kind is Operation else limit_of(kind)


def is_passed_on(data: bytes, stands: Standpoint | None) -> bool:
    """Whether the neighbours should hear what somebody gossips (docs/network.md).

    What is malformed, of another chain or of a round that is over stops here; so does what is of a round that this node can't
    know of yet, but for what proves it. Who knows no chain yet judges nothing.
    """
    if stands is None or stands.chain == ZERO_DIGEST:
        return True
    try:
        message = decode_gossip(data, stands)
        return chain_of(message) == stands.chain and _is_of(message, stands.round)
    except PeerError:
        return False


def _is_of(message: Gossip, running: Round) -> bool:
    match message:
        case Announcement():
            return message.certificate.round >= running - _BEHIND
        case RecoveryCertificate():
            return message.recovery.round >= running - _BEHIND
        case Operation():
            return True
        case _:
            return running <= round_of_payload(signed_part(message).payload) <= running + _AHEAD


def signed_part(message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> Envelope:
    """What its author signed of a message of a round."""
    if isinstance(message, JustifiedPrePrepare):
        return message.pre_prepare
    if isinstance(message, JustifiedViewChange):
        return message.view_change
    return message


def chain_of(message: Gossip) -> Digest:
    """The chain that a message is of, by its own words. Raises PeerError."""
    match message:
        case Envelope():
            return chain_of_payload(message.payload, _BARE)
        case JustifiedPrePrepare():
            return chain_of_payload(message.pre_prepare.payload, (number_of(PrePrepare),))
        case JustifiedViewChange():
            return chain_of_payload(message.view_change.payload, (number_of(ViewChange),))
        case Announcement():
            return message.certificate.chain
        case Operation():
            return chain_of_payload(message.signed[0].payload, body_numbers(message))
        case RecoveryCertificate():
            return message.recovery.chain


def chain_of_payload(payload: bytes, allowed: tuple[int, ...]) -> Digest:
    """The chain id of a signed body, read at its fixed place: decoding a card of 2,048 entries is no cheap check.

    Raises PeerError unless the payload starts like one of the `allowed` message numbers.
    """
    if len(payload) < _PLACE_BYTES or payload[0] & 0xF0 != 0x90 or payload[1] != WIRE_VERSION:
        raise PeerError(Rejection.MALFORMED, "the payload does not start like a signed body")
    if payload[2] not in allowed:
        raise PeerError(Rejection.UNKNOWN_KIND, f"message {payload[2]} is not gossiped like this")
    if payload[3:5] != bytes((0xC4, HASH_BYTES)):
        raise PeerError(Rejection.MALFORMED, "the payload does not name its chain")
    return Digest(payload[5:_PLACE_BYTES])


def round_of_payload(payload: bytes) -> Round:
    """The round of a signed body, which stands behind its chain. Raises PeerError if there is no number."""
    first = payload[_PLACE_BYTES] if len(payload) > _PLACE_BYTES else 0xFF
    if first < 0x80:
        return Round(first)
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(first)
    found = payload[_PLACE_BYTES + 1 : _PLACE_BYTES + 1 + (width or 0)]
    if width is None or len(found) < width:
        raise PeerError(Rejection.MALFORMED, "the payload does not name its round")
    return Round(int.from_bytes(found, "big"))
