"""The libp2p transport: what the daemon's asyncio side sees of the trio thread."""

import asyncio
import errno
import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from bflcd.crypto.identity import Identity
from bflcd.errors import DialError, InvariantError, MachineError, OperatorError, RequestError
from bflcd.net import multiaddr
from bflcd.net.libp2p.bridge import Bridge
from bflcd.net.multiaddr import Address
from bflcd.net.protocol import (
    ConnectionInfo,
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

if TYPE_CHECKING:
    from bflcd.net.libp2p.node import Node

_GRACE_S: Final = 0.5
"""How much later than the trio thread the asyncio side gives up a dial, so that the step that failed is known."""

_LISTEN_ERRORS: Final = {
    errno.EADDRINUSE: ("port_in_use", "another program listens there", "stop it, or choose another port with --listen"),
    errno.EADDRNOTAVAIL: ("address_unavailable", "this machine has no such address", "choose one of its own with --listen"),
    errno.EACCES: ("permission", "not permitted", "choose a port above 1023 with --listen"),
    errno.EPERM: ("permission", "not permitted", "choose another port with --listen"),
}


class Libp2pTransport:
    """`bflcd.net.protocol.Transport` over TCP, Noise, Yamux and GossipSub."""

    def __init__(self, identity: Identity, listen: tuple[str, ...], gate: Gate, *, hears: Gate = lambda _peer: True) -> None:
        """Take our key, the multiaddrs to listen on (port 0: any), who may connect, and whom gossip is sent to.

        Both gates are called in the network's thread. Raises OperatorError.
        """
        try:
            self._listen = tuple(multiaddr.parse_listening(text) for text in listen)
        except ValueError as error:
            raise OperatorError(str(error), hint="use /ip4/0.0.0.0/tcp/PORT", code="bad_listen_address") from error
        self._identity = identity
        self._gate = gate
        self._hears = hears
        self._bridge = Bridge("bflcd-network")
        self._node: Node | None = None
        self._bound: tuple[Address, ...] = ()
        self._peer_handler: PeerEventHandler = _ignore
        self._topics: dict[str, Subscription] = {}
        self._services: dict[str, Service] = {}
        self._started = False

    @property
    def node_id(self) -> NodeId:
        """Our own id."""
        return self._identity.node_id

    # Life

    async def start(self) -> None:
        """See `Transport.start`."""
        self._require_unstarted()
        self._started = True
        # The library's import blocks for a second; here it does so in another thread, and only in daemons.
        module = await asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "bflcd.net.libp2p.node")
        await self._bridge.start(partial(self._main_in_trio, module))

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._bridge.stop()

    async def wait_closed(self) -> None:
        """See `Transport.wait_closed`."""
        await self._bridge.wait_ended()

    async def _main_in_trio(self, module: Any, stop: trio.Event, ready: Callable[[], None]) -> None:
        listeners = [listener for address in self._listen for listener in await _open_listeners(address)]
        self._bound = tuple(_bound_address(listener, self.node_id) for listener in listeners)
        topics = {topic: subscription.relays for topic, subscription in self._topics.items()}
        told = module.Told(self._event_in_trio, self._gossip_in_trio, self._flood_in_trio)
        node: Node = module.Node(self._identity, self._gate, topics, told, hears=self._hears)
        for protocol, service in self._services.items():
            ask = partial(self._bridge.ask_in_trio, service.handler)
            node.serve(protocol, ask, max_request=service.max_request, max_concurrent=service.max_concurrent)
        self._node = node
        await node.run(listeners, stop, ready)

    def lag(self) -> float:
        """See `Transport.lag`."""
        return self._bridge.lateness.seconds

    # Peers

    def addresses(self) -> tuple[str, ...]:
        """See `Transport.addresses`."""
        return tuple(str(address) for address in self._bound)

    async def dial(self, address: str, deadline: float, *, check: HostCheck = anywhere) -> NodeId:
        """See `Transport.dial`."""
        try:
            async with asyncio.timeout(deadline + _GRACE_S):
                return await self._bridge.call(self._running().dial, address, deadline, check)
        except TimeoutError:
            raise DialError(address, "connect", f"no answer within {deadline:g} s") from None
        except RequestError as error:
            raise DialError(address, "connect", str(error)) from error

    async def disconnect(self, peer: NodeId) -> None:
        """See `Transport.disconnect`."""
        await self._bridge.call(self._running().disconnect, peer)

    def connections(self) -> tuple[ConnectionInfo, ...]:
        """See `Transport.connections`."""
        return () if self._node is None else self._node.connections()

    def on_peer_event(self, handler: PeerEventHandler) -> None:
        """See `Transport.on_peer_event`."""
        self._require_unstarted()
        self._peer_handler = handler

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
        await self._bridge.call(self._running().publish, topic, message)

    # Requests

    def serve(self, protocol: str, handler: RequestHandler, *, max_request: int, max_concurrent: int) -> None:
        """See `Transport.serve`."""
        self._require_unstarted()
        check_service(protocol, max_request, max_concurrent)
        self._services[protocol] = Service(handler, max_request, max_concurrent)

    async def request(self, peer: NodeId, protocol: str, payload: bytes, *, deadline: float, max_response: int) -> bytes:
        """See `Transport.request`."""
        check_request(protocol, payload, max_response)
        try:
            async with asyncio.timeout(deadline):
                return await self._bridge.call(self._running().request, peer, protocol, payload, max_response)
        except TimeoutError:
            raise RequestError(f"{short(peer)} did not answer {protocol} within {deadline:g} s") from None

    # Events out of the trio thread

    def _event_in_trio(self, event: PeerEvent) -> None:
        self._bridge.deliver_in_trio(self._peer_event, event, lossy=False)

    def _peer_event(self, event: PeerEvent) -> None:
        self._peer_handler(event)

    def _gossip_in_trio(self, topic: str, forwarder: NodeId, message: bytes) -> None:
        self._bridge.deliver_in_trio(self._gossip, topic, forwarder, message, lossy=True)

    def _gossip(self, topic: str, forwarder: NodeId, message: bytes) -> None:
        if not self._topics[topic].handler(forwarder, message):
            self._bridge.tell(self._running().strike, forwarder)

    def _flood_in_trio(self, peer: NodeId) -> None:
        for subscription in self._topics.values():
            self._bridge.deliver_in_trio(subscription.on_flood, peer, lossy=True)

    def _running(self) -> "Node":
        if self._node is None:
            raise InvariantError("the transport is used before start()")
        return self._node

    def _require_unstarted(self) -> None:
        if self._started:
            raise InvariantError("handlers are registered, and start() is called, once and before the start")


async def _open_listeners(address: Address) -> list[trio.SocketListener]:
    """Listen without SO_REUSEPORT, which the library sets: two daemons would share a port without noticing."""
    try:
        return list(await trio.open_tcp_listeners(address.port, host=address.host))
    except OSError as error:
        known = _LISTEN_ERRORS.get(error.errno or 0)
        code, reason, hint = known or ("listen_failed", error.strerror or str(error), "choose another address with --listen")
        raise MachineError(f"cannot listen on {address}: {reason}", hint=hint, code=code) from error


def _bound_address(listener: trio.SocketListener, node_id: NodeId) -> Address:
    host, port, *_ = listener.socket.getsockname()
    return multiaddr.of_socket(host, port, node_id)


def _ignore(_event: PeerEvent) -> None:
    """The peer event handler until one is registered."""
