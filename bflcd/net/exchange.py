"""Typed requests and replies over the transport: strict decoding, members only, rate and concurrency limits (design 8)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.limits import Clock, PeerBuckets, Rate, TokenBucket
from bflcd.net.protocol import RequestTransport
from bflcd.types import CHUNK_BYTES, Millis, NodeId, short
from bflcd.wire.codec import decode, decode_any, encode, limit_of, number_of, peek_number
from bflcd.wire.requests import REQUESTS, Chunk, GetGenesis, Lane, Refused, ReplyT, Request

logger = logging.getLogger(__name__)

Handler = Callable[[NodeId, Any], Awaitable[Any]]
"""Answers one kind of request of a peer. Raises PeerError to refuse; anything else that it raises is our own fault."""

OnMisbehaviour = Callable[[NodeId, Rejection, str], None]
"""Told what a peer did wrong; must not block."""

OnFailure = Callable[[Exception], None]
"""Told that a handler failed by our own or the machine's fault; must not block."""


Sheds = Callable[[Request[Any]], bool]
"""Whether this node is overloaded, and a request can be answered by others too."""

OnShed = Callable[[str], None]
"""Told the class of a request that was refused for this; must not block."""

Handlers = Mapping[type[Request[Any]], Handler]
"""Who answers which kind of request."""


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What one lane may take.

    `at_once`: handlers that run at a time, over all peers; `per_peer`: requests of one peer that are in work at a time;
    `waiting`: how many more may wait for their turn before the rest is told BUSY.
    """

    at_once: int
    per_peer: int
    waiting: int


LIMITS: Final = {
    Lane.SMALL: LaneLimits(at_once=64, per_peer=16, waiting=512),
    Lane.CHAIN: LaneLimits(at_once=4, per_peer=4, waiting=128),
    Lane.BLOB: LaneLimits(at_once=16, per_peer=8, waiting=512),
}
"""Replies of the chain lane take up to 33 MB, of the blob lane 1 MiB: at most about 150 MB are being sent at a time."""

_CLASS_OF: Final = {number_of(kind): kind for kind in REQUESTS}

HANDLER_SECONDS: Final = 30.0
"""Longest that one answer may take, waiting included; who asked has given up by then."""

MEMBER_REQUESTS: Final = Rate(per_second=1_000, burst=4_000)
"""Requests of a member: four times what a peer sends that drains a 10 Gbit/s line in 1 MiB chunks and does all else besides."""

MEMBER_BYTES: Final = Rate(per_second=2**30, burst=2**31)
"""Bytes answered to a member: 1 GiB/s; above it answers are delayed, not refused."""

STRANGER_REQUESTS: Final = Rate(per_second=2, burst=20)
STRANGER_BYTES: Final = Rate(per_second=2**20, burst=16 * 2**20)
"""A stranger needs one genesis (at most 4 MiB) and a status now and then."""

STRANGERS_REQUESTS: Final = Rate(per_second=50, burst=400)
"""Requests of all strangers together: an identity costs nothing, and each comes with an allowance of its own."""

PACE: Final = {
    Lane.SMALL: Rate(per_second=50, burst=500),
    Lane.CHAIN: Rate(per_second=50, burst=2_000),
    Lane.BLOB: Rate(per_second=100, burst=4_000),
}
"""Work that one member may ask of a lane, a request being one unit and each WORK_BYTES of an answer another: what is above waits.

The bursts are a catch-up of two thousand rounds and a payload of four thousand chunks; after them a member that asks without end
takes a tenth of a core."""

WORK_BYTES: Final = {Lane.SMALL: 64 * 1024, Lane.CHAIN: 64 * 1024, Lane.BLOB: CHUNK_BYTES}
"""Bytes of an answer that are as much work as a request."""

PATIENCE: Final = 20.0
"""Seconds that a request may wait for its pace and its turn, after which hardly anybody waits for its answer: it is refused."""

SPARED: Final = Rate(per_second=4, burst=16)
"""Of requests that others can answer too those that an overloaded node still answers: of one member, of all strangers together.

