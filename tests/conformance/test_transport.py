"""What every transport must do; run against the in-memory network and libp2p."""

import asyncio
import os
import socket
import time
from itertools import pairwise

import pytest

from bflcd.crypto.identity import peer_id_of
from bflcd.errors import DialError, InvariantError, MachineError, RequestError
from bflcd.net.protocol import MAX_GOSSIP_BYTES, MAX_REQUEST_BYTES, Connected, Disconnected
from bflcd.types import NodeId
from tests.helpers.transports import KINDS, SECONDS, TOPIC, Community, Member, community, echo, eventually, serve_basics


@pytest.fixture(params=KINDS)
async def net(request):
    async with community(request.param) as members:
        yield members


def background(work):
    """A task that the test itself awaits."""
    return asyncio.get_running_loop().create_task(work)


async def pair(net: Community) -> tuple[Member, Member]:
    """Two members, the second dialled by the first, both sides aware of it."""
    a, b = await net.start(1), await net.start(2)
    assert await a.transport.dial(b.address, SECONDS) == b.node_id
    await eventually(lambda: b.saw_connected(a.node_id))
    return a, b


async def gossip_reaches(source: Member, targets: list[Member]) -> None:
    """Publish until every target has heard from `source`: the mesh takes a moment to form."""
    mark = b"probe" + os.urandom(8)
    for _ in range(100):
        await source.transport.publish(TOPIC, mark)
        await asyncio.sleep(0.05)
        if all(any(message == mark for _, message in target.gossip) for target in targets):
            break
    else:
        pytest.fail("no gossip within 5 s")
    await asyncio.sleep(0.2)
    for target in targets:
        target.gossip.clear()


