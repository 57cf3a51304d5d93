"""What strangers may cost a node: little before they are authenticated, little after, and never the members' turn."""

import asyncio
import socket
import struct
from contextlib import suppress
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.net.gossip import PUSHED_BYTES
from bflcd.net.libp2p import Libp2pTransport
from bflcd.net.libp2p.budget import (
    HANDSHAKE_BYTES,
    MAX_SILENT,
    MAX_STREAMS,
    NEGOTIATION_BYTES,
    NEGOTIATION_MESSAGES,
    PACKET_CONTROL_BYTES,
    PACKET_MESSAGES,
    STRANGER_REQUEST_BYTES,
    STRANGER_STREAMS,
    STRANGER_UNREAD_BYTES,
    UNASKED_BYTES,
    UNREAD_BYTES,
    UNSENT_BYTES,
    AddressRates,
    Crowd,
    Negotiator,
    PacedSession,
    now,
    place_of,
)
from bflcd.net.libp2p.frames import Frames
from bflcd.net.libp2p.gossip import _BoundedQueue
from bflcd.net.libp2p.library import PROTOCOL_ID_V11, MultiselectCommunicatorError, rpc_pb2
from bflcd.net.libp2p.packet import PacketError, bound_control, check_packet
from bflcd.net.libp2p.yamux import INITIAL_WINDOW_BYTES, MAX_WINDOW_BYTES, LeanYamux, PatientStream
from bflcd.net.limits import Rate, TokenBucket
from bflcd.net.protocol import MAX_GOSSIP_BYTES
from tests.helpers.transports import LOOPBACK, SECONDS, TOPIC, Community, Member, community, echo, eventually, serve_basics

MESSAGE = rpc_pb2.Message(data=b"x" * 100, topicIDs=["/t"], from_id=b"f" * 38, seqno=b"s" * 8, signature=b"g" * 64)


# -- a packet ------------------------------------------------------------------------------------------------------------------


def packet_of(messages: int, subscriptions: int = 0, ids: int = 0) -> bytes:
    rpc = rpc_pb2.RPC(
        publish=[MESSAGE] * messages, subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="/t")] * subscriptions
    )
    if ids:
        rpc.control.ihave.add(topicID="/t", messageIDs=[n.to_bytes(46, "big") for n in range(ids)])
    return bytes(rpc.SerializeToString())


@pytest.mark.parametrize("packet", [b"", packet_of(1), packet_of(200, 2, 1024), packet_of(PACKET_MESSAGES - 1)])
def test_what_our_own_side_sends_passes(packet: bytes) -> None:
    check_packet(packet)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\x12\x00" * (PACKET_MESSAGES + 1), "messages"),
        (b"\x0a\x00" * 500_000, "messages"),
        (b"\x08\x01" * 500_000, "messages"),
        (packet_of(0, 0, 4096), "control"),
        (b"\x1a\x80\x80\x04" + bytes(65536) + b"\x1a\x80\x80\x04" + bytes(65536) + b"\x1a\x01x", "control"),
        (b"\x12\x05abc", "beyond"),
        (b"\x12", "number"),
        (b"\x12\xff\xff\xff\xff\xff\xff", "number"),
        (b"\x13", "wire type"),
    ],
    ids=["one too many", "subscriptions", "unknown fields", "ids", "control twice", "cut short", "no length", "long", "group"],
)
def test_a_packet_is_counted_before_it_is_parsed(packet: bytes, reason: str) -> None:
    with pytest.raises(PacketError, match=reason):
        check_packet(packet)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_passes_has_no_more_fields_than_were_counted(data: bytes) -> None:
    try:
        check_packet(data)
    except PacketError:
        return
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(data)
    except Exception:  # noqa: BLE001 - the library's parser knows more rules; it raises where ours only counts
        return
    assert len(rpc.publish) + len(rpc.subscriptions) <= PACKET_MESSAGES
    assert rpc.control.ByteSize() <= PACKET_CONTROL_BYTES


TOPICS = ("/t",)