Where all nodes are overloaded, who catches up still gains on rounds that others close, and nobody takes another's turn."""

_STRANGERS: Final = NodeId(bytes(32))
"""Stands for all of them where they have one allowance together."""

OFFLOAD_BYTES: Final = 256 * 1024
"""Replies above this are decoded in a thread, except chunks, which `large_chunk` takes."""


class Exchange:
    """Asks peers and answers them. Strangers (peers for which `is_member` is False) get only what is `for_strangers`."""

    def __init__(
        self,
        transport: RequestTransport,
        *,
        is_member: Callable[[NodeId], bool],
        now: Clock,
        on_misbehaviour: OnMisbehaviour | None = None,
        on_failure: OnFailure | None = None,
        largest: Callable[[type], int] = limit_of,
        sheds: Sheds = lambda _request: False,
        on_shed: OnShed = lambda _kind: None,
    ) -> None:
        """`largest`: bytes that a reply of a kind has at most, where we stand; `sheds`: what is refused beyond SPARED."""
        self._transport = transport
        self._largest = largest
        self._is_member = is_member
        self._on_misbehaviour = on_misbehaviour
        self._on_failure = on_failure
        self._handlers: Handlers = {}
        self._requests = {True: PeerBuckets(MEMBER_REQUESTS, now), False: PeerBuckets(STRANGER_REQUESTS, now)}
        self._bytes = {True: PeerBuckets(MEMBER_BYTES, now), False: PeerBuckets(STRANGER_BYTES, now)}
        self._strangers = TokenBucket(STRANGERS_REQUESTS, now())
        self._sheds = sheds
        self._on_shed = on_shed
        self._spared = PeerBuckets(SPARED, now)
        self._now = now
        self._lasting: dict[type, tuple[object, bytes]] = {}
        self._pace = {lane: PeerBuckets(PACE[lane], now) for lane in Lane}
        self._turns = {lane: asyncio.Semaphore(LIMITS[lane].at_once) for lane in Lane}
        self._open = dict.fromkeys(Lane, 0)
        self.taken_for_stranger = asyncio.Event()
        """Set whenever a peer has refused a request because it holds this node for no member."""

    async def ask(self, peer: NodeId, request: Request[ReplyT], *, deadline: float) -> ReplyT:
        """Send a request and decode its one legal reply, within `deadline` seconds.

        Raises RequestError (not connected, lost, late), PeerError with the peer's own rejection if it refused, or with ours
        (MALFORMED, TOO_LARGE) if what it sent is no legal reply; that is also reported as misbehaviour.
        """
        expected: type[ReplyT] = request.reply
        data = await self._transport.request(
            peer,
            request.lane.value,
            encode(request),
            deadline=deadline,
            max_response=max(self._largest(expected), limit_of(Refused)),
        )
        try:
            reply = await _decoded(data, expected)
            if not isinstance(reply, Refused):
                return reply
            rejection = Rejection(reply.rejection)
        except (PeerError, ValueError) as error:
            # An unknown name in Refused counts as malformed too: no honest peer of this wire version sends one.
            rejection = error.rejection if isinstance(error, PeerError) else Rejection.MALFORMED
            rejection = Rejection.MALFORMED if rejection is Rejection.UNKNOWN_KIND else rejection
            text = f"{short(peer)} answered {type(request).__name__} with no legal reply: {error}"
            self._report(peer, rejection, text)
            raise PeerError(rejection, text) from error
        if rejection is Rejection.NOT_MEMBER:
            self.taken_for_stranger.set()
        raise PeerError(rejection, f"{short(peer)} refused {type(request).__name__}: {reply.text}")

    def serve(self, handlers: Handlers) -> None:
        """Register what is answered; call once, before the transport starts. A request without a handler is refused."""
        unknown = [kind.__name__ for kind in handlers if kind not in REQUESTS]
        if unknown:
            raise ValueError(f"these are no requests: {', '.join(unknown)}")
        self._handlers = dict(handlers)
        for lane in Lane:
            self._transport.serve(
                lane.value,
                partial(self._answer, lane),
                max_request=max(limit_of(kind) for kind in REQUESTS if kind.lane is lane),
                max_concurrent=LIMITS[lane].per_peer,
            )

    async def _answer(self, lane: Lane, peer: NodeId, payload: bytes) -> bytes:
        """The encoded reply, or Refused: whatever the peer sends, it gets an answer, and nothing escapes into the transport."""
        member, since = self._is_member(peer), self._now()
        try:
            kind = self._admit(lane, peer, payload, member=member)
            await self._keep_pace(lane, peer)
            request: Request[Any] = decode(payload, kind)
            self._spare(peer if member else _STRANGERS, request)
            reply = await self._in_turn(lane, peer, request, since)
            encoded = self._encoded(kind, reply)
        except PeerError as error:
            if error.rejection in _COSTLY:
                self._report(peer, error.rejection, str(error))
            encoded = encode(_refusal(error))
        except Exception as error:  # noqa: BLE001 - our own fault: logged, counted, reported, and the peer is told so
            encoded = encode(self._failed(peer, error))
        self._pace[lane].charge(peer, len(encoded) / WORK_BYTES[lane])
        wait = self._bytes[member].charge(peer, len(encoded))
        if wait > 0:
            await asyncio.sleep(min(wait, HANDLER_SECONDS))
        return encoded

    async def _keep_pace(self, lane: Lane, peer: NodeId) -> None:
        """Wait until the peer's turn has come, before any work is done: who gives up meanwhile has had none. Raises PeerError."""
        wait = self._pace[lane].charge(peer, 1)
        if wait > PATIENCE:
            self._report(peer, Rejection.BUSY, f"{short(peer)} asks for more work than any honest node")
            raise PeerError(Rejection.BUSY, f"too much work is asked on {lane.value}; slow down")
        if wait > 0:
            await asyncio.sleep(wait)

    def _admit(self, lane: Lane, peer: NodeId, payload: bytes, *, member: bool) -> type[Request[Any]]:
        """The cheap checks, in order of cost, before anything is decoded. Raises PeerError."""
        if not self._requests[member].take(peer):
            self._report(peer, Rejection.BUSY, f"{short(peer)} sends more requests a second than any honest node")
            raise PeerError(Rejection.BUSY, "too many requests a second; slow down")
        if not member and not self._strangers.take(1, self._now()):
            raise PeerError(Rejection.BUSY, "too many strangers ask; try again later")
        kind = _CLASS_OF.get(peek_number(payload))
        if kind is None or kind.lane is not lane:
            raise PeerError(Rejection.UNKNOWN_KIND, f"no request of {lane.value}")
        if not member and not kind.for_strangers:
            raise PeerError(Rejection.NOT_MEMBER, "only members may ask for this; a manager has to admit you first")
        if kind not in self._handlers:
            raise PeerError(Rejection.UNAVAILABLE, f"{kind.__name__} is not served here")
        return kind

    def _spare(self, peer: NodeId, request: Request[Any]) -> None:
        """Raise PeerError(BUSY) if this node is overloaded, others can answer too, and `peer` has had what it gets then."""
        if self._sheds(request) and not self._spared.take(peer):
            self._on_shed(type(request).__name__)
            raise PeerError(Rejection.BUSY, "this node is overloaded; ask another one, or again later")

    async def _in_turn(self, lane: Lane, peer: NodeId, request: Request[Any], since: Millis) -> object:
        """Run the handler once one of the lane's turns is free, unless hardly anybody waits for the answer any more.

        `since`: when the request came.
        """
        kind, limits = type(request), LIMITS[lane]
        if self._open[lane] >= limits.at_once + limits.waiting:
            raise PeerError(Rejection.BUSY, f"too many requests on {lane.value}; ask again later")
        self._open[lane] += 1
        try:
            async with asyncio.timeout(HANDLER_SECONDS), self._turns[lane]:
                if self._now() - since > PATIENCE * 1000:
                    self._on_shed(kind.__name__)
                    raise PeerError(Rejection.BUSY, f"{kind.__name__} has waited longer than {PATIENCE:.0f} s for its turn")
                return await self._handlers[kind](peer, request)
        except TimeoutError as error:
            raise PeerError(Rejection.BUSY, f"{kind.__name__} took longer than {HANDLER_SECONDS:.0f} s") from error
        except RequestError as error:
            raise PeerError(Rejection.UNAVAILABLE, str(error)) from error
        finally:
            self._open[lane] -= 1

    def _encoded(self, kind: type[Request[Any]], reply: object) -> bytes:
        if type(reply) is not kind.reply:
            raise TypeError(f"the handler of {kind.__name__} returned a {type(reply).__name__}")
        if kind not in _LASTING:
            return encode(reply)
        known = self._lasting.get(kind)
        if known is None or known[0] is not reply:
            known = self._lasting[kind] = (reply, encode(reply))
        return known[1]

    def _failed(self, peer: NodeId, error: Exception) -> Refused:
        logger.error("answering %s failed by our own fault", short(peer), exc_info=error)
        if self._on_failure is not None:
            self._on_failure(error)
        return Refused(Rejection.UNAVAILABLE.value, "this node failed inside while answering; its log says why")

    def _report(self, peer: NodeId, rejection: Rejection, text: str) -> None:
        logger.debug("%s misbehaved: %s", short(peer), text)
        if self._on_misbehaviour is not None:
            self._on_misbehaviour(peer, rejection, text)


