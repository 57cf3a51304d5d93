"""GossipSub 1.1 with its own front door: one signature per new message, bounded input, no task per message."""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio
from trio_typing import TaskStatus

from bflcd.crypto.identity import Identity, verify
from bflcd.net.libp2p.allowances import Allowances
from bflcd.net.libp2p.budget import CONTROL_BYTES, UNSENT_BYTES
from bflcd.net.libp2p.connection import Connection
from bflcd.net.libp2p.frames import Frames
from bflcd.net.libp2p.heard import Seen, Told
from bflcd.net.libp2p.library import (
    ID,
    PROTOCOL_ID_V11,
    PUBSUB_SIGNING_PREFIX,
    BaseLibp2pError,
    GossipSub,
    PriorityQueue,
    Pubsub,
    message_id_of,
    rpc_pb2,
)
from bflcd.net.libp2p.packet import PacketError, bound_control, check_packet
from bflcd.net.libp2p.surroundings import Host, Tasks, node_of, peer_of
from bflcd.net.libp2p.switch import Switch
from bflcd.net.protocol import MAX_GOSSIP_BYTES, Gate, Relay
from bflcd.types import NodeId, Signature, short

_log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 1
"""Mesh repair and lazy gossip; the library's default is two minutes."""

TOLD_BESIDE: Final = 2
"""Peers beside the mesh that hear at each heartbeat which messages there are. Each message is told of for three heartbeats by all
who have it. With the library's six a node writes and reads a dozen packets a second."""

MAX_STRIKES: Final = 64
"""Worthless messages a minute after which a forwarder is disconnected."""

_MAX_RPC_BYTES: Final = 1024 * 1024
"""Largest packet of several messages; also the library's."""

_QUEUE_RPCS: Final = 1024
"""Packets waiting for a peer; the library's 32 drop a burst of votes."""

_GATHER_S: Final = 0.002
"""How long a packet waits for more messages: votes, cards and beacons come in bursts, and a packet costs more than a message."""

_GATHER_BYTES: Final = 64 * 1024
"""A packet of this size waits no longer."""

_SEQNO_BYTES: Final = 8
_STRIKE_WINDOW_S: Final = 60.0
_SIGNED_PREFIX: Final = str(PUBSUB_SIGNING_PREFIX).encode()

Deliver = Callable[[str, NodeId, bytes], None]
"""Takes topic, publisher (its signature was verified) and message; must not block."""


Flooded = Callable[[NodeId], None]
"""Takes who said more than an author may, or brought what no honest node passes on; must not block."""


class _BoundedQueue(PriorityQueue):  # type: ignore[misc]
    """What waits to be sent to a peer, bounded in packets and in bytes; who reads nothing for so long is given up."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        super().__init__(_QUEUE_RPCS)
        self._give_up = give_up
        self._unsent = 0

    def push(self, rpc: Any, priority: bool = False) -> bool:
        """As the library's."""
        size = rpc.ByteSize()
        if self._unsent + size > UNSENT_BYTES:
            self._give_up()
            return False
        pushed = bool(super().push(rpc, priority))
        self._unsent += size if pushed else 0
        return pushed

    def pop(self) -> Any:
        """As the library's."""
        rpc = super().pop()
        self._unsent -= 0 if rpc is None else rpc.ByteSize()
        return rpc


class _Router(GossipSub):  # type: ignore[misc]
    """The library's, telling fewer of what they might have missed: it has no parameter for it."""

    def _get_adaptive_gossip_peers_count(self, topic: str, total_peers: int) -> int:
        del topic, total_peers
        return TOLD_BESIDE


