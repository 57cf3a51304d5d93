"""Gossip of typed messages: cheap checks before anything is queued, bounded fair queues, invalid forwarders counted (design 8).

Signatures are not checked here: the machines that understand a message check them, and say so with `invalid` if they fail.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from bflcd.core.relaying import Standpoint, Stands, chain_of, decode_gossip, is_passed_on, signed_part
from bflcd.core.shedding import Shed, shed_of
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.exchange import OnMisbehaviour
from bflcd.net.inbox import Inbox, Waiting
from bflcd.net.limits import Clock, PeerBuckets, Rate
from bflcd.net.protocol import MAX_GOSSIP_BYTES, FloodHandler, GossipHandler, Relay, RequestTransport
from bflcd.net.round_trips import RoundTrips
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.types import ZERO_DIGEST, Digest, Millis, NodeId, short
from bflcd.wire.codec import encode, registered
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Announcement, Gossip
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import RecoveryCertificate

logger = logging.getLogger(__name__)

TOPIC: Final = "/bflc/1/gossip"
"""One topic for all: which chain a message belongs to stands inside it, signed."""

PUSH: Final = "/bflc/1/push"
"""Request protocol that brings one message straight to whom it concerns; the empty answer says that it was taken in."""

NOT_NOW: Final = b"\x01"
"""The answer of who has no use for a message now, and takes it later: it catches up, or has too much to do."""

PUSH_SECONDS: Final = 3.0
"""Least deadline of a push; where answers take longer, it grows with them."""

MOST_PUSH_SECONDS: Final = 12.0
"""Longest deadline of a push: a peer whose heartbeats fail is disconnected after 15 s, and reached by gossip then."""

PUSHES_EACH: Final = 32
"""Pushes of one peer that are taken in at a time."""

FORWARDED: Final = Rate(per_second=200, burst=2_000)
"""Messages of one member, pushed and gossiped: some six a round, and what it says again."""

PUSHED_BYTES: Final = Rate(per_second=1024 * 1024, burst=16 * 1024 * 1024)
"""Bytes that one peer pushes: the largest card, and a pre-prepare, each round."""

INVALID: Final = Rate(per_second=5, burst=50)
"""Invalid messages that a forwarder is forgiven: an honest peer passes on what it has not verified yet, but not for long."""

OVER: Final = Rate(per_second=2, burst=8)
"""Messages of decided rounds, of one member, that an overloaded node still looks at: their sender lags, and is answered with the
certificate once a T0."""

RECENT: Final = 4_096
"""Messages that are remembered for counting what is said or heard again."""


@dataclass(frozen=True, slots=True)
class ForwardedMessage:
    """A gossiped message of this chain, by a member according to its own words: its signatures are NOT verified."""

    forwarder: NodeId
    author: NodeId
    message: Gossip


Way = Literal["push", "gossip"]
"""How a message travels: straight to one peer that confirms it, or to all through the mesh."""


class OnTraffic(Protocol):
    """Told of each message that was sent, or taken in after the cheap checks; must not block.

    A push counts once a peer; a gossiped message once, however many neighbours pass it on.
    """

    def __call__(self, *, outgoing: bool, kind: str, way: Way, size: int, again: bool) -> None:
        """`kind`: the message's class; `size` in bytes; `again`: the same bytes went that way, or came in, not long ago."""
        ...


OnShed = Callable[[str], None]
"""Told the class of what was left, since this node is overloaded; must not block."""


class GossipTransport(RequestTransport, Protocol):
    """The part of a transport that carries gossip and pushes."""

    def subscribe(self, topic: str, handler: GossipHandler, *, relays: Relay, on_flood: FloodHandler) -> None:
        """As `Transport.subscribe`."""
        ...

    async def publish(self, topic: str, message: bytes) -> None:
        """As `Transport.publish`."""
        ...