class TestPeers:
    async def test_dial_authenticates_and_both_sides_learn(self, net):
        a, b = await pair(net)
        assert [(i.peer, i.inbound) for i in a.transport.connections()] == [(b.node_id, False)]
        assert [(i.peer, i.inbound) for i in b.transport.connections()] == [(a.node_id, True)]
        assert a.events == [Connected(b.node_id, b.address, inbound=False)]
        assert a.transport.connections()[0].address == b.address

    async def test_dial_again_reuses_the_connection(self, net):
        a, b = await pair(net)
        assert await a.transport.dial(b.address, SECONDS) == b.node_id
        assert await b.transport.dial(a.address, SECONDS) == a.node_id
        assert (len(a.events), len(b.events), len(a.peers)) == (1, 1, 1)

    async def test_many_dials_at_once_make_one_connection(self, net):
        a, b = await net.start(1), await net.start(2)
        assert await asyncio.gather(*(a.transport.dial(b.address, SECONDS) for _ in range(5))) == [b.node_id] * 5
        assert a.peers == [b.node_id]

    async def test_dialling_each_other_at_once_ends_with_one_usable_connection(self, net):
        a, b = await net.start(1), await net.start(2)
        for _ in range(5):
            await asyncio.gather(a.transport.dial(b.address, SECONDS), b.transport.dial(a.address, SECONDS))
            await eventually(lambda: a.peers == [b.node_id] and b.peers == [a.node_id])
            await asyncio.sleep(0.1)
            assert (a.peers, b.peers) == ([b.node_id], [a.node_id])
            assert await echo(a, b.node_id, b"to b") == b"to b"
            assert await echo(b, a.node_id, b"to a") == b"to a"
            await a.transport.disconnect(b.node_id)
            await eventually(lambda: not a.peers and not b.peers)

    async def test_wrong_identity_is_refused(self, net):
        a, b = await net.start(1), await net.start(2)
        stranger = net.identity(3).node_id
        address = b.address.replace(peer_id_of(b.node_id), peer_id_of(stranger))
        with pytest.raises(DialError) as failure:
            await a.transport.dial(address, SECONDS)
        assert (failure.value.step, failure.value.address) == ("identity", address)
        assert a.peers == []

    async def test_own_address_is_refused(self, net):
        a = await net.start(1)
        with pytest.raises(DialError, match="itself"):
            await a.transport.dial(a.address, SECONDS)

    @pytest.mark.parametrize("address", ["", "/", "nonsense", "/ip4/127.0.0.1/tcp/1", "/memory/1", "/ip4/1.2.3.4/udp/1/p2p/x"])
    async def test_malformed_address_fails_at_parse(self, net, address):
        a = await net.start(1)
        with pytest.raises(DialError) as failure:
            await a.transport.dial(address, SECONDS)
        assert failure.value.step == "parse"

    async def test_unreachable_peer_fails_at_connect(self, net):
        a, b = await net.start(1), await net.start(2)
        address = b.address
        await b.transport.close()
        with pytest.raises(DialError) as failure:
            await a.transport.dial(address, SECONDS)
        assert failure.value.step == "connect"

    async def test_dialler_bars_a_peer(self, net):
        a, b = await net.start(1), await net.start(2)
        a.barred.add(b.node_id)
        with pytest.raises(DialError, match="barred"):
            await a.transport.dial(b.address, SECONDS)

    async def test_listener_bars_a_peer(self, net):
        a, b = await net.start(1), await net.start(2)
        b.barred.add(a.node_id)
        with pytest.raises(DialError, match="bars"):
            await a.transport.dial(b.address, SECONDS)
        assert (a.peers, b.peers, b.events) == ([], [], [])

    async def test_a_peer_barred_later_gets_no_answers(self, net):
        a, b = await pair(net)
        assert await echo(a, b.node_id, b"before") == b"before"
        b.barred.add(a.node_id)
        with pytest.raises(RequestError):
            await a.transport.request(b.node_id, "/test/size/1", b"1", deadline=SECONDS, max_response=10)

    async def test_disconnect_is_seen_on_both_sides_and_harmless_twice(self, net):
        a, b = await pair(net)
        await a.transport.disconnect(b.node_id)
        await a.transport.disconnect(b.node_id)
        await eventually(lambda: a.saw_disconnected(b.node_id) and b.saw_disconnected(a.node_id))
        assert (a.peers, b.peers) == ([], [])
        assert a.events[-1] == Disconnected(b.node_id)

    async def test_reconnect_after_a_restart_on_the_same_address(self, net):
        a, b = await pair(net)
        address = b.address
        await b.transport.close()
        await eventually(lambda: a.saw_disconnected(b.node_id))
        again = await net.start(2, listen=address)
        assert again.address == address
        assert await a.transport.dial(address, SECONDS) == b.node_id
        assert await echo(a, b.node_id, b"back") == b"back"

    async def test_address_in_use_is_said(self, net):
        a = await net.start(1)
        other = net.make(2, listen=a.address)
        with pytest.raises(MachineError) as failure:
            await other.transport.start()
        assert failure.value.code == "port_in_use"
        assert failure.value.hint

    async def test_close_is_quick_idempotent_and_ends_waiting(self, net):
        a, b = await pair(net)
        waiting = background(a.transport.request(b.node_id, "/test/hang/1", b"", deadline=60, max_response=1))
        watching = background(a.transport.wait_closed())
        await asyncio.sleep(0.1)
        start = time.monotonic()
        await a.transport.close()
        await a.transport.close()
        assert time.monotonic() - start < 3
        with pytest.raises(RequestError):
            await waiting
        await asyncio.wait_for(watching, SECONDS)
        await eventually(lambda: b.saw_disconnected(a.node_id))

    async def test_nothing_is_registered_after_the_start(self, net):
        a = await net.start(1)
        with pytest.raises(InvariantError):
            a.transport.subscribe("late", lambda _peer, _message: True)
        with pytest.raises(InvariantError):
            serve_basics(a.transport)


class TestLag:
    async def test_a_transport_that_keeps_up_is_not_late(self, net):
        a = await net.start(1)
        await eventually(lambda: 0 <= a.transport.lag() < SECONDS)


