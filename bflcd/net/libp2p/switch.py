"""The switch: accepts, dials and closes connections, one a peer, and hands each inbound stream to its protocol."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio
from trio_typing import TaskStatus

from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.errors import DialError
from bflcd.net import multiaddr
from bflcd.net.libp2p.attempt import Attempt
from bflcd.net.libp2p.budget import (
    HANDSHAKE_RATE,
    HANDSHAKE_S,
    MAX_HANDSHAKES,
    MAX_SILENT,
    MAX_STRANGERS,
    MAX_STREAMS,
    NEGOTIATE_S,
    STRANGER_S,
    STRANGER_STREAMS,
    TURN_S,
    AddressRates,
    Crowd,
    Lines,
    Negotiator,
    place_of,
)
from bflcd.net.libp2p.connection import Connection
from bflcd.net.libp2p.frames import Frames
from bflcd.net.libp2p.handshake import Handshaker, TcpStream
from bflcd.net.libp2p.library import (
    BaseLibp2pError,
    Multiselect,
    MuxedConnUnavailable,
    NetStream,
)
from bflcd.net.libp2p.yamux import LeanYamux, PatientStream
from bflcd.net.protocol import Connected, ConnectionInfo, Disconnected, Gate, HostCheck, PeerEvent, anywhere
from bflcd.types import NodeId, short

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 512
"""Open connections; a community dials sparsely."""

_SIMULTANEOUS_S: Final = 10.0
"""Two connections in opposite directions opened within this time come from dialling each other at once."""

_TIE_WAIT_S: Final = 0.5
"""How long a dial that lost against the peer's own dial waits for the winner to be ready."""

_WARN_EVERY_S: Final = 60.0

_LOOK_S: Final = 1.0
"""How often strangers are looked at."""

StreamHandler = Callable[["Connection", Frames], Awaitable[None]]
"""Serves one inbound stream of a protocol until it ends; may raise, which resets the stream."""


class RefusedError(Exception):
    """A connection was not admitted: closed by the peer, or another one to the same peer is kept."""


