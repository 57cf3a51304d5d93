"""Answers that are larger than anybody honest would give."""

import asyncio
import os

from bflcd.net.protocol import Service
from bflcd.types import MAX_COMMITTEE, ZERO_DIGEST, Digest, Epoch, Height, Millis, NodeId, Proof, Round, Signature, View
from bflcd.wire.blocks import KIND_MODEL, Certificate, CertifiedHeader, Header, ModelFields, header_hash
from bflcd.wire.codec import encode
from bflcd.wire.proposal import Proposal
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate
from bflcd.wire.requests import MAX_HEADERS, GetStatus, Headers, Lane, Status
from tests.border.attack import Net, attack
from tests.border.attacks.members import Place
from tests.border.raw_peer import RawPeer, until

AHEAD = 50
"""Rounds that the liar says to be ahead."""

CONCURRENT = 8


def headers_of_thousands(chain: Digest, place: Place) -> bytes:
    """As many headers as one answer has, of the largest committee, each with a recovery of all that there can be: 9.6 MB."""
    seats = tuple(sorted(NodeId(os.urandom(32)) for _ in range(MAX_COMMITTEE)))
    signed = tuple((node, Signature(os.urandom(64))) for node in seats)
    hashes = tuple(Digest(node) for node in seats)
    proposal = Proposal(Epoch(0), View(0), Proof(bytes(80)), Millis(0), hashes, hashes)
    claim = PreparedClaim(Epoch(1), seats, View(0), ZERO_DIGEST, proposal, ProposalBasis(seats, seats))
    body = Recovery(chain, place.round, Epoch(2), ZERO_DIGEST, seats, seats, ZERO_DIGEST)
    recovery = RecoveryCertificate(body, PreparedProof(claim, signed), signed)
    model = ModelFields(Epoch(0), View(0), None, ZERO_DIGEST, ZERO_DIGEST, seats, False)

    def one(number: int) -> CertifiedHeader:
        round_ = Round(place.round + 1 + number)
        header = Header(chain, Height(number), round_, KIND_MODEL, ZERO_DIGEST, ZERO_DIGEST, None, Millis(0), model)
        hashed = header_hash(header)
        certificate = Certificate(chain, round_, Epoch(0), View(0), ZERO_DIGEST, ZERO_DIGEST, hashed, signed, recovery)
        return CertifiedHeader(header, certificate)

    return encode(Headers(tuple(one(number) for number in range(MAX_HEADERS))))


@attack("large-headers", row=0, who="member", what="says to be ahead, and answers with 9.6 MB of headers", quick=False)
async def large_headers(net: Net, seconds: float) -> list[str]:
    place = Place()
    answer = await asyncio.to_thread(headers_of_thousands, net.chain, place)
    left = until(seconds)

    async def status(_peer: NodeId, request: GetStatus) -> Status:
        return Status(net.chain, Round(place.round + AHEAD), Height(0), request.head, place.epoch, Round(0), "0", Millis(0))

    async def large(_peer: NodeId, _request: bytes) -> bytes:
        return answer

    peer = RawPeer(net.member())
    peer.exchange.serve({GetStatus: status})
    served = peer.transport._services[Lane.CHAIN.value]
    peer.transport._services[Lane.CHAIN.value] = Service(large, served.max_request, CONCURRENT)
    await peer.transport.start()
    try:
        await place.follow(net, peer, left)
    finally:
        await peer.transport.close()
    return []
