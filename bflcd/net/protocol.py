"""The transport protocol: whole messages between authenticated peers. All knowledge of libp2p stays behind it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bflcd.types import NodeId

MAX_GOSSIP_BYTES: Final = 896 * 1024
"""Largest gossip message: the library drops above 1 MiB without a word (docs/adr/0001)."""

MAX_REQUEST_BYTES: Final = 1024 * 1024
"""Largest request."""

MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
"""Largest response of any protocol; each protocol states its own limit below this."""


@dataclass(frozen=True, slots=True)
class Connected:
    """An authenticated connection to `peer` is open. `inbound` if the peer dialled. MUST be answered by the gate."""

    peer: NodeId
    address: str
    inbound: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The last connection to `peer` is gone."""

    peer: NodeId


PeerEvent = Connected | Disconnected

RequestHandler = Callable[[NodeId, bytes], Awaitable[bytes]]
"""Takes the authenticated peer and its request; returns the response. Raising closes the stream and costs nothing else."""

GossipHandler = Callable[[NodeId, bytes], bool]
"""Takes the publisher, authenticated by its signature, and the message; runs in the event loop's thread and must not block.

False means that the message is not worth a thing: the publisher is counted against. Duplicates never reach it. Whoever passed the
message on is not named: it could not judge it, and an adversary would turn honest nodes against each other."""

Relay = Callable[[bytes], bool]
"""Whether a message is worth passing on; what is not is heard of its publisher alone, if it is a neighbour. Called in any thread,
for every copy that comes; must be quick and thread-safe."""

FloodHandler = Callable[[NodeId], None]
"""Called in the event loop's thread, for each message, of whoever signed more of them than any honest node, or passed on what no
honest node would: its signature is false, or it is none. Must not block."""


def relay_all(_message: bytes) -> bool:
    """Everything is worth passing on."""
    return True


def ignore_flood(_publisher: NodeId) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who takes the messages of a topic, what of them is passed on, and who is told of floods."""

    handler: GossipHandler
    relays: Relay = relay_all
    on_flood: FloodHandler = ignore_flood


PeerEventHandler = Callable[[PeerEvent], None]
"""Called in the event loop's thread for each connection that opens or closes; must not block."""

Gate = Callable[[NodeId], bool]
"""Whether a peer may have a connection at all (the blacklist). Called in any thread; must be quick and thread-safe."""

HostCheck = Callable[[str, int], str]
"""Takes an IP address and a port; says why not to connect there, or nothing. Called in any thread, quick, thread-safe."""


def anywhere(_host: str, _port: int) -> str:
    """The check of addresses that the operator named: none."""
    return ""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One open connection, for people and for the peer manager."""

    peer: NodeId
    address: str
    inbound: bool


@dataclass(frozen=True, slots=True)
class Service:
    """A request protocol that is served: by whom, up to which size, and how many of one peer at a time."""

    handler: RequestHandler
    max_request: int
    max_concurrent: int


def check_service(protocol: str, max_request: int, max_concurrent: int) -> None:
    """Raise ValueError for limits that no transport serves under."""
    if not 0 <= max_request <= MAX_REQUEST_BYTES or max_concurrent < 1:
        raise ValueError(f"{protocol}: requests of 0 to {MAX_REQUEST_BYTES} bytes, at least one at a time")


def check_request(protocol: str, payload: bytes, max_response: int) -> None:
    """Raise ValueError for a request that no transport carries."""
    if len(payload) > MAX_REQUEST_BYTES or not 0 <= max_response <= MAX_RESPONSE_BYTES:
        raise ValueError(f"{protocol}: requests up to {MAX_REQUEST_BYTES}, responses up to {MAX_RESPONSE_BYTES} bytes")


def check_gossip(message: bytes) -> None:
    """Raise ValueError for a message that no transport gossips."""
    if len(message) > MAX_GOSSIP_BYTES:
        raise ValueError(f"a gossip message has at most {MAX_GOSSIP_BYTES} bytes, not {len(message)}")


class RequestTransport(Protocol):
    """The part of a transport that carries requests."""

    def serve(self, protocol: str, handler: RequestHandler, *, max_request: int, max_concurrent: int) -> None:
        """As `Transport.serve`."""
        ...

    async def request(self, peer: NodeId, protocol: str, payload: bytes, *, deadline: float, max_response: int) -> bytes:
        """As `Transport.request`."""
        ...


class Transport(Protocol):
    """What a network must offer. Every implementation passes `tests/conformance/test_transport.py`.

    Invariants: messages are whole or absent; a peer's id is authenticated before anything of it is seen; every wait has a
    deadline; every queue is bounded; cancelling any call leaves the transport usable.
    """

    @property
    def node_id(self) -> NodeId:
        """Our own id."""
        ...

    async def start(self) -> None:
        """Listen and serve. Raises MachineError if the listening address is taken or not ours."""
        ...

    async def close(self) -> None:
        """Close all connections and stop; returns within 3 seconds. Idempotent."""
        ...

    async def wait_closed(self) -> None:
        """Return once the transport is closed; raise what ended it, should it end by itself.

        The composition root awaits this, so that the network never ends unnoticed.
        """
        ...

    def lag(self) -> float:
        """Seconds by which the thread that it works in is late; 0 if it has none of its own. Never waits."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """Listening multiaddrs, each ending in /p2p/PEERID, with the port that was really bound."""
        ...

    async def dial(self, address: str, deadline: float, *, check: HostCheck = anywhere) -> NodeId:
        """Connect to a multiaddr ending in /p2p/PEERID within `deadline` seconds and authenticate that id.

        If the host is a name, `check` says of each address that it stands for why not to connect to it. An open connection to
        that peer is reused. Raises DialError with the step that failed.
        """
        ...

    async def disconnect(self, peer: NodeId) -> None:
        """Close every connection to `peer`; harmless if there is none."""
        ...

    def connections(self) -> tuple[ConnectionInfo, ...]:
        """Open connections, at most one a peer."""
        ...

    def on_peer_event(self, handler: PeerEventHandler) -> None:
        """Register the one handler of peer events, before `start`."""
        ...

    def subscribe(
        self, topic: str, handler: GossipHandler, *, relays: Relay = relay_all, on_flood: FloodHandler = ignore_flood
    ) -> None:
        """Register the one handler of a gossip topic, before `start`."""
        ...

    async def publish(self, topic: str, message: bytes) -> None:
        """Gossip `message` to whoever subscribes to `topic`; may be lost silently. Raises ValueError above MAX_GOSSIP_BYTES.

        The own handler is not called. Publishing the same bytes again sends them again (the machines re-send on purpose).
        """
        ...

    def serve(self, protocol: str, handler: RequestHandler, *, max_request: int, max_concurrent: int) -> None:
        """Register the handler of a request protocol, before `start`. Above `max_concurrent` a peer's requests wait."""
        ...

    async def request(self, peer: NodeId, protocol: str, payload: bytes, *, deadline: float, max_response: int) -> bytes:
        """Send one request over a reused stream and return the response.

        Raises RequestError: not connected, refused, lost, late, or a response above `max_response`. Safe to call many at a
        time; requests of one peer and protocol may travel over several streams.
        """
        ...