class TestRequests:
    @pytest.mark.parametrize("size", [0, 1, 1000, 65_507, 256 * 1024 + 1, 1024 * 1024, 8 * 1024 * 1024])
    async def test_responses_of_all_sizes_arrive_whole(self, net, size):
        a, b = await pair(net)
        response = await a.transport.request(b.node_id, "/test/size/1", b"%d" % size, deadline=20, max_response=size)
        assert response == bytes(size)

    @pytest.mark.parametrize("size", [0, 1, 65_503, 65_504, 1024 * 1024])
    async def test_requests_of_all_sizes_arrive_whole(self, net, size):
        a, b = await pair(net)
        payload = os.urandom(size)
        assert await echo(a, b.node_id, payload) == payload

    async def test_oversized_response_is_refused_and_the_next_request_works(self, net):
        a, b = await pair(net)
        with pytest.raises(RequestError, match=r"1001|1000"):
            await a.transport.request(b.node_id, "/test/size/1", b"1001", deadline=SECONDS, max_response=1000)
        assert await echo(a, b.node_id, b"still here") == b"still here"

    async def test_oversized_request_is_refused_by_the_server(self, net):
        a, b = await pair(net)
        with pytest.raises(RequestError):
            await a.transport.request(b.node_id, "/test/size/1", b"1" * 33, deadline=SECONDS, max_response=1000)
        assert await echo(a, b.node_id, b"still here") == b"still here"

    async def test_oversized_request_is_refused_by_ourselves(self, net):
        a, b = await pair(net)
        with pytest.raises(ValueError, match=str(MAX_REQUEST_BYTES)):
            await echo(a, b.node_id, bytes(MAX_REQUEST_BYTES + 1))

    async def test_many_requests_at_once_get_their_own_answers(self, net):
        a, b = await pair(net)
        payloads = [b"%d" % i * (i % 50 + 1) for i in range(200)]
        assert await asyncio.gather(*(echo(a, b.node_id, payload) for payload in payloads)) == payloads

    async def test_a_peers_requests_wait_above_the_limit(self, net):
        running: list[int] = []
        most = 0

        async def slow(_peer: NodeId, request: bytes) -> bytes:
            nonlocal most
            running.append(1)
            most = max(most, len(running))
            await asyncio.sleep(0.02)
            running.pop()
            return request

        a, b = await net.start(1), net.make(2)
        b.transport.serve("/test/slow/1", slow, max_request=10, max_concurrent=2)
        await b.transport.start()
        await a.transport.dial(b.address, SECONDS)
        calls = (a.transport.request(b.node_id, "/test/slow/1", b"x", deadline=SECONDS, max_response=1) for _ in range(12))
        assert await asyncio.gather(*calls) == [b"x"] * 12
        assert most == 2

    async def test_a_handler_that_raises_costs_one_request(self, net):
        a, b = await pair(net)
        for _ in range(20):
            with pytest.raises(RequestError):
                await a.transport.request(b.node_id, "/test/fail/1", b"", deadline=SECONDS, max_response=1)
        assert await echo(a, b.node_id, b"fine") == b"fine"
        assert len(a.events) == 1

    async def test_unknown_protocol_and_unknown_peer(self, net):
        a, b = await pair(net)
        with pytest.raises(RequestError, match="/test/none/1"):
            await a.transport.request(b.node_id, "/test/none/1", b"", deadline=SECONDS, max_response=1)
        with pytest.raises(RequestError, match="not connected"):
            await echo(a, net.identity(9).node_id, b"")

    async def test_late_answer_is_an_error_and_the_transport_stays_usable(self, net):
        a, b = await pair(net)
        start = time.monotonic()
        with pytest.raises(RequestError, match="within"):
            await a.transport.request(b.node_id, "/test/hang/1", b"", deadline=0.2, max_response=1)
        assert time.monotonic() - start < 2
        assert await echo(a, b.node_id, b"fine") == b"fine"

    async def test_cancelled_requests_leave_the_transport_usable(self, net):
        a, b = await pair(net)
        for delay in (0, 0.001, 0.002, 0.005, 0.02):
            for protocol, payload in (("/test/hang/1", b""), ("/test/size/1", b"8000000")):
                task = background(a.transport.request(b.node_id, protocol, payload, deadline=SECONDS, max_response=8_000_000))
                await asyncio.sleep(delay)
                task.cancel()
                await asyncio.wait((task,))
                assert task.cancelled() or protocol == "/test/size/1"
        assert await asyncio.gather(*(echo(a, b.node_id, b"%d" % i) for i in range(20))) == [b"%d" % i for i in range(20)]
        assert len(a.events) == 1

    async def test_more_cancelled_requests_than_there_are_streams(self, net):
        a, b = await pair(net)
        for _ in range(30):
            with pytest.raises(RequestError):
                await a.transport.request(b.node_id, "/test/hang/1", b"", deadline=0.02, max_response=1)
        size = await a.transport.request(b.node_id, "/test/size/1", b"5", deadline=SECONDS, max_response=5)
        assert size == bytes(5)

    async def test_peer_that_goes_during_a_request_is_an_error_at_once(self, net):
        a, b = await pair(net)
        asked = background(a.transport.request(b.node_id, "/test/hang/1", b"", deadline=60, max_response=1))
        await asyncio.sleep(0.1)
        start = time.monotonic()
        await b.transport.close()
        with pytest.raises(RequestError):
            await asked
        assert time.monotonic() - start < 2
        await eventually(lambda: a.saw_disconnected(b.node_id))

    async def test_own_disconnect_during_a_request_is_an_error_at_once(self, net):
        a, b = await pair(net)
        asked = background(a.transport.request(b.node_id, "/test/hang/1", b"", deadline=60, max_response=1))
        await asyncio.sleep(0.1)
        await a.transport.disconnect(b.node_id)
        with pytest.raises(RequestError):
            await asyncio.wait_for(asked, 2)


