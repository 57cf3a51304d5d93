"""How large a reply can be in a community of so many: whoever answers can't make us read more than any honest node would send.

The limits of the wire are for the largest community. A liar in one of eight could answer as one of thousands would, and what is
read of it takes ten times its bytes in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bflcd.core.relaying import most_bytes
from bflcd.types import HASH_BYTES, MAX_COMMITTEE, SIGNATURE_BYTES
from bflcd.wire.blocks import UpdateBody
from bflcd.wire.codec import limit_of
from bflcd.wire.envelope import Envelope
from bflcd.wire.operation import MAX_OPERATIONS, MAX_OPERATIONS_BYTES, Operation
from bflcd.wire.requests import MAX_HEADERS, Envelopes, Headers, OperationsReply, SegmentReply

_NAMED: Final = HASH_BYTES + 2
"""A key or a hash, in its wrapping."""

_SIGNED: Final = _NAMED + SIGNATURE_BYTES + 3
"""A key with its signature, in theirs."""

_FIXED: Final = 1024
"""What a header, a certificate, a claim has besides its lists, with room to spare."""

MAX_AHEAD: Final = 256
"""Members that the community may have gained in the rounds that are fetched ahead of our ledger: a block admits 16."""

_PAID: Final = 64
"""A reward, or the weight of an update."""


@dataclass(frozen=True, slots=True)
class Community:
    """What the size of a reply follows from: members, update blocks of a round, managers, seats by genesis."""

    members: int
    places: int
    managers: int
    committee: int = MAX_COMMITTEE

    @property
    def seats(self) -> int:
        """Of the largest committee that it can have."""
        return min(self.members, self.committee)


def largest_reply(kind: type, community: Community) -> int:
    """Bytes that a reply of this kind has at most."""
    bound = _BOUNDS.get(kind)
    return limit_of(kind) if bound is None else min(limit_of(kind), bound(community))


def _recovery(community: Community) -> int:
    """A recovery certificate: who is gone, who has a seat now and had one, what was prepared by whom, who signed."""
    lists = 6 * community.seats + MAX_OPERATIONS
    return 3 * _FIXED + lists * _NAMED + (community.seats + community.managers) * _SIGNED


def _certified(community: Community) -> int:
    """A model header with its certificate."""
    return 2 * _FIXED + community.seats * (_NAMED + _SIGNED) + _recovery(community)


def _operations(community: Community) -> int:
    return min(MAX_OPERATIONS_BYTES, MAX_OPERATIONS * most_bytes(Operation, community.members)) + _FIXED


def _segment(community: Community) -> int:
    updates = community.places * (_FIXED + limit_of(UpdateBody) + _PAID)
    cards = community.seats * most_bytes(Envelope, community.members)
    return _FIXED + _certified(community) + updates + cards + community.members * _PAID + _operations(community)


_BOUNDS: Final[Mapping[type, Callable[[Community], int]]] = {
    Headers: lambda community: _FIXED + MAX_HEADERS * _certified(community),
    SegmentReply: _segment,
    Envelopes: lambda community: _FIXED + MAX_COMMITTEE * most_bytes(Envelope, community.members),
    OperationsReply: _operations,
}
