"""The libp2p transport where it differs from memory: sockets, processes, names, threads."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from bflcd.crypto.identity import peer_id_of
from bflcd.errors import DialError, MachineError, OperatorError, RequestError
from bflcd.net.libp2p import Libp2pTransport
from bflcd.net.libp2p.bridge import Bridge
from bflcd.net.libp2p.gossip import MAX_STRIKES
from tests.helpers.transports import LOOPBACK, SECONDS, TOPIC, Member, community, echo, eventually

ROOT = Path(__file__).parents[2]

CHILD = """
import asyncio
from tests.helpers.transports import Community

async def main():
    member = await Community("libp2p").start(77)
    print(member.address, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
async def net():
    async with community("libp2p") as members:
        yield members


@pytest.fixture
def child():
    """A peer in a process of its own, and its address."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


def living_tasks(member: Member) -> asyncio.Future[int]:
    async def count() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    return member.transport._bridge.call(count)


class TestListening:
    async def test_port_zero_reports_the_real_port(self, net):
        a = await net.start(1)
        _, kind, host, tcp, port, p2p, peer = a.address.split("/")
        assert (kind, host, tcp, p2p, peer) == ("ip4", "127.0.0.1", "tcp", "p2p", peer_id_of(a.node_id))
        assert int(port) > 0

    async def test_foreign_address_is_said(self, net):
        transport = Libp2pTransport(net.identity(1), ("/ip4/192.0.2.1/tcp/0",), lambda _peer: True)
        with pytest.raises(MachineError, match=r"192\.0\.2\.1") as failure:
            await transport.start()
        assert failure.value.code == "address_unavailable"
        await transport.close()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on every port")
    async def test_forbidden_port_is_said(self, net):
        transport = Libp2pTransport(net.identity(1), ("/ip4/127.0.0.1/tcp/1",), lambda _peer: True)
        with pytest.raises(MachineError) as failure:
            await transport.start()
        assert failure.value.code == "permission"

    def test_a_name_to_listen_on_is_the_operators_mistake(self, net):
        with pytest.raises(OperatorError, match="name"):
            Libp2pTransport(net.identity(1), ("/dns4/localhost/tcp/0",), lambda _peer: True)

    async def test_all_of_several_addresses_are_reachable(self, net):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 loopback here")
        a = await net.start(1)
        both = Libp2pTransport(net.identity(2), (LOOPBACK, "/ip6/::1/tcp/0"), lambda _peer: True)
        await both.start()
        try:
            for address in both.addresses():
                assert await a.transport.dial(address, SECONDS) == both.node_id
                await a.transport.disconnect(both.node_id)
        finally:
            await both.close()


class TestDialling:
    async def test_names_are_resolved(self, net):
        a, b = await net.start(1), await net.start(2)
        for kind in ("dns", "dns4"):
            await a.transport.dial(b.address.replace("/ip4/127.0.0.1", f"/{kind}/localhost"), SECONDS)
            await a.transport.disconnect(b.node_id)

    async def test_unknown_name_fails_at_resolve(self, net):
        a = await net.start(1)
        with pytest.raises(DialError) as failure:
            await a.transport.dial(f"/dns4/nothing.invalid/tcp/1/p2p/{peer_id_of(net.identity(2).node_id)}", SECONDS)
        assert failure.value.step == "resolve"

    @pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
    async def test_what_is_no_peer_fails_at_handshake_within_the_deadline(self, net, greeting):
        a = await net.start(1)
        with socket.create_server(("127.0.0.1", 0)) as server:

            async def greet() -> None:
                connection, _ = await asyncio.to_thread(server.accept)
                with connection:
                    connection.sendall(greeting)
                    await asyncio.wait_for(given_up.wait(), 10)

            given_up = asyncio.Event()
            port, peer = server.getsockname()[1], peer_id_of(net.identity(2).node_id)
            async with asyncio.TaskGroup() as group:
                group.create_task(greet())
                with pytest.raises(DialError) as failure:  # 2 s: on a busy machine connecting alone may take half of one
                    await a.transport.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer}", 2)
                given_up.set()
        assert failure.value.step == "handshake"

    async def test_silent_address_fails_at_connect_within_the_deadline(self, net):
        a = await net.start(1)
        with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
            address = server.getsockname()
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            with pytest.raises(DialError) as failure:
                await a.transport.dial(f"/ip4/127.0.0.1/tcp/{address[1]}/p2p/{peer_id_of(net.identity(2).node_id)}", 0.3)
            for filler in fillers:
                filler.close()
        assert failure.value.step == "connect"

    async def test_cancelled_dial_leaves_the_transport_usable(self, net):
        a, b = await net.start(1), await net.start(2)
        for delay in (0, 0.001, 0.003):
            task = asyncio.get_running_loop().create_task(a.transport.dial(b.address, SECONDS))
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.wait((task,))
        assert await a.transport.dial(b.address, SECONDS) == b.node_id
        assert await echo(a, b.node_id, b"x") == b"x"


class TestOtherProcesses:
    async def test_killed_peer_is_noticed_at_once_also_in_a_request(self, net, child):
        process, address = child
        a = await net.start(1)
        peer = await a.transport.dial(address, SECONDS)
        asked = asyncio.get_running_loop().create_task(
            a.transport.request(peer, "/test/hang/1", b"", deadline=60, max_response=1)
        )
        await asyncio.sleep(0.1)
        process.kill()
        with pytest.raises(RequestError):
            await asyncio.wait_for(asked, 2)
        await eventually(lambda: a.saw_disconnected(peer), within=2)

    async def test_stopped_peer_can_be_disconnected_within_a_second(self, net, child):
        """Given a peer that was stopped while we send it megabytes; When we disconnect; Then all ends at once."""
        process, address = child
        a = await net.start(1)
        peer = await a.transport.dial(address, SECONDS)
        process.send_signal(signal.SIGSTOP)
        calls = [asyncio.get_running_loop().create_task(echo(a, peer, bytes(1024 * 1024), deadline=60)) for _ in range(12)]
        await asyncio.sleep(0.5)
        assert a.peers == [peer]  # the library does not notice; the daemon's own heartbeat does
        start = time.monotonic()
        await a.transport.disconnect(peer)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - start < 1
        assert all(isinstance(result, RequestError) for result in results)
        await eventually(lambda: a.saw_disconnected(peer))

    async def test_requests_to_a_stopped_peer_end_at_their_deadline_and_close_is_quick(self, net, child):
        process, address = child
        a = await net.start(1)
        peer = await a.transport.dial(address, SECONDS)
        process.send_signal(signal.SIGSTOP)
        calls = (echo(a, peer, bytes(1024 * 1024), deadline=0.3) for _ in range(20))
        start = time.monotonic()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, RequestError) for result in results)
        await a.transport.close()
        assert time.monotonic() - start < 3


class TestLongRuns:
    async def test_connections_leave_nothing_behind(self, net):
        """Given 300 connects, more than the library's cumulative cap of 250; Then the acceptor has no task more than before."""
        a, b = await net.start(1), await net.start(2)
        before = await living_tasks(b)
        for _ in range(300):
            await a.transport.dial(b.address, SECONDS)
            await a.transport.disconnect(b.node_id)
        await eventually(lambda: not b.peers)
        for _ in range(100):
            if await living_tasks(b) <= before:
                break
            await asyncio.sleep(0.05)
        assert await living_tasks(b) <= before


class TestWorthlessGossip:
    async def test_a_forwarder_of_worthless_messages_is_dropped(self, net):
        """Given a handler that finds every message worthless; When a peer goes on; Then it is disconnected, not before."""
        a, b = await net.start(1), net.make(2)
        b.transport.subscribe(TOPIC, lambda peer, message: b.gossip.append((peer, message)) is not None)
        await b.transport.start()
        await a.transport.dial(b.address, SECONDS)
        while len(b.gossip) < MAX_STRIKES:
            assert a.peers == [b.node_id]
            await a.transport.publish(TOPIC, b"worthless")
            await asyncio.sleep(0.005)
        await a.transport.publish(TOPIC, b"one too many")
        await eventually(lambda: a.saw_disconnected(b.node_id))


class TestFailure:
    async def test_a_crash_of_the_thread_is_raised_and_ends_every_call(self, net):
        a, b = await net.start(1), await net.start(2)
        await a.transport.dial(b.address, SECONDS)
        asked = asyncio.get_running_loop().create_task(
            a.transport.request(b.node_id, "/test/hang/1", b"", deadline=60, max_response=1)
        )
        watch = asyncio.get_running_loop().create_task(a.transport.wait_closed())
        await asyncio.sleep(0.1)

        async def crash() -> None:
            raise ZeroDivisionError("a bug in the thread")

        a.transport._bridge.tell(a.transport._bridge._nursery.start_soon, crash)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(watch, SECONDS)
        with pytest.raises(RequestError):
            await asyncio.wait_for(asked, SECONDS)
        with pytest.raises(RequestError):
            await echo(a, b.node_id, b"x")
        await a.transport.close()

    async def test_a_bridge_that_was_never_started_refuses(self):
        bridge = Bridge("idle")

        async def nothing() -> None:
            pytest.fail("ran")

        with pytest.raises(RequestError):
            await bridge.call(nothing)
        await bridge.stop()


def test_the_protocol_and_the_memory_network_do_not_import_libp2p():
    code = "import sys, bflcd.net.protocol, bflcd.net.memory; print([m for m in sys.modules if m in ('libp2p', 'trio')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_only_the_needed_parts_of_the_library_are_imported():
    code = (
        "import sys, bflcd.net.libp2p.node; heavy = ('libp2p.host', 'libp2p.kad_dht', 'libp2p.bitswap', 'zeroconf', 'httpx', 'aiohttp');"
        "print([m for m in sys.modules if m in heavy])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


async def test_library_logs_nothing_in_ordinary_use(net, caplog):
    a, b = await net.start(1), await net.start(2)
    await a.transport.dial(b.address, SECONDS)
    await echo(a, b.node_id, b"x")
    await b.transport.close()
    await eventually(lambda: not a.peers)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR", "CRITICAL")] == []


async def test_a_network_thread_that_is_held_up_is_late_while_it_is_and_once_it_goes_on(net):
    """Given a thread that something holds up, when another thread looks, then it sees by how much, before the thread itself can say."""
    member, held = await net.start(1), threading.Event()
    await eventually(lambda: member.transport._bridge.lateness._due < float("inf"))
    member.transport._bridge.tell(held.wait)
    try:
        await eventually(lambda: member.transport.lag() > 0.3)
    finally:
        held.set()
    await eventually(lambda: member.transport._bridge.lateness._late > 0.3)
    await eventually(lambda: member.transport.lag() < 0.3)