class Switch:
    """Owns every connection; lives in the trio thread."""

    def __init__(self, identity: Identity, gate: Gate, on_event: Callable[[PeerEvent], None], hears: Gate) -> None:
        """`gate`: who may connect at all; `hears`: who is a member, asked anew each time, since a stranger may become one."""
        self.node_id = identity.node_id
        self.connections: dict[NodeId, Connection] = {}
        self.snapshot: tuple[ConnectionInfo, ...] = ()
        self.handshaker = Handshaker(identity)
        self._gate = gate
        self._hears = hears
        self._on_event = on_event
        self._handlers: dict[str, StreamHandler] = {}
        self._dialling: dict[NodeId, trio.Lock] = {}
        self._silent: Crowd[trio.CancelScope] = Crowd(MAX_SILENT)
        self._handshakes: Crowd[trio.CancelScope] = Crowd(MAX_HANDSHAKES)
        self._strangers: Crowd[Connection] = Crowd(MAX_STRANGERS)
        self._rates = AddressRates(HANDSHAKE_RATE)
        self._lines = Lines(_log.info)
        self._warned = -_WARN_EVERY_S
        self._nursery: trio.Nursery | None = None
        self.greet: Callable[[Connection], Awaitable[None]] = _greet_nobody
        self.on_gone: Callable[[Connection], None] = lambda _connection: None

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """Register the handler of a stream protocol."""
        self._handlers[protocol] = handler

    def protocols(self) -> tuple[str, ...]:
        """Those that have a handler."""
        return tuple(self._handlers)

    async def run(self, listeners: list[trio.SocketListener], *, task_status: TaskStatus[None]) -> None:
        """Serve until cancelled; then every connection is closed."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(trio.serve_listeners, self._accept, listeners)
            nursery.start_soon(self._look_at_strangers)
            task_status.started()

    async def drop(self, connection: Connection) -> None:
        """Close a connection and wait until it is gone."""
        connection.abort()
        await connection.gone.wait()

    def drop_soon(self, connection: Connection, reason: str) -> None:
        """Close a connection from within one of its own tasks."""
        if not (connection.scope.cancel_called or connection.muxed_conn.event_shutting_down.is_set()):
            say = _log.info if self.trusts(connection) else self._lines.say
            say("closing the connection to %s: %s", short(connection.peer), reason)
        connection.abort()

    def trusts(self, connection: Connection) -> bool:
        """Whether whoever is there gets what a member gets: it is one, or we have chosen to dial it."""
        return not connection.info.inbound or self._hears(connection.peer)

    def abort_all(self) -> None:
        """End every connection at once."""
        for connection in self.connections.values():
            connection.abort()

    async def disconnect(self, peer: NodeId) -> None:
        """Close the connection to `peer`, if there is one."""
        connection = self.connections.get(peer)
        if connection is not None:
            await self.drop(connection)

    # Dialling

    async def dial(self, text: str, deadline: float, check: HostCheck = anywhere) -> NodeId:
        """See `Transport.dial`."""
        try:
            address, peer = multiaddr.parse_dialable(text)
        except ValueError as error:
            raise DialError(text, "parse", str(error)) from error
        if peer == self.node_id:
            raise DialError(text, "identity", "that is this node itself")
        if not self._gate(peer):
            raise DialError(text, "identity", "this peer is barred here")
        attempt = Attempt(text, address, peer, check)
        with trio.move_on_after(deadline):
            lock = self._dialling.setdefault(peer, trio.Lock())
            try:
                async with lock:
                    if peer not in self.connections:
                        await self._connect(attempt)
            finally:
                if not lock.statistics().tasks_waiting and not lock.locked():
                    self._dialling.pop(peer, None)
            return peer
        raise attempt.error(f"no answer within {deadline:g} s")

    async def _connect(self, attempt: Attempt) -> None:
        stream = TcpStream(await attempt.open_socket())
        attempt.step = "handshake"
        try:
            peer, muxed = await self.handshaker.outbound(stream)
        except Exception as error:
            stream.abort()
            raise attempt.error(f"no Noise and Yamux there ({type(error).__name__}: {error})") from error
        except BaseException:
            stream.abort()
            raise
        if peer != attempt.peer:
            stream.abort()
            attempt.step = "identity"
            raise attempt.error(f"{peer_id_of(peer)} answers there")
        connection = self._connection(muxed, stream, str(attempt.address), peer, inbound=False)
        assert self._nursery is not None
        try:
            await self._nursery.start(self._run, connection)
        except RefusedError as refusal:
            # The peer may have dialled us at the same time, and its connection won.
            with trio.move_on_after(_TIE_WAIT_S):
                while peer not in self.connections:  # noqa: ASYNC110 - rare, and bounded by the deadline above
                    await trio.sleep(0.01)
                return
            attempt.step = "identity"
            raise attempt.error(f"{refusal}; perhaps it bars this node") from refusal

    # Accepting

    async def _accept(self, socket_stream: trio.SocketStream) -> None:
        stream = TcpStream(socket_stream)
        try:
            connection = await self._upgrade(stream)
            if connection is not None:
                await self._run(connection)
        except RefusedError as refusal:
            _log.debug("inbound connection not kept: %s", refusal)
        except Exception as error:  # noqa: BLE001 - a stranger's bytes may raise anything in the library; it costs this socket only
            _log.debug("inbound connection failed: %s: %s", type(error).__name__, error)
        finally:
            stream.abort()

    async def _upgrade(self, stream: TcpStream) -> Connection | None:
        """The inbound handshake; none if the limits or the gate refuse."""
        remote = stream.get_remote_address()
        if remote is None or len(self.connections) >= MAX_CONNECTIONS:
            self._warn_full()
            return None
        place = place_of(remote[0])
        with trio.CancelScope(deadline=trio.current_time() + HANDSHAKE_S) as scope:
            with _among(self._silent, scope, place):
                spoken = await stream.has_spoken()
            # Who says nothing uses up nobody's turn, least of all that of others behind the same address.
            turn = self._rates.turn(place, TURN_S) if spoken else None
            if turn is None:
                if spoken:
                    self._lines.say("refusing inbound connections from %s: too many within a moment", remote[0])
                return None
            with _among(self._handshakes, scope, place):
                await trio.sleep(turn)
                peer, muxed = await self.handshaker.inbound(stream)
        if scope.cancelled_caught:
            return None
        if peer == self.node_id or not self._gate(peer):
            self._lines.say("refusing an inbound connection of %s: barred", short(peer))
            return None
        return self._connection(muxed, stream, str(multiaddr.of_socket(*remote, peer)), peer, inbound=True)

    def _warn_full(self) -> None:
        """Tell the operator at most once a minute."""
        if trio.current_time() - self._warned > _WARN_EVERY_S:
            self._warned = trio.current_time()
            waiting = len(self._silent) + len(self._handshakes)
            _log.warning("refusing inbound connections: %d open, %d in handshake", len(self.connections), waiting)

    def _connection(self, muxed: LeanYamux, stream: TcpStream, address: str, peer: NodeId, *, inbound: bool) -> Connection:
        info = ConnectionInfo(peer, address, inbound)
        return Connection(info, muxed, stream, peer if inbound else self.node_id, trio.current_time())

    # A connection's life

    async def _run(self, connection: Connection, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Admit a connection and serve its streams until it ends. Raises RefusedError if it was never admitted."""
        refusal: str | None = "the peer closed the connection after the handshake"
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._mux, connection)
                    await connection.muxed_conn.event_started.wait()
                    if connection.info.inbound or await _is_confirmed(connection):
                        refusal = await self._admit(connection)
                    if refusal is None:
                        task_status.started()
                        nursery.start_soon(self._greet, connection)
                        await self._accept_streams(connection, nursery)
                    nursery.cancel_scope.cancel()
        except Exception:  # noqa: BLE001 - what breaks one connection must not end the network
            _log.exception("the connection to %s failed", short(connection.peer))
        finally:
            connection.stream.abort()
            connection.muxed_conn.abandon()
            if self.connections.get(connection.peer) is connection:
                self._forget(connection)
            connection.gone.set()
        if refusal is not None:
            raise RefusedError(refusal)

    async def _mux(self, connection: Connection) -> None:
        """Read frames until the connection ends; then end everything that uses it."""
        try:
            await connection.muxed_conn.start()
        finally:
            connection.abort()

    async def _admit(self, connection: Connection) -> str | None:
        """Register `connection` as the only one to its peer; else why not."""
        while (older := self.connections.get(connection.peer)) is not None:
            if not _supersedes(connection, older):
                return "another connection to this peer is kept"
            await self.drop(older)
        self.connections[connection.peer] = connection
        if self.trusts(connection):
            connection.muxed_conn.trust()
        else:
            remote = connection.stream.get_remote_address()
            oldest = self._strangers.add(connection, place_of(remote[0]) if remote else "")
            if oldest is not None:
                self.drop_soon(oldest, f"more than {MAX_STRANGERS} strangers")
        self._publish_snapshot()
        info = connection.info
        self._on_event(Connected(info.peer, info.address, info.inbound))
        return None

    async def _look_at_strangers(self) -> None:
        """Who has become a member gets what members get; all others leave after a while."""
        while True:
            await trio.sleep(_LOOK_S)
            for connection in self._strangers:
                if self.trusts(connection):
                    self._strangers.remove(connection)
                    connection.muxed_conn.trust()
                elif trio.current_time() - connection.opened > STRANGER_S:
                    self.drop_soon(connection, f"a stranger for {STRANGER_S:g} s")

    async def _greet(self, connection: Connection) -> None:
        """Run the greeting within the connection's life, so that two of one peer never overlap."""
        try:
            await self.greet(connection)
        except Exception as error:  # noqa: BLE001 - whatever the library raises, this peer can't be spoken to
            self.drop_soon(connection, f"greeting failed: {type(error).__name__}: {error}")

    def _forget(self, connection: Connection) -> None:
        del self.connections[connection.peer]
        self._strangers.remove(connection)
        self._publish_snapshot()
        self.on_gone(connection)
        self._on_event(Disconnected(connection.peer))

    def _publish_snapshot(self) -> None:
        self.snapshot = tuple(connection.info for connection in self.connections.values())

    async def _accept_streams(self, connection: Connection, nursery: trio.Nursery) -> None:
        while True:
            try:
                stream = await connection.muxed_conn.accept_stream()
            except MuxedConnUnavailable:
                return
            room = MAX_STREAMS if self.trusts(connection) else STRANGER_STREAMS
            if connection.inbound_streams >= room:
                self.drop_soon(connection, f"more than {room} streams open at once")
                return
            connection.inbound_streams += 1
            nursery.start_soon(self._serve_stream, connection, stream)

    async def _serve_stream(self, connection: Connection, stream: PatientStream) -> None:
        """Agree on a protocol and serve it; whatever goes wrong costs this stream only."""
        protocol = None
        try:
            if not self._gate(connection.peer):
                self.drop_soon(connection, "barred since it connected")
                return
            communicator = Negotiator(NetStream(stream, None, None))
            protocol, _ = await Multiselect(dict.fromkeys(self._handlers)).negotiate(communicator, NEGOTIATE_S)
            await self._handlers[protocol](connection, Frames(stream))
        except Exception as error:  # noqa: BLE001 - as in _accept: a peer's bytes may raise anything, and it costs the stream only
            _log.debug("stream %s of %s ended: %s: %s", protocol, short(connection.peer), type(error).__name__, error)
        finally:
            connection.inbound_streams -= 1
            with trio.CancelScope(shield=True):
                if not connection.muxed_conn.event_shutting_down.is_set():
                    await stream.reset()


@contextmanager
def _among(crowd: Crowd[trio.CancelScope], scope: trio.CancelScope, place: str) -> Iterator[None]:
    """One of a crowd for the block; who has to go for it is cancelled."""
    if (oldest := crowd.add(scope, place)) is not None:
        oldest.cancel()
    try:
        yield
    finally:
        crowd.remove(scope)


async def _greet_nobody(_connection: Connection) -> None:
    """The greeting until gossip runs."""


def _supersedes(new: Connection, old: Connection) -> bool:
    """Whether `new` replaces `old`; both ends decide the same.

    Dialled at each other at once: the lower id's stays. Otherwise the peer has lost the old one, or it would not dial.
    """
    if new.initiator != old.initiator and new.opened - old.opened < _SIMULTANEOUS_S:
        return new.initiator < old.initiator
    return True


async def _is_confirmed(connection: Connection) -> bool:
    """Whether the peer that we dialled has accepted us; one that dies meanwhile has not, and that is no fault of ours."""
    try:
        await connection.muxed_conn.confirm()
    except BaseLibp2pError as error:
        _log.debug("%s is gone before it accepted us: %s", short(connection.peer), error)
        return False
    return True