_LASTING: Final = frozenset({GetGenesis})
"""Requests whose answer stays the same, and may take 35 ms to encode: it is encoded once."""

_COSTLY: Final = frozenset({Rejection.MALFORMED, Rejection.TOO_LARGE, Rejection.UNKNOWN_KIND, Rejection.NOT_MEMBER})
"""Refusals that no honest peer provokes, at least not often: they cost score."""


async def _decoded(data: bytes, expected: type[ReplyT]) -> ReplyT | Refused:
    """A reply, decoded in a thread where it is large. Raises PeerError for anything but an `expected` or Refused."""
    chunk = large_chunk(data) if expected is Chunk else None
    if isinstance(chunk, expected):
        return chunk
    allowed: tuple[type[ReplyT | Refused], ...] = (expected, Refused)
    if len(data) > OFFLOAD_BYTES:
        return await asyncio.to_thread(decode_any, data, allowed)
    return decode_any(data, allowed)


_CHUNK_START: Final = encode(Chunk(bytes(2**16)))[:4]
"""How the one encoding of a chunk of 64 KiB or more starts: array, version, number, `bin 32`; its length follows."""


def large_chunk(data: bytes) -> Chunk | None:
    """The chunk that `data` encodes canonically, with one copy where the codec makes five; None if the codec has to look."""
    length = len(data) - len(_CHUNK_START) - 4
    if not 2**16 <= length <= CHUNK_BYTES or not data.startswith(_CHUNK_START + length.to_bytes(4, "big")):
        return None
    return Chunk(data[-length:])


def _refusal(error: PeerError) -> Refused:
    text = printable(str(error).removeprefix(f"{error.rejection.value}: "))
    return Refused(error.rejection.value, text.encode()[:512].decode(errors="ignore"))


def printable(text: str) -> str:
    """A text without control characters: of an error, which may quote what no decoder has seen."""
    return "".join(character if character.isprintable() else "?" for character in text)