def test_control_of_topics_that_are_not_ours_is_dropped_and_the_rest_is_cut() -> None:
    """Given grafts, prunes and ids for a thousand invented topics and ours, then one of a kind is left, and it names each id once."""
    control = rpc_pb2.ControlMessage()
    for number in range(400):
        topic = "/t" if number % 2 else f"/invented/{number}"
        control.graft.add(topicID=topic)
        control.prune.add(topicID=topic, backoff=10**9)
        control.ihave.add(topicID=topic, messageIDs=[b"a", b"b", b"a"])
        control.iwant.add(messageIDs=[b"c"] * 3)
        control.idontwant.add(messageIDs=[b"d"])
    bound_control(control, TOPICS)
    assert [graft.topicID for graft in control.graft] == ["/t"]
    assert [(prune.topicID, prune.backoff) for prune in control.prune] == [("/t", 60)]
    assert [(have.topicID, list(have.messageIDs)) for have in control.ihave] == [("/t", [b"a", b"b"])]
    assert [list(want.messageIDs) for want in control.iwant] == [[b"c"]]
    assert len(control.idontwant) == 0


def test_what_waits_for_a_peer_is_bounded_in_bytes() -> None:
    given_up: list[bool] = []
    queue = _BoundedQueue(lambda: given_up.append(True))
    large = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=bytes(2**20))])
    pushed = [queue.push(large) for _ in range(UNSENT_BYTES // 2**20 + 8)]
    assert pushed.index(False) == len(queue) <= UNSENT_BYTES // 2**20
    assert given_up
    while queue.pop() is not None:
        pass
    assert queue.push(large), "what was sent makes room again"


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_one_machine_counts_as_one_address(host: str, place: str) -> None:
    assert place_of(host) == place


# -- a negotiation -------------------------------------------------------------------------------------------------------------


class Bytes:
    """A stream that gives what it was made with, a little at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step, self.taken = data, step, 0

    async def read(self, n: int | None = None) -> bytes:
        assert n is not None
        found = self.data[: min(n, self.step)]
        self.data = self.data[len(found) :]
        self.taken += len(found)
        await trio.lowlevel.checkpoint()
        return found


def negotiated(data: bytes, count: int = 1, step: int = 7) -> tuple[list[str], int]:
    stream = Bytes(data, step)

    async def main() -> list[str]:
        negotiator = Negotiator(stream)  # type: ignore[arg-type]
        return [await negotiator.read() for _ in range(count)]

    return trio.run(main), stream.taken


def framed(text: bytes) -> bytes:
    length = len(text)
    return (bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])) + text


def test_messages_of_a_negotiation_are_read_whole() -> None:
    words = [b"/multistream/1.0.0\n", b"/noise\n", b"x" * (NEGOTIATION_BYTES - 1) + b"\n"]
    found, _ = negotiated(b"".join(map(framed, words)), len(words))
    assert [text.encode() + b"\n" for text in found] == words


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x80\x80\x80\x04" + b"a" * 4096,
        framed(b"x" * (NEGOTIATION_BYTES + 1)),
        b"\x00",
        b"\x05ab",
        framed(b"\xff\xfe\n"),
        b"",
    ],
    ids=["a gigabyte announced", "one byte too long", "empty", "cut short", "no text", "nothing"],
)
def test_a_message_out_of_bounds_ends_a_negotiation_before_it_is_read(data: bytes) -> None:
    with pytest.raises(MultiselectCommunicatorError):
        negotiated(data)


def test_a_negotiation_that_never_agrees_ends() -> None:
    with pytest.raises(MultiselectCommunicatorError, match=f"{NEGOTIATION_MESSAGES} messages"):
        negotiated(framed(b"/nobody/speaks/this\n") * 1000, NEGOTIATION_MESSAGES + 1)


def test_strangers_share_what_they_may_send_and_members_have_their_own() -> None:
    """Given five strangers that send frames without a pause, then in a second all of them together get the rate and its burst, and who
    has turned out to be a member gets its own."""

    async def main() -> list[int]:
        strangers = TokenBucket(Rate(per_second=10, burst=20), now())
        sessions = [PacedSession(SimpleNamespace(read=nothing), strangers) for _ in range(6)]
        sessions[0].pace(Rate(per_second=1_000, burst=1_000))
        counts = [0] * len(sessions)

        async def pour(number: int) -> None:
            while True:
                await sessions[number].read(12)
                counts[number] += 1

        with trio.move_on_after(1.0):
            async with trio.open_nursery() as nursery:
                for number in range(len(sessions)):
                    nursery.start_soon(pour, number)
        return counts

    async def nothing(_count: int) -> bytes:
        return b""

    member, *strangers = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert member >= 1_500
    assert 20 <= sum(strangers) <= 20 + 10 + len(strangers)


# -- a crowd -------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("aaaabbc"), max_size=60), st.integers(1, 8))
def test_in_a_crowd_the_oldest_of_whoever_has_most_goes(addresses: list[str], room: int) -> None:
    crowd: Crowd[int] = Crowd(room)
    inside: dict[int, str] = {}
    for number, address in enumerate(addresses):
        victim = crowd.add(number, address)
        inside[number] = address
        if victim is not None:
            counts = {one: list(inside.values()).count(one) for one in inside.values()}
            assert counts[inside[victim]] == max(counts.values())
            assert victim == min(item for item, one in inside.items() if counts[one] == max(counts.values()))
            del inside[victim]
        assert list(crowd) == sorted(inside)
        assert len(crowd) <= room


# -- real sockets --------------------------------------------------------------------------------------------------------------

HEADER = struct.Struct("!BBHII")


class Border:
    """A node that knows its members, and others of which it may or may not be told."""

    def __init__(self, members: Community) -> None:
        self.members = members
        self.known: set[bytes] = set()

    async def start(self, number: int) -> Member:
        """A node that takes only those in `known` for members."""
        identity = self.members.identity(number)
        transport = Libp2pTransport(identity, (LOOPBACK,), lambda _: True, hears=self.known.__contains__)
        member = Member(identity, transport, barred=set())
        transport.on_peer_event(member.events.append)
        transport.subscribe(TOPIC, lambda peer, message: member.gossip.append((peer, message)) is None)
        self.members._members.append(member)
        serve_basics(transport)
        await transport.start()
        return member


@pytest.fixture
async def border():
    async with community("libp2p") as members:
        yield Border(members)


def port_of(member: Member) -> int:
    return int(member.address.split("/")[4])


async def in_trio(member: Member, function):
    """Run a coroutine function in the member's network thread."""
    return await member.transport._bridge.call(function)


def connection_of(member: Member, peer) -> object:
    return member.transport._node._switch.connections[peer]


async def test_a_socket_that_never_authenticates_is_closed_after_a_few_kilobytes(border: Border) -> None:
    """Given a peer that goes on offering protocols which nobody speaks, then it is answered a few times, and no more."""
    node = await border.start(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(node))
    offers = [framed(b"/multistream/1.0.0\n"), *[framed(b"/" + b"x" * 1000 + b"\n")] * (NEGOTIATION_MESSAGES - 2)]
    writer.write(b"".join(offers))
    answers = b""
    with suppress(ConnectionResetError):  # it goes with bytes unread, which TCP says in this way
        answers = await asyncio.wait_for(reader.read(), SECONDS)
    assert answers.count(b"na\n") <= HANDSHAKE_BYTES // 1000 < NEGOTIATION_MESSAGES - 2
    writer.close()


async def test_idle_sockets_keep_nobody_out(border: Border) -> None:
    """Given more idle sockets from one address than there are slots, then the oldest of them go, and others get in."""
    node, other = await border.start(1), await border.start(2)
    idle = [socket.create_connection(("127.0.0.1", port_of(node))) for _ in range(MAX_SILENT + 20)]
    try:
        await eventually(lambda: len(node.transport._node._switch._silent) == MAX_SILENT)
        idle[0].settimeout(SECONDS)
        assert await asyncio.to_thread(idle[0].recv, 1) == b"", "it was the first to go"
        await other.transport.dial(node.address, SECONDS)
        assert await echo(other, node.node_id, b"hello") == b"hello"
    finally:
        for one in idle:
            one.close()


async def test_who_says_nothing_takes_no_turn_from_others_at_its_address(border: Border) -> None:
    """Given an address with a single turn left, when a hundred of its sockets say nothing, and more are closed at once, then
    whoever speaks there still gets it."""
    node, other = await border.start(1), await border.start(2)
    switch = node.transport._node._switch
    switch._rates = AddressRates(Rate(per_second=0.001, burst=1))
    idle = [socket.create_connection(("127.0.0.1", port_of(node))) for _ in range(100)]
    for one in idle[50:]:
        one.close()
    try:
        await eventually(lambda: len(switch._silent) == 50)
        await other.transport.dial(node.address, SECONDS)
        assert await echo(other, node.node_id, b"hello") == b"hello"
    finally:
        for one in idle:
            one.close()


async def test_a_stranger_may_ask_little_and_hold_little(border: Border) -> None:
    node, stranger = await border.start(1), await border.start(2)
    await stranger.transport.dial(node.address, SECONDS)
    assert await echo(stranger, node.node_id, bytes(STRANGER_REQUEST_BYTES)) == bytes(STRANGER_REQUEST_BYTES)
    with pytest.raises(Exception, match="refused"):
        await echo(stranger, node.node_id, bytes(STRANGER_REQUEST_BYTES + 1))
    border.known.add(stranger.node_id)
    large = bytes(STRANGER_REQUEST_BYTES + 1)
    assert await echo(stranger, node.node_id, large) == large


async def until_cut_off(stranger: Member, work) -> None:
    """Work in the stranger's thread until it is done, or its connection ends under it, which each layer tells in its own way."""
    with suppress(Exception):
        await in_trio(stranger, work)


async def test_a_stranger_that_opens_many_streams_is_dropped(border: Border) -> None:
    node, stranger = await border.start(1), await border.start(2)
    await stranger.transport.dial(node.address, SECONDS)

    async def open_many() -> None:
        connection = connection_of(stranger, node.node_id)
        for _ in range(STRANGER_STREAMS + 4):
            await connection.muxed_conn.open_stream()

    await until_cut_off(stranger, open_many)
    await eventually(lambda: stranger.node_id not in node.peers)


@pytest.mark.parametrize("frame", [1024, 60_000], ids=["many small frames", "large frames"])
async def test_a_stranger_that_pours_where_nobody_reads_is_dropped(border: Border, frame: int) -> None:
    node, stranger = await border.start(1), await border.start(2)
    await stranger.transport.dial(node.address, SECONDS)

    async def pour() -> int:
        muxed = connection_of(stranger, node.node_id).muxed_conn
        stream = await muxed.open_stream()
        sent = 0
        while sent < 16 * STRANGER_UNREAD_BYTES and not muxed.event_shutting_down.is_set():
            await muxed._write_frame(HEADER.pack(0, 0, 0, stream.stream_id, frame) + bytes(frame))
            sent += frame
        return sent

    await until_cut_off(stranger, pour)
    await eventually(lambda: stranger.node_id not in node.peers)


async def test_what_a_message_has_so_far_counts_as_unread(border: Border) -> None:
    """Given a stranger's requests that never end, then what came of them is counted, and given back when the streams end."""
    node, stranger = await border.start(1), await border.start(2)
    await stranger.transport.dial(node.address, SECONDS)
    half = (STRANGER_REQUEST_BYTES).to_bytes(4, "big") + bytes(STRANGER_REQUEST_BYTES // 2)

    async def begin() -> None:
        connection = connection_of(stranger, node.node_id)
        for _ in range(4):
            await (await connection.open("/test/echo/1")).write(half)

    await in_trio(stranger, begin)
    muxed = connection_of(node, stranger.node_id).muxed_conn
    await eventually(lambda: muxed.unread(asked=False) == 4 * STRANGER_REQUEST_BYTES // 2)
    await stranger.transport.close()
    await eventually(lambda: muxed.unread(asked=False) == 0)


@pytest.mark.parametrize("asked", [True, False], ids=["answers", "what it begins itself"])
def test_a_member_may_owe_large_answers_and_begin_little_by_itself(asked: bool) -> None:
    """Given a member's bytes that nobody reads, then its connection bears many on streams that we opened, and few on its own."""

    async def main() -> list[int]:
        connection = LeanYamux(SimpleNamespace(is_initiator=True, pace=lambda _rate: None), None, is_initiator=True)
        connection.trust()
        taken = []
        for number in range(1, 2 * UNREAD_BYTES // MAX_WINDOW_BYTES):
            stream = PatientStream(number, connection, asked)
            connection.streams[number], connection.stream_buffers[number] = stream, bytearray(MAX_WINDOW_BYTES)
            stream.recv_window += 1  # as at each frame: whether there is room is looked at then
            if connection.event_shutting_down.is_set():
                break
            taken.append(connection.unread(asked=asked))
        return taken

    room = UNREAD_BYTES if asked else UNASKED_BYTES
    assert trio.run(main)[-1] == room - room % MAX_WINDOW_BYTES


def test_what_comes_behind_a_message_counts_as_unread() -> None:
    """Given a member that sends a request and whatever its window takes behind it on each of its streams, while none of them is
    answered yet, Then its connection holds no more than it may begin by itself, or ends."""

    async def main() -> tuple[int, bool]:
        connection = LeanYamux(SimpleNamespace(is_initiator=True, pace=lambda _rate: None), None, is_initiator=True)
        connection.trust()
        held = []
        for number in range(1, MAX_STREAMS):
            stream = PatientStream(number, connection, False)
            request = (8).to_bytes(4, "big") + bytes(8)
            connection.streams[number] = stream
            connection.stream_buffers[number] = bytearray(request) + bytes(INITIAL_WINDOW_BYTES - len(request))
            connection.stream_events[number] = trio.Event()
            stream.send_window_update = AsyncMock()
            stream.recv_window -= INITIAL_WINDOW_BYTES
            frames = Frames(stream)
            await frames.read(8)
            held.append(frames)
        return sum(len(frames._rest) for frames in held) + connection.unread(asked=False), connection.event_shutting_down.is_set()

    held, ended = trio.run(main)
    assert ended or held <= UNASKED_BYTES


async def test_a_strangers_gossip_is_not_looked_at(border: Border, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a packet of half a million empty messages, then nobody parses it, and the stranger gets no stream of ours."""
    parsed: list[bytes] = []
    monkeypatch.setattr("bflcd.net.libp2p.gossip.check_packet", lambda packet: parsed.append(packet) or (0, 0))
    node, stranger, other = await border.start(1), await border.start(2), await border.start(3)
    border.known |= {other.node_id}
    for one in (stranger, other):
        await one.transport.dial(node.address, SECONDS)
    bomb = b"\x12\x00" * 100_000

    async def send() -> None:
        stream = await connection_of(stranger, node.node_id).open(PROTOCOL_ID_V11)
        with trio.move_on_after(1):
            await stream.write(len(bomb).to_bytes(3, "little") + bomb)

    await in_trio(stranger, send)
    assert await echo(other, node.node_id, b"still here") == b"still here"
    assert bomb not in parsed

    async def greeted() -> list[object]:
        return list(node.transport._node._gossip.peers)

    await eventually(lambda: bool(node.events))
    assert len(await in_trio(node, greeted)) == 1, "the member alone"


async def test_a_members_packet_of_too_many_messages_costs_its_connection(
    border: Border, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is looked at."""
    looked_at: list[object] = []

    async def receive(_gossip: object, *message: object) -> None:
        looked_at.append(message)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("bflcd.net.libp2p.gossip.Gossip._receive", receive)
    node, member = await border.start(1), await border.start(2)
    border.known |= {member.node_id, node.node_id}
    await member.transport.dial(node.address, SECONDS)
    bomb = b"\x12\x00" * 100_000

    async def send() -> None:
        stream = await connection_of(member, node.node_id).open(PROTOCOL_ID_V11)
        header, length = b"", len(bomb)
        while length > 127:
            header, length = header + bytes([length & 127 | 128]), length >> 7
        await stream.write(header + bytes([length]) + bomb)

    await in_trio(member, send)
    await eventually(lambda: member.node_id not in node.peers)
    assert looked_at == []


async def test_who_becomes_a_member_is_gossiped_to(border: Border) -> None:
    node, other = await border.start(1), await border.start(2)
    border.known.add(node.node_id)
    await other.transport.dial(node.address, SECONDS)
    await asyncio.sleep(0.3)
    border.known.add(other.node_id)
    for _ in range(40):
        await node.transport.publish(TOPIC, b"welcome")
        if (node.node_id, b"welcome") in other.gossip:
            return
        await asyncio.sleep(0.25)
    raise AssertionError("nothing was gossiped to the new member")


async def test_strangers_do_not_use_up_the_connections(border: Border) -> None:
    """Given more strangers than there is room for, then the oldest go, and a member still gets in."""
    node = await border.start(1)
    node.transport._node._switch._strangers = Crowd(3)
    strangers = [await border.start(number) for number in range(2, 7)]
    for one in strangers:
        await one.transport.dial(node.address, SECONDS)
    await eventually(lambda: len(node.peers) == 3)
    member = await border.start(9)
    border.known.add(member.node_id)
    await member.transport.dial(node.address, SECONDS)
    assert await echo(member, node.node_id, b"x") == b"x"
    assert len(node.peers) == 4


def test_limits_leave_room_for_what_is_honest() -> None:
    assert STRANGER_REQUEST_BYTES * STRANGER_STREAMS <= STRANGER_UNREAD_BYTES
    assert MAX_GOSSIP_BYTES < 1024 * 1024
    assert PUSHED_BYTES.burst + 2 * 1024 * 1024 <= UNASKED_BYTES