class _Recent:
    """Whether something came by among the last `RECENT` different ones. Knows hashes only: it serves to count."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, None] = OrderedDict()

    def has_seen(self, what: Hashable) -> bool:
        """Whether it was seen; from now on it was."""
        key = hash(what)
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > RECENT:
            self._seen.popitem(last=False)
        return known


class GossipChannel:
    """Publishes our messages, and hands those of members to one reader. Subscribes at once: build it before the transport starts.

    `chain` gives the chain id that counts (any other is refused; while it is zero, all is dropped and nobody blamed), `is_member`
    says whose messages count, `stands` what of others' messages is passed on.
    """

    def __init__(
        self,
        transport: GossipTransport,
        *,
        chain: Callable[[], Digest],
        is_member: Callable[[NodeId], bool],
        now: Clock,
        on_misbehaviour: OnMisbehaviour,
        topic: str = TOPIC,
        inbox: Inbox[Gossip] | None = None,
        verified: VerifiedEnvelopes | None = None,
        on_traffic: OnTraffic | None = None,
        stands: Stands = lambda: None,
        is_busy: Callable[[], bool] = lambda: False,
        on_shed: OnShed = lambda _kind: None,
    ) -> None:
        self._transport = transport
        self._topic = topic
        self._chain = chain
        self._stands = stands
        self._is_busy = is_busy
        self._on_shed = on_shed
        self._is_member = is_member
        self._on_misbehaviour = on_misbehaviour
        self._inbox: Inbox[Gossip] = Inbox() if inbox is None else inbox
        self._verified = VerifiedEnvelopes() if verified is None else verified
        self._on_traffic: OnTraffic = _uncounted if on_traffic is None else on_traffic
        self._spoken, self._heard = _Recent(), _Recent()
        self._now = now
        self._round_trips = RoundTrips(PUSH_SECONDS, MOST_PUSH_SECONDS)
        self._forwarded = PeerBuckets(FORWARDED, now)
        self._pushed_bytes = PeerBuckets(PUSHED_BYTES, now)
        self._invalid = PeerBuckets(INVALID, now)
        self._over = PeerBuckets(OVER, now)
        transport.subscribe(topic, self._receive, relays=self._relays, on_flood=self._flooded)
        transport.serve(PUSH, self._pushed, max_request=MAX_GOSSIP_BYTES, max_concurrent=PUSHES_EACH)

    async def publish(self, message: Gossip) -> None:
        """Gossip a message of ours; it may be lost silently, so machines re-send. Raises ValueError above a limit: our bug."""
        data = encode(message)
        await self._transport.publish(self._topic, data)
        again = self._spoken.has_seen((None, data))
        self._on_traffic(outgoing=True, kind=kind_of(message), way="gossip", size=len(data), again=again)

    async def push(self, peer: NodeId, message: Gossip) -> bool:
        """Bring a message of ours straight to one peer; whether it has taken it in. Raises RequestError."""
        data = encode(message)
        begun, deadline = self._now(), self._round_trips.timeout(peer)
        try:
            answer = await self._transport.request(peer, PUSH, data, deadline=deadline, max_response=len(NOT_NOW))
        except RequestError:
            if self._now() - begun >= deadline * 1000:
                self._round_trips.silent(peer)
            raise
        self._round_trips.answered(peer, (self._now() - begun) / 1000)
        again = self._spoken.has_seen((peer, data))
        self._on_traffic(outgoing=True, kind=kind_of(message), way="push", size=len(data), again=again)
        return answer == b""

    async def receive(self) -> ForwardedMessage:
        """The next message that passed the cheap checks. For one reader."""
        item = await self._inbox.get()
        return ForwardedMessage(item.forwarder, item.author, item.message)

    def oldest(self) -> Millis | None:
        """Since when the message waits that has waited longest for `receive`, None if none does."""
        return self._inbox.oldest()

    def verify_once(self, envelope: Envelope) -> bool:
        """Whether an envelope's signature holds; identical envelopes are verified only once."""
        return self._verified.verify_once(envelope)

    def invalid(self, forwarder: NodeId, rejection: Rejection, text: str) -> None:
        """Count a message that turned out invalid against who forwarded it; what is above INVALID costs score."""
        if not self._invalid.take(forwarder):
            self._on_misbehaviour(forwarder, rejection, text)

    async def _pushed(self, peer: NodeId, data: bytes) -> bytes:
        """The answer to a push: nothing, whether it is right or wrong, unless it is to come again. A stranger gets none."""
        if not self._is_member(peer):
            raise PeerError(Rejection.NOT_MEMBER, "only members may push messages")
        if self._forwarded.take(peer) and self._pushed_bytes.take(peer, len(data)):
            taken = self._take_in(peer, data, "push")
            return NOT_NOW if taken is None or self._is_busy() else b""
        self.invalid(peer, Rejection.BUSY, f"{short(peer)} pushes more messages than any honest node")
        return NOT_NOW

    def _receive(self, forwarder: NodeId, data: bytes) -> bool:
        """The transport's handler for gossip; False counts against the publisher.

        What is above its rate costs no score: others may be sending what it said long ago.
        """
        if not self._forwarded.take(forwarder):
            return False
        return self._take_in(forwarder, data, "gossip") is not False

    def _relays(self, data: bytes) -> bool:
        """Asked in the network's thread: see `is_passed_on`."""
        return is_passed_on(data, self._stands())

    def _flooded(self, peer: NodeId) -> None:
        """The transport's word that a peer has signed or brought what no honest one does."""
        self._on_misbehaviour(peer, Rejection.BUSY, f"{short(peer)} gossips more than any honest node, or worthless things")

    def _take_in(self, forwarder: NodeId, data: bytes, way: Way) -> bool | None:
        """Check in rising order of cost, then queue. False if it is wrong, None if it is left and has to come again: a push that
        would displace what waits, and what is for others while this node is overloaded."""
        if self._chain() == ZERO_DIGEST:
            return True  # before the genesis is known nothing can be judged, and nobody is to blame for sending it
        stands = self._stands()
        try:
            message, author = self._check(forwarder, data, stands)
            shed = shed_of(message, stands) if stands is not None and stands.overloaded else None
        except PeerError as error:
            logger.debug("a %s of %s is refused: %s", way, short(forwarder), error)
            blame = self._on_misbehaviour if error.rejection is Rejection.TOO_LARGE else self.invalid  # no version says so much
            blame(forwarder, error.rejection, f"{way}: {error}")
            return False
        if shed is Shed.SAID_AGAIN or (shed is Shed.OVER and not self._over.take(forwarder)):
            self._on_shed(kind_of(message))
            return True if shed is Shed.OVER else None
        if way == "push" and not self._inbox.has_room(forwarder, author, len(data)):
            return None
        self._on_traffic(outgoing=False, kind=kind_of(message), way=way, size=len(data), again=self._heard.has_seen(data))
        self._inbox.put(Waiting(forwarder, author, message, len(data), self._now()))
        return True

    def _check(self, forwarder: NodeId, data: bytes, stands: Standpoint | None) -> tuple[Gossip, NodeId]:
        if len(data) > MAX_GOSSIP_BYTES:
            raise PeerError(Rejection.TOO_LARGE, f"{len(data)} bytes of gossip, at most {MAX_GOSSIP_BYTES} are allowed")
        message = decode_gossip(data, stands)
        chain, author = chain_of(message), author_of(message, forwarder)
        if chain != self._chain():
            raise PeerError(Rejection.WRONG_CHAIN, f"a message of chain {short(chain)}")
        if not self._is_member(author):
            raise PeerError(Rejection.NOT_MEMBER, f"its author {short(author)} is no member")
        return message, author


def kind_of(message: Gossip) -> str:
    """A message's class, for people and metrics; of a bare envelope that of its payload, which was checked."""
    if isinstance(message, Envelope):
        return registered()[message.payload[2]].__name__
    return type(message).__name__


def _uncounted(*, outgoing: bool, kind: str, way: Way, size: int, again: bool) -> None:
    """Nobody counts."""


def author_of(message: Gossip, forwarder: NodeId) -> NodeId:
    """Who says to have written a message; a certificate has many authors, and who an operation is by is for its kind to judge:
    their forwarder stands for them."""
    match message:
        case Announcement() | Operation() | RecoveryCertificate():
            return forwarder
        case _:
            return signed_part(message).author
