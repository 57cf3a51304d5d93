"""What a member makes other nodes connect to by naming addresses: nothing inside, and its own machine once in a while."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from bflcd.crypto.identity import peer_id_of
from bflcd.errors import DialError
from bflcd.net.dialing.book import Source
from bflcd.net.dialing.rule import DialRule, parse_allowed
from bflcd.net.multiaddr import parse_listening
from bflcd.types import Height, NodeId, Round
from bflcd.wire.requests import GetStatus
from bflcd.wire.training import Training
from tests.helpers.network import CHAIN, identity, own_identity, running, until
from tests.helpers.transports import SECONDS, community
from tests.net.test_over_libp2p import Daemon


class Inside:
    """Services on this machine that are nobody's peer; `hits` counts connections by port."""

    def __init__(self) -> None:
        self.hits: Counter[int] = Counter()
        self.ports: list[int] = []
        self._servers: list[asyncio.Server] = []

    async def listen(self, count: int) -> None:
        for _ in range(count):
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _serve(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits[writer.get_extra_info("sockname")[1]] += 1
        writer.close()


@pytest.fixture
async def inside():
    one = Inside()
    await one.listen(4)
    yield one
    await one.close()


async def test_a_name_that_leads_inside_is_not_connected_to(inside: Inside) -> None:
    """Given an allowed name that resolves to loopback, then no socket is opened, and the error says where it leads."""
    async with community("libp2p") as members:
        node = await members.start(1)
        rule = DialRule((parse_listening("/ip4/0.0.0.0/tcp/4001"),), parse_allowed(("localhost",)))
        address = f"/dns4/localhost/tcp/{inside.ports[0]}/p2p/{peer_id_of(identity(2).node_id)}"
        assert rule.hearsay(address) == ""
        with pytest.raises(DialError, match=r"failed at resolve: .*leads where this node does not dial: 127\.0\.0\.1 is on this"):
            await node.transport.dial(address, SECONDS, check=rule.connecting)
        assert inside.hits == {}
        with pytest.raises(DialError, match="failed at handshake"):
            await node.transport.dial(address, SECONDS)
        assert inside.hits == {inside.ports[0]: 1}


@asynccontextmanager
async def victim(listen: str, members: set[NodeId]):
    """A node whose configuration says that it listens there."""
    node = Daemon(1, members)
    node.peers._rule = DialRule((parse_listening(listen),))
    await node.transport.start()
    async with running(node.peers.run):
        try:
            yield node
        finally:
            await node.transport.close()


async def announce(node: Daemon, liar: Daemon, ports: list[int]) -> None:
    """The liar connects, says that it is at those ports, and leaves."""
    tail = peer_id_of(liar.transport.node_id)
    said = tuple(f"/{host}/tcp/{port}/p2p/{tail}" for host, port in zip(HOSTS, ports, strict=True))
    await liar.transport.dial(node.transport.addresses()[0], SECONDS)
    await liar.exchange.ask(
        node.transport.node_id, GetStatus(CHAIN, Round(0), Height(0), CHAIN, said, Training.TRAINS), deadline=SECONDS
    )
    await liar.transport.close()


HOSTS = ("ip4/127.0.0.1", "dns4/localhost", "ip4/127.0.0.1", "dns4/localhost")


@pytest.mark.parametrize(
    ("listen", "most"), [("/ip4/0.0.0.0/tcp/0", 0), ("/ip4/127.0.0.1/tcp/0", 1)], ids=["everywhere", "loopback"]
)
async def test_a_member_that_names_internal_services_makes_nobody_go_there(
    inside: Inside, listen: str, most: int, caplog
) -> None:
    """Given a node that listens on loopback itself, then it looks there once, and not again for a minute; given another, never."""
    caplog.set_level("INFO")
    members = {own_identity(number).node_id for number in (1, 2)}
    liar = Daemon(2, members)
    await liar.transport.start()
    async with victim(listen, members) as node:
        await announce(node, liar, inside.ports)
        await until(lambda: not node.transport.connections())
        await asyncio.sleep(2.5)
        assert sum(inside.hits.values()) == most
    told = [record.getMessage() for record in caplog.records if "is not dialled" in record.getMessage()]
    assert len(told) == 1
    assert "net.dial_allow" in told[0]


async def test_who_announces_a_name_that_is_not_allowed_is_looked_for_where_it_is_seen() -> None:
    """Given a member that announces its place by a name, then it is dialled at its port on the host that it connects from."""
    members = {own_identity(number).node_id for number in (1, 2)}
    named = Daemon(2, members)
    await named.transport.start()
    place = named.transport.addresses()[0]
    named.peers._addresses = lambda: (place.replace("/ip4/127.0.0.1/", "/dns4/node.example.org/"),)
    async with victim("/ip4/127.0.0.1/tcp/0", members) as node, running(named.peers.run):
        await named.transport.dial(node.transport.addresses()[0], SECONDS)
        await until(lambda: (named.transport.node_id, place) in node.peers._dials.known(at_least=Source.OWN_WORD))
        await named.transport.close()


async def test_what_was_written_down_is_doubted_as_any_word_is(inside: Inside) -> None:
    """Given a place that a member once announced, and where a service answers, then a restarted node goes there once, no more."""
    members = {own_identity(number).node_id for number in (1, 2)}
    liar = own_identity(2).node_id

    class Kept:
        async def addresses(self):
            return ((liar, f"/ip4/127.0.0.1/tcp/{inside.ports[0]}/p2p/{peer_id_of(liar)}"),)

    node = Daemon(1, members)
    node.peers._rule = DialRule((parse_listening("/ip4/127.0.0.1/tcp/0"),))
    node.peers._book = Kept()
    await node.transport.start()
    async with running(node.peers.run):
        await asyncio.sleep(2.5)
        assert sum(inside.hits.values()) == 1
        await node.transport.close()
