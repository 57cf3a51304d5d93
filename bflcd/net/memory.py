"""The transport inside one process: a hub whose delays, losses and partitions tests control, from one seed."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from bflcd.crypto.identity import Identity, node_id_of, peer_id_of
from bflcd.errors import DialError, InvariantError, MachineError, RequestError
from bflcd.net.protocol import (
    Connected,
    ConnectionInfo,
    Disconnected,
    FloodHandler,
    Gate,
    GossipHandler,
    HostCheck,
    PeerEvent,
    PeerEventHandler,
    Relay,
    RequestHandler,
    Service,
    Subscription,
    anywhere,
    check_gossip,
    check_request,
    check_service,
    ignore_flood,
    relay_all,
)
from bflcd.types import NodeId, short

MAX_IN_FLIGHT: Final = 65_536
"""Deliveries under way in one hub; above this gossip is lost, as everywhere."""

MAX_SEEN: Final = 16_384
"""Gossip ids that a node remembers."""

_PARTS: Final = 5
"""Empty, "memory", number, "p2p", peer id."""


@dataclass(slots=True)
class Weather:
    """What the hub does to traffic; seconds and shares, changed by tests at any time."""

    min_delay: float = 0.0
    max_delay: float = 0.0
    gossip_loss: float = 0.0


class MemoryNetwork:
    """The hub: who listens where, who may reach whom, and how slowly. One event loop, one seed."""

    def __init__(self, seed: int = 0, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self._random = random.Random(seed)
        self._listening: dict[int, MemoryTransport] = {}
        self._islands: tuple[frozenset[NodeId], ...] = ()
        self._frozen: set[NodeId] = set()
        self._in_flight = 0
        self._next = 1

    def partition(self, *islands: Iterable[NodeId]) -> None:
        """Let only nodes of one island reach each other; connections between islands fall silent but stay open."""
        self._islands = tuple(frozenset(island) for island in islands)

    def heal(self) -> None:
        """End every partition and thaw every node."""
        self._islands = ()
        self._frozen.clear()

    def freeze(self, node: NodeId) -> None:
        """Make a node silent, as a stopped process: its connections stay open and nothing moves."""
        self._frozen.add(node)

    def reaches(self, a: NodeId, b: NodeId) -> bool:
        """Whether traffic passes between two nodes now."""
        if self._frozen & {a, b}:
            return False
        return not self._islands or any(a in island and b in island for island in self._islands)

    # For transports

    def listen(self, transport: "MemoryTransport", number: int) -> int:
        """Take an address number, 0 for any. Raises MachineError if it is taken."""
        if number == 0:
            while self._next in self._listening:
                self._next += 1
            number = self._next
        if number in self._listening:
            raise MachineError(f"cannot listen on /memory/{number}: taken", hint="choose another number", code="port_in_use")
        self._listening[number] = transport
        return number

    def leave(self, number: int) -> None:
        """Give an address number back."""
        self._listening.pop(number, None)

    def find(self, number: int) -> "MemoryTransport | None":
        """Who listens at a number."""
        return self._listening.get(number)

    def delay(self) -> float:
        """Seconds that the next delivery takes."""
        return self._random.uniform(self.weather.min_delay, self.weather.max_delay)

    def later(self, deliver: Callable[[], None]) -> None:
        """Deliver gossip after the delay, or lose it."""
        if self._random.random() < self.weather.gossip_loss or self._in_flight >= MAX_IN_FLIGHT:
            return
        self._in_flight += 1

        def arrive() -> None:
            self._in_flight -= 1
            deliver()

        asyncio.get_running_loop().call_later(self.delay(), arrive)


@dataclass(frozen=True, slots=True)
class _Link:
    info: ConnectionInfo
    other: "MemoryTransport"
    cut: asyncio.Event


class MemoryTransport:
    """`bflcd.net.protocol.Transport` over a `MemoryNetwork`; addresses are `/memory/NUMBER/p2p/ID`."""

    def __init__(self, network: MemoryNetwork, identity: Identity, gate: Gate, number: int = 0) -> None:
        self._network = network
        self._identity = identity
        self._gate = gate
        self._number = number
        self._links: dict[NodeId, _Link] = {}
        self._peer_handler: PeerEventHandler = lambda _event: None
        self._topics: dict[str, Subscription] = {}
        self._services: dict[str, Service] = {}
        self._slots: dict[tuple[NodeId, str], asyncio.Semaphore] = {}
        self._seen: OrderedDict[tuple[NodeId, int], None] = OrderedDict()
        self._serial = 0
        self._running = False
        self._closed: asyncio.Event | None = None

    @property
    def node_id(self) -> NodeId:
        """Our own id."""
        return self._identity.node_id

    # Life

    async def start(self) -> None:
        """See `Transport.start`."""
        self._require_unstarted()
        self._number = self._network.listen(self, self._number)
        self._running = True
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """See `Transport.close`."""
        if not self._running:
            return
        self._running = False
        self._network.leave(self._number)
        for peer in tuple(self._links):
            self._cut(peer)
        assert self._closed is not None
        self._closed.set()
        await asyncio.sleep(0)

    async def wait_closed(self) -> None:
        """See `Transport.wait_closed`."""
        if self._closed is None:
            raise InvariantError("the network was not started")
        await self._closed.wait()

    # Peers

    def lag(self) -> float:
        """See `Transport.lag`."""
        return 0.0

    def addresses(self) -> tuple[str, ...]:
        """See `Transport.addresses`."""
        return (f"/memory/{self._number}/p2p/{peer_id_of(self.node_id)}",) if self._closed is not None else ()

    async def dial(self, address: str, deadline: float, *, check: HostCheck = anywhere) -> NodeId:  # noqa: ARG002 - no names here
        """See `Transport.dial`."""
        try:
            number, peer = _parse(address)
        except ValueError as error:
            raise DialError(address, "parse", str(error)) from error
        if peer == self.node_id or not self._gate(peer):
            raise DialError(address, "identity", "that is this node itself, or a peer that is barred here")
        if peer in self._links:
            return peer
        await asyncio.sleep(min(self._network.delay(), deadline))
        other = self._network.find(number)
        if other is None or not self._running:
            raise DialError(address, "connect", "nobody listens there")
        if not self._network.reaches(self.node_id, other.node_id):
            await asyncio.sleep(deadline)
            raise DialError(address, "connect", f"no answer within {deadline:g} s")
        if other.node_id != peer:
            raise DialError(address, "identity", f"{peer_id_of(other.node_id)} answers there")
        if not other._gate(self.node_id):  # noqa: SLF001 - the hub's two ends
            raise DialError(address, "identity", "the peer closed the connection after the handshake; perhaps it bars this node")
        if peer not in self._links:
            self._link(other, address)
        return peer

    async def disconnect(self, peer: NodeId) -> None:
        """See `Transport.disconnect`."""
        if peer in self._links:
            self._cut(peer)
        await asyncio.sleep(0)

    def connections(self) -> tuple[ConnectionInfo, ...]:
        """See `Transport.connections`."""
        return tuple(link.info for link in self._links.values())

    def on_peer_event(self, handler: PeerEventHandler) -> None:
        """See `Transport.on_peer_event`."""
        self._require_unstarted()
        self._peer_handler = handler

    def _link(self, other: "MemoryTransport", address: str) -> None:
        cut = asyncio.Event()
        own = f"/memory/{self._number}/p2p/{peer_id_of(self.node_id)}"
        self._open(_Link(ConnectionInfo(other.node_id, address, inbound=False), other, cut))
        other._open(_Link(ConnectionInfo(self.node_id, own, inbound=True), self, cut))  # noqa: SLF001 - the other end

    def _open(self, link: _Link) -> None:
        self._links[link.info.peer] = link
        self._tell(Connected(link.info.peer, link.info.address, link.info.inbound))

    def _cut(self, peer: NodeId) -> None:
        link = self._links[peer]
        link.cut.set()
        self._lose(peer)
        link.other._lose(self.node_id)  # noqa: SLF001 - the other end

    def _lose(self, peer: NodeId) -> None:
        del self._links[peer]
        self._tell(Disconnected(peer))

    def _tell(self, event: PeerEvent) -> None:
        asyncio.get_running_loop().call_soon(self._peer_handler, event)

    # Gossip

    def subscribe(
        self, topic: str, handler: GossipHandler, *, relays: Relay = relay_all, on_flood: FloodHandler = ignore_flood
    ) -> None:
        """See `Transport.subscribe`."""
        self._require_unstarted()
        self._topics[topic] = Subscription(handler, relays, on_flood)

    async def publish(self, topic: str, message: bytes) -> None:
        """See `Transport.publish`."""
        check_gossip(message)
        if not self._running:
            raise RequestError("the network is not running")
        self._serial += 1
        key = (self.node_id, self._serial)
        self._remember(key)
        self._flood(topic, key, message, came_from=self.node_id)

    def _flood(self, topic: str, key: tuple[NodeId, int], message: bytes, came_from: NodeId) -> None:
        for link in tuple(self._links.values()):
            if link.info.peer != came_from:
                self._network.later(_Parcel(self, link, topic, key, message).arrive)

    def _receive_gossip(self, forwarder: NodeId, topic: str, key: tuple[NodeId, int], message: bytes) -> None:
        if key in self._seen or topic not in self._topics or not self._running:
            return
        topical = self._topics[topic]
        onward = topical.relays(message)
        if not onward and key[0] != forwarder:
            return
        self._remember(key)
        topical.handler(key[0], message)
        if onward:
            self._flood(topic, key, message, came_from=forwarder)

    def _remember(self, key: tuple[NodeId, int]) -> None:
        self._seen[key] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    # Requests

    def serve(self, protocol: str, handler: RequestHandler, *, max_request: int, max_concurrent: int) -> None:
        """See `Transport.serve`."""
        self._require_unstarted()
        check_service(protocol, max_request, max_concurrent)
        self._services[protocol] = Service(handler, max_request, max_concurrent)

    async def request(self, peer: NodeId, protocol: str, payload: bytes, *, deadline: float, max_response: int) -> bytes:
        """See `Transport.request`."""
        check_request(protocol, payload, max_response)
        link = self._links.get(peer)
        if link is None:
            raise RequestError(f"{short(peer)} is not connected, {protocol} can't be asked")
        try:
            async with asyncio.timeout(deadline):
                response = await self._exchange(link, protocol, payload)
        except TimeoutError:
            raise RequestError(f"{short(peer)} did not answer {protocol} within {deadline:g} s") from None
        if len(response) > max_response:
            raise RequestError(f"{short(peer)} answered {protocol} with {len(response)} bytes, allowed are {max_response}")
        return response

    async def _exchange(self, link: _Link, protocol: str, payload: bytes) -> bytes:
        """Run the peer's handler, unless the link is cut first; silence between islands lasts until the deadline."""
        peer = link.info.peer
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._carry(link, protocol, payload))
            cut = group.create_task(link.cut.wait())
            await asyncio.wait((work, cut), return_when=asyncio.FIRST_COMPLETED)
            cut.cancel()
            if not work.done():
                work.cancel()
                raise_lost = True
            else:
                raise_lost = False
        if raise_lost:
            raise RequestError(f"the connection to {short(peer)} was lost during {protocol}")
        response = work.result()
        if response is None:
            raise RequestError(f"{short(peer)} refused {protocol}")
        return response

    async def _carry(self, link: _Link, protocol: str, payload: bytes) -> bytes | None:
        peer = link.info.peer
        await self._pass(peer)
        response = await link.other._answer(self.node_id, protocol, payload)  # noqa: SLF001 - the other end
        await self._pass(peer)
        return response

    async def _pass(self, peer: NodeId) -> None:
        """Wait for the delay, and while the two nodes can't reach each other."""
        await asyncio.sleep(self._network.delay())
        while not self._network.reaches(self.node_id, peer):  # noqa: ASYNC110 - the caller has a deadline
            await asyncio.sleep(0.01)

    async def _answer(self, peer: NodeId, protocol: str, payload: bytes) -> bytes | None:
        if protocol not in self._services or not self._gate(peer):
            return None
        service = self._services[protocol]
        if len(payload) > service.max_request:
            return None
        async with self._slots.setdefault((peer, protocol), asyncio.Semaphore(service.max_concurrent)):
            try:
                return await service.handler(peer, payload)
            except Exception:  # noqa: BLE001 - by contract a handler's error closes the stream and costs nothing else
                return None

    def _require_unstarted(self) -> None:
        if self._closed is not None:
            raise InvariantError("handlers are registered, and start() is called, once and before the start")


@dataclass(frozen=True, slots=True)
class _Parcel:
    """One gossip message on its way over one link."""

    sender: MemoryTransport
    link: _Link
    topic: str
    key: tuple[NodeId, int]
    message: bytes

    def arrive(self) -> None:
        """Hand it over if the link still stands and traffic passes."""
        network: Any = self.sender._network  # noqa: SLF001 - the hub's own parcel
        if not self.link.cut.is_set() and network.reaches(self.sender.node_id, self.link.info.peer):
            self.link.other._receive_gossip(self.sender.node_id, self.topic, self.key, self.message)  # noqa: SLF001 - as above


def _parse(address: str) -> tuple[int, NodeId]:
    parts = address.split("/")
    if len(parts) != _PARTS or parts[:2] != ["", "memory"] or parts[3] != "p2p" or not parts[2].isdigit():
        raise ValueError(f"{address!r} is not of the form /memory/NUMBER/p2p/ID")
    return int(parts[2]), node_id_of(parts[4])
