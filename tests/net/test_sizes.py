"""What a reply can't exceed: as much as the fullest honest one of the community, and no more than the wire allows."""

import pytest

from bflcd.net.sizes import Community, largest_reply
from bflcd.params import BlobRef
from bflcd.types import (
    MAX_COMMITTEE,
    MAX_MEMBERS,
    MAX_PLACES,
    Amount,
    Digest,
    Epoch,
    Height,
    MicroNats,
    Millis,
    NodeId,
    PartsPerMillion,
    Proof,
    Round,
    Signature,
    View,
)
from bflcd.wire.blocks import (
    KIND_MODEL,
    KIND_UPDATE,
    Certificate,
    CertifiedHeader,
    CertifiedSegment,
    Header,
    ModelBody,
    ModelFields,
    Segment,
    UpdateBody,
)
from bflcd.wire.codec import encode, limit_of
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import MAX_RATE, CardEntry, Offer, ScoreCard
from bflcd.wire.operation import MAX_OPERATIONS
from bflcd.wire.proposal import Proposal
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate
from bflcd.wire.requests import (
    MAX_HEADERS,
    REQUESTS,
    Envelopes,
    Headers,
    OperationsReply,
    SegmentReply,
)

HASH = Digest(bytes([255]) * 32)
SIGNATURE = Signature(bytes(64))
LATE, HIGH = Round(2**53), Height(2**53)

COMMUNITIES = (Community(4, 1, 1), Community(8, 4, 3), Community(100, 20, MAX_COMMITTEE))


def nodes(count: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(number.to_bytes(32, "big")) for number in range(count))


def recovery(community: Community) -> RecoveryCertificate:
    """With the longest lists that there can be."""
    seats = nodes(community.seats)
    signed = tuple((node, SIGNATURE) for node in seats)
    cards, operations = tuple(Digest(node) for node in seats), tuple(Digest(node) for node in nodes(MAX_OPERATIONS))
    proposal = Proposal(Epoch(2**32), View(2**31), Proof(bytes(80)), Millis(2**53), cards, operations)
    claim = PreparedClaim(Epoch(2**32), seats, View(2**31), HASH, proposal, ProposalBasis(seats, seats))
    body = Recovery(HASH, LATE, Epoch(2**32), HASH, seats, seats, HASH)
    return RecoveryCertificate(body, PreparedProof(claim, signed), tuple((node, SIGNATURE) for node in nodes(community.managers)))


def header(community: Community, kind: int) -> Header:
    model = ModelFields(Epoch(2**32), View(2**31), Proof(bytes(80)), HASH, HASH, nodes(community.seats), True)
    given = model if kind == KIND_MODEL else None
    return Header(HASH, HIGH, LATE, kind, HASH, HASH, BlobRef(HASH, 2**34), Millis(2**53), given)


def certificate(community: Community) -> Certificate:
    signed = tuple((node, SIGNATURE) for node in nodes(community.seats))
    return Certificate(HASH, LATE, Epoch(2**32), View(2**31), HASH, HASH, HASH, signed, recovery(community))


def segment(community: Community) -> CertifiedSegment:
    """Every place filled, every card about everybody, twice, and everybody paid."""
    members, places = nodes(community.members), community.places
    offer = Offer(HASH, LATE, Epoch(2**32), HASH, HASH, BlobRef(HASH, 2**34), 2**40)
    entries = [
        CardEntry(node, Digest(node), Digest(bytes([which]) * 32), MicroNats(-(2**50)), PartsPerMillion(10**6), 2**22, MAX_RATE)
        for node in members
        for which in (0, 1)
    ]
    card = ScoreCard(HASH, LATE, Epoch(2**32), HASH, HASH, MicroNats(2**50), PartsPerMillion(10**6), tuple(entries), members)
    update = UpdateBody(
        Envelope(members[0], encode(offer), SIGNATURE), MicroNats(2**50), MicroNats(-(2**50)), PartsPerMillion(10**6)
    )
    body = ModelBody(
        tuple(Envelope(node, encode(card), SIGNATURE) for node in nodes(community.seats)),
        "weighted_mean",
        (2**16,) * places,
        tuple((node, Amount(2**53)) for node in members),
    )
    headers = (*(header(community, KIND_UPDATE),) * places, header(community, KIND_MODEL))
    return CertifiedSegment(Segment(headers, (update,) * places, body), certificate(community))


@pytest.mark.parametrize("community", COMMUNITIES, ids=str)
def test_the_fullest_honest_replies_fit(community: Community) -> None:
    whole = segment(community)
    headers = Headers((CertifiedHeader(header(community, KIND_MODEL), certificate(community)),) * MAX_HEADERS)
    cards = Envelopes((whole.segment.model.cards[0],) * MAX_COMMITTEE)
    for reply in (headers, SegmentReply(whole), cards):
        assert len(encode(reply)) <= largest_reply(type(reply), community)


def test_no_reply_of_a_small_community_is_as_large_as_the_wire_allows() -> None:
    """Given eight members, then what one of them can have us read is a third of that at most, and of the largest community all of it."""
    small, largest = COMMUNITIES[1], Community(MAX_MEMBERS, MAX_PLACES, MAX_COMMITTEE)
    for kind in (Headers, SegmentReply, Envelopes, OperationsReply):
        assert 3 * largest_reply(kind, small) <= limit_of(kind), kind
        assert largest_reply(kind, largest) <= limit_of(kind)
    assert largest_reply(SegmentReply, largest) == limit_of(SegmentReply)


def test_other_replies_have_the_limit_of_the_wire() -> None:
    bounded = {Headers, SegmentReply, Envelopes, OperationsReply}
    for kind in {request.reply for request in REQUESTS} - bounded:
        assert largest_reply(kind, COMMUNITIES[0]) == limit_of(kind)
