"""Both ends of a request: what a peer sends to the server's handlers, and what it answers us with."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bflcd.errors import PeerError
from bflcd.net.exchange import Exchange
from bflcd.params import BlobRef
from bflcd.types import ZERO_DIGEST, Digest, Height, Millis, NodeId, Round
from bflcd.wire.codec import decode_any, encode, number_of
from bflcd.wire.requests import (
    REQUESTS,
    GetAddresses,
    GetChunk,
    GetEnvelopes,
    GetGenesis,
    GetHeaders,
    GetManifest,
    GetSegment,
    GetStatus,
    Lane,
    Refused,
)
from bflcd.wire.training import Training
from tests.fuzz.target import Loop, Target
from tests.helpers.schema import FLAVOURS, sample, schema_of

PEER, STRANGER = NodeId(bytes([1]) * 32), NodeId(bytes([2]) * 32)
ROOT = Digest(bytes([3]) * 32)
ASKED = (
    GetStatus(ZERO_DIGEST, Round(0), Height(0), ZERO_DIGEST, (), Training.TRAINS),
    GetGenesis(ZERO_DIGEST),
    GetHeaders(ROOT, Round(1), 8),
    GetSegment(ROOT, Round(1)),
    GetEnvelopes(ROOT, Round(1), (ROOT,)),
    GetManifest(ROOT, BlobRef(ROOT, 1).root),
    GetChunk(ROOT, ROOT, 0),
    GetAddresses(ROOT),
)
_REPLIES = tuple(kind.reply for kind in REQUESTS)


class Wire:
    """A transport that keeps the handlers and answers every request with the input."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}
        self.answer = b""

    def serve(self, protocol: str, handler: Any, **_: object) -> None:
        self.handlers[protocol] = handler

    async def request(self, *_: object, **__: object) -> bytes:
        return self.answer


class _Clock:
    """Moves on with every look, so that the rate limits let all inputs through."""

    now = 0

    def __call__(self) -> Millis:
        self.now += 60_000
        return Millis(self.now)


async def _serve(request: Any) -> object:
    return sample(schema_of(type(request).reply), FLAVOURS[1])


def make_exchange() -> tuple[Exchange, Wire, list[Exception]]:
    """An exchange that answers everything; what it fails at by its own fault is in the list."""
    wire, failures = Wire(), []
    exchange = Exchange(wire, is_member=PEER.__eq__, now=_Clock(), on_failure=failures.append)

    async def handler(_peer: NodeId, request: Any) -> object:
        return await _serve(request)

    exchange.serve(dict.fromkeys(REQUESTS, handler))
    return exchange, wire, failures


LOOP = Loop()
_MADE: list[tuple[Exchange, Wire, list[Exception]]] = []


async def _one(data: bytes) -> None:
    if not _MADE:
        logging.getLogger("bflcd.net.exchange").setLevel(logging.CRITICAL)
        _MADE.append(make_exchange())
    exchange, wire, failures = _MADE[0]
    lane = list(Lane)[len(data) % len(Lane)]
    for peer in (PEER, STRANGER):
        reply = await wire.handlers[lane.value](peer, data)
        decode_any(reply, (*_REPLIES, Refused))
    assert not failures, failures
    wire.answer = data
    for request in (ASKED[len(data) % len(ASKED)], _asked_for(data)):
        with suppress(PeerError):
            await exchange.ask(PEER, request, deadline=1.0)


def _asked_for(data: bytes) -> Any:
    """The request whose reply the input claims to be."""
    number = data[2] if len(data) > 2 else 0
    return next((asked for asked in ASKED if number_of(asked.reply) == number), ASKED[0])


def one(data: bytes) -> None:
    LOOP.run(_one(data))


def seeds() -> Iterator[bytes]:
    yield from map(encode, ASKED)
    for cls in (*_REPLIES, *REQUESTS, Refused):
        yield from (encode(sample(schema_of(cls), flavour)) for flavour in FLAVOURS)


TARGET = Target("exchange", seeds, one, share=0.7)