class Gossip(Pubsub):  # type: ignore[misc]
    """The library's GossipSub behind our own reading, checking, signing and clean-up."""

    seen_messages: Any

    def __init__(
        self,
        identity: Identity,
        switch: Switch,
        relays: Mapping[str, Relay],
        *,
        deliver: Deliver,
        flooded: Flooded,
        hears: Gate,
    ) -> None:
        """`relays`: our topics, and what of each is passed on; `hears`: whose messages count, and who is sent any: asked at each
        packet, since a stranger may become a member."""
        router = _Router(
            [PROTOCOL_ID_V11],  # P3: later versions announce every message to every mesh peer
            degree=4,  # of a dozen members each is two hops away, and each message arrives three times, not five
            degree_low=3,
            degree_high=6,
            heartbeat_initial_delay=0.2,
            heartbeat_interval=HEARTBEAT_S,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,  # counts a forwarder's burst of ten as spam
            eclipse_protection_enabled=False,
        )
        # The library notes the time of every message, and forgets them only where it adapts its gossip.
        router.recent_message_deliveries = defaultdict(lambda: deque(maxlen=0))
        router.scorer = None  # weighs nothing by default, yet costs a lookup per message and peer
        super().__init__(Host(switch), router, strict_signing=False, allowed_topics=frozenset(relays))
        self.seen_messages.stop()
        self.seen_messages = Seen()
        self._identity = identity
        self._switch = switch
        self._topics = tuple(relays)
        self._relays = relays
        self._deliver = deliver
        self._flooded = flooded
        self._hears = hears
        self._seqno = time.time_ns()
        self._allowances = Allowances()
        self._told = Told()
        self._strikes: dict[NodeId, tuple[float, int]] = {}
        switch.handle(PROTOCOL_ID_V11, self.serve)

    async def run_gossip(self, *, task_status: TaskStatus[None]) -> None:
        """Subscribe to our topics and keep the mesh until cancelled."""
        async with trio.open_nursery() as nursery:
            self._manager = Tasks(nursery)
            for topic in self._topics:
                await self.subscribe(topic)
            self._switch.greet = self.greet
            self._switch.on_gone = self.gone
            task_status.started()
            await self.router.heartbeat()

    # Connections

    async def greet(self, connection: Connection) -> None:
        """A connection is open: tell its peer our topics, once it is a member's. Raises what the library does if that fails."""
        await self._membership(connection)
        peer_id = peer_of(connection.peer)
        await self._handle_new_peer(peer_id)
        # The library offers no parameter for the length of the queue, and none for its bytes.
        queue = self.peer_queues[peer_id]
        bounded = _BoundedQueue(lambda: self._switch.drop_soon(connection, "it reads no gossip"))
        while (rpc := queue._queue.pop()) is not None:  # noqa: SLF001 - what was said at the greeting
            bounded.push(rpc)
        queue._queue = bounded  # noqa: SLF001

    def gone(self, connection: Connection) -> None:
        """A connection is gone: forget its peer's subscriptions."""
        self._strikes.pop(connection.peer, None)
        super()._handle_dead_peer(peer_of(connection.peer))

    def _handle_dead_peer(self, peer_id: Any) -> None:
        """Our gossip stream broke. On a live connection the library would forget subscriptions that are never repeated."""
        connection = self._switch.connections.get(node_of(peer_id))
        if connection is None:
            super()._handle_dead_peer(peer_id)
        else:
            self._switch.drop_soon(connection, "its gossip stream broke")

    # Receiving

    async def serve(self, connection: Connection, frames: Frames) -> None:
        """Read a member's packets until its stream ends; the connection goes with it. A stranger's are not looked at."""
        await self._membership(connection)
        peer_id = peer_of(connection.peer)
        try:
            while True:
                packet = await frames.read_varint(_MAX_RPC_BYTES)
                fields, control = check_packet(packet)
                if not self._allowances.control(connection.peer, control):
                    raise PacketError(f"more control of gossip than {CONTROL_BYTES.per_second:g} bytes a second")
                if not self._allowances.packet(connection.peer, len(packet), fields):
                    continue
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(packet)
                for message in rpc.publish:
                    # Others get their turn, and a peer that was dropped meanwhile has had its own.
                    await trio.lowlevel.checkpoint()
                    await self._receive(connection.peer, peer_id, message)
                if len(rpc.subscriptions) <= len(self._topics) + self.max_subscriptions_per_peer:
                    for subscription in rpc.subscriptions:
                        self.handle_subscription(peer_id, subscription)
                if rpc.HasField("control"):
                    bound_control(rpc.control, self._topics)
                    self._bound_wanted(connection.peer, rpc.control)
                    await self.router.handle_rpc(rpc, peer_id)
        finally:
            self._switch.drop_soon(connection, "its gossip stream ended")

    def _bound_wanted(self, neighbour: NodeId, control: Any) -> None:
        """Leave of what a neighbour asks for what its allowance bears: the library sends it as often as it is asked."""
        for batch in control.iwant:
            held = [(wanted, self.router.mcache.get(message_id_of(wanted))) for wanted in batch.messageIDs]
            del batch.messageIDs[:]
            for wanted, message in held:
                if message is not None and self._allowances.want(neighbour, message.ByteSize()):
                    batch.messageIDs.append(wanted)

    async def _membership(self, connection: Connection) -> None:
        """Return once the peer is a member."""
        while not self._hears(connection.peer):  # noqa: ASYNC110 - the ledger of another thread says so, and has no event for it
            await trio.sleep(HEARTBEAT_S)

    async def _receive(self, forwarder: NodeId, forwarder_id: Any, message: Any) -> None:
        """Check, deliver and forward one message; duplicates end here."""
        message_id = message.from_id + message.seqno
        if self.seen_messages.has(message_id) or message.from_id == self.my_id.to_bytes():
            return
        try:
            publisher = node_of(ID(message.from_id))
        except ValueError:
            self.strike(forwarder)
            return
        if not self._hears(publisher):
            return  # a stranger's word goes no further; whoever passed it on may know members that we don't
        if not self._has_form(message):
            self._brought_nothing(forwarder)
            return
        topic, onward = message.topicIDs[0], self._relays[message.topicIDs[0]](message.data)
        if not onward and publisher != forwarder:
            return  # said again long after, it would use up the allowance of an author that said it in time
        if onward and not _is_signed(message, publisher):  # else its connection says who
            self._brought_nothing(forwarder)
            return
        self.seen_messages.add(message_id)
        if not self._allowances.publish(publisher, len(message.data)):
            self._flooded(publisher)  # its own signatures say so: whoever passed it on is not to blame
            return
        if self._told.by_another(publisher, message.data):
            return  # it is here, and on its way to the neighbours
        # Not the forwarder: it passes on what it can't judge, so an adversary would have honest nodes ban each other.
        self._deliver(topic, publisher, message.data)
        if onward:
            await self.router.publish(forwarder_id, message)

    def _has_form(self, message: Any) -> bool:
        """Whether a message is of one topic of ours, and no part of it too large."""
        ours = len(message.topicIDs) == 1 and message.topicIDs[0] in self._relays
        return ours and len(message.seqno) == _SEQNO_BYTES and len(message.data) <= MAX_GOSSIP_BYTES

    def _brought_nothing(self, forwarder: NodeId) -> None:
        """Whoever passes on what it need not have believed loses its connection, and is banned if it comes back for more."""
        self.strike(forwarder)
        self._flooded(forwarder)

    def strike(self, forwarder: NodeId) -> None:
        """Count a worthless message against whoever forwarded it."""
        now = trio.current_time()
        since, count = self._strikes.get(forwarder, (now, 0))
        if now - since > _STRIKE_WINDOW_S:
            since, count = now, 0
        self._strikes[forwarder] = (since, count + 1)
        connection = self._switch.connections.get(forwarder)
        if connection is None:
            self._strikes.pop(forwarder, None)
        elif count + 1 > MAX_STRIKES:
            _log.warning("%s forwards worthless messages", short(forwarder))
            self._switch.drop_soon(connection, f"more than {MAX_STRIKES} worthless messages within a minute")

    # Sending

    async def handle_sending_messages(self, peer_id: Any, stream: Any, queue: Any) -> None:
        """Send a peer's queue until it is closed: what is said within a moment travels as one packet."""
        try:
            while (first := await queue.pop()) is not None:
                await trio.sleep(_GATHER_S)
                packet = rpc_pb2.RPC()
                packet.CopyFrom(first)
                size = packet.ByteSize()
                # Only plain messages join: a receiver looks at one set of control fields in a packet.
                while size < _GATHER_BYTES and (more := _next_plain(queue._queue)) is not None:  # noqa: SLF001 - no way without waiting
                    size += more.ByteSize()
                    packet.MergeFrom(more)
                if not await self.write_msg(stream, packet):
                    return
        except BaseLibp2pError as error:
            _log.debug("gossip to %s ended: %s", peer_id, error)
            self._handle_dead_peer(peer_id)

    async def write_msg(self, stream: Any, rpc_msg: Any) -> bool:
        """Write a packet: all of them pass here. A stranger gets subscriptions and control alone, which are never repeated."""
        if rpc_msg.publish and not self._hears(node_of(stream.muxed_conn.peer_id)):
            bare = rpc_pb2.RPC()
            bare.CopyFrom(rpc_msg)  # the library may keep the packet for other peers
            bare.ClearField("publish")
            rpc_msg = bare
        return bool(await super().write_msg(stream, rpc_msg))

    async def send(self, topic: str, data: bytes) -> None:
        """Sign and send one message. A new number each time, so that the same bytes can be sent again."""
        self._seqno = max(self._seqno + 1, time.time_ns())
        message = rpc_pb2.Message(
            data=data,
            topicIDs=[topic],
            from_id=self.my_id.to_bytes(),
            seqno=self._seqno.to_bytes(_SEQNO_BYTES, "big"),
        )
        message.signature = self._identity.sign(_signed_bytes(message))
        self.seen_messages.add(message.from_id + message.seqno)
        await self.router.publish(self.my_id, message)


def _next_plain(waiting: PriorityQueue) -> Any:
    """The next packet that waits, taken out, if it holds messages alone; else None."""
    if waiting._priority or not waiting._non_priority or waiting._non_priority[0].HasField("control"):  # noqa: SLF001
        return None
    return waiting.pop()


def _is_signed(message: Any, publisher: NodeId) -> bool:
    """Whether the signature is the publisher's: it keeps others from using up an author's ids, and what it may say."""
    return verify(publisher, _signed_bytes(message), Signature(message.signature))


def _signed_bytes(message: Any) -> bytes:
    """What a GossipSub signature covers: the message without key and signature (libp2p pubsub specification)."""
    unsigned = rpc_pb2.Message(data=message.data, topicIDs=message.topicIDs, from_id=message.from_id, seqno=message.seqno)
    return _SIGNED_PREFIX + bytes(unsigned.SerializeToString())