class TestGossip:
    async def test_reaches_all_through_a_line_and_not_oneself(self, net):
        members = [await net.start(number) for number in range(1, 6)]
        for left, right in pairwise(members):
            await left.transport.dial(right.address, SECONDS)
        first, *others = members
        await gossip_reaches(first, others)
        await gossip_reaches(members[-1], members[:-1])
        first.gossip.clear()
        for number in range(20):
            await first.transport.publish(TOPIC, b"%d" % number)
        await eventually(lambda: all(len(member.gossip) >= 20 for member in others))
        await asyncio.sleep(0.2)
        for member in others:  # named is who said it, not who passed it on
            assert sorted(member.gossip) == sorted((first.node_id, b"%d" % number) for number in range(20))
        assert first.gossip == []

    async def test_no_duplicates_in_a_clique(self, net):
        members = [await net.start(number) for number in range(1, 5)]
        for index, member in enumerate(members):
            for other in members[index + 1 :]:
                await member.transport.dial(other.address, SECONDS)
        await gossip_reaches(members[0], members[1:])
        for number in range(50):
            await members[0].transport.publish(TOPIC, b"%d" % number)
        await eventually(lambda: all(len(member.gossip) >= 50 for member in members[1:]))
        await asyncio.sleep(0.3)
        assert [sorted(message for _, message in member.gossip) for member in members[1:]] == [
            sorted(b"%d" % number for number in range(50))
        ] * 3

    async def test_the_same_bytes_sent_again_arrive_again(self, net):
        a, b = await pair(net)
        await gossip_reaches(a, [b])
        for _ in range(3):
            await a.transport.publish(TOPIC, b"same")
        await eventually(lambda: len(b.gossip) >= 3)
        await asyncio.sleep(0.1)
        assert b.gossip == [(a.node_id, b"same")] * 3

    async def test_a_node_that_joins_late_hears_what_follows(self, net):
        a, b = await pair(net)
        await gossip_reaches(a, [b])
        late = await net.start(3)
        await late.transport.dial(b.address, SECONDS)
        await gossip_reaches(a, [late])
        await late.transport.publish(TOPIC, b"from late")
        await eventually(lambda: (late.node_id, b"from late") in a.gossip)

    async def test_a_node_that_returns_hears_again(self, net):
        a, b = await pair(net)
        await gossip_reaches(a, [b])
        await a.transport.disconnect(b.node_id)
        await eventually(lambda: not a.peers and not b.peers)
        await b.transport.dial(a.address, SECONDS)
        await gossip_reaches(a, [b])
        await gossip_reaches(b, [a])

    async def test_largest_message_arrives_and_a_larger_one_is_refused(self, net):
        a, b = await pair(net)
        await gossip_reaches(a, [b])
        largest = os.urandom(MAX_GOSSIP_BYTES)
        await a.transport.publish(TOPIC, largest)
        await eventually(lambda: b.gossip == [(a.node_id, largest)])
        with pytest.raises(ValueError, match=str(MAX_GOSSIP_BYTES)):
            await a.transport.publish(TOPIC, bytes(MAX_GOSSIP_BYTES + 1))

    async def test_a_topic_without_subscribers_and_a_lonely_node(self, net):
        a, b = await pair(net)
        await a.transport.publish("/bflc/other/1", b"nobody listens")
        await a.transport.disconnect(b.node_id)
        await a.transport.publish(TOPIC, b"nobody is there")
        await asyncio.sleep(0.1)
        assert b.gossip == []


class TestGarbage:
    """Only where there is a wire."""

    async def test_garbage_and_half_open_sockets_harm_nothing(self):
        async with community("libp2p") as net:
            a, b = await pair(net)
            port = int(b.address.split("/")[4])
            sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
            try:
                for index, sock in enumerate(sockets):
                    sock.sendall(
                        (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(2000), b"\x13/multistream/1.0.0\n\xff\xff\xff")[index % 4]
                    )
                await asyncio.sleep(0.3)
                assert await echo(a, b.node_id, b"fine") == b"fine"
                c = await net.start(3)
                assert await c.transport.dial(b.address, SECONDS) == b.node_id
            finally:
                for sock in sockets:
                    sock.close()
