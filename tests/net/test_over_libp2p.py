"""The same exchange, gossip, peers and blobs over the real transport, on loopback: a few cases, to see that the parts fit."""

from contextlib import asynccontextmanager
from random import Random

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.net.blobs.fetcher import BlobFetcher
from bflcd.net.blobs.server import BlobServer
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import GossipChannel
from bflcd.net.libp2p import Libp2pTransport
from bflcd.net.peer import PeerCallbacks, PeerSettings
from bflcd.net.peers import PeerManager
from bflcd.types import CHUNK_BYTES, Epoch, Round
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Beacon
from bflcd.wire.requests import GetChunk
from tests.helpers.network import CHAIN, AnyAddress, ChunkStore, own_identity, real_now, running, status, until


class NoBook:
    async def addresses(self):
        return ()

    async def remember_address(self, _node, _address):
        return None


class Daemon:
    """All of the network's parts on one libp2p transport, wired as a node wires them."""

    def __init__(self, number, members):
        self.members = members
        self.transport = Libp2pTransport(own_identity(number), ("/ip4/127.0.0.1/tcp/0",), self.may_connect)
        self.store = ChunkStore()
        self.up, self.down = [], []
        common = {"now": real_now}
        self.exchange = Exchange(self.transport, is_member=lambda node: node in members, on_misbehaviour=self.punish, **common)
        self.peers = PeerManager(
            self.transport,
            self.exchange,
            status=lambda: status(number),
            is_member=lambda node: node in members,
            callbacks=PeerCallbacks(lambda node, _: self.up.append(node), self.down.append, lambda _node, _status: None),
            rng=Random(number),
            book=NoBook(),
            rule=AnyAddress(),
            settings=PeerSettings(heartbeat_period=0.2, tick=0.05),
            **common,
        )
        self.gossip = GossipChannel(
            self.transport, chain=lambda: CHAIN, is_member=lambda node: node in members, on_misbehaviour=self.punish, **common
        )
        self.blobs = BlobFetcher(
            self.exchange, self.store, chain=lambda: CHAIN, max_bytes=2**30, on_misbehaviour=self.punish, **common
        )
        server = BlobServer(self.store, chain=lambda: CHAIN, may_serve=lambda *_: True, on_damage=lambda *_: None)
        self.exchange.serve({**self.peers.handlers(), **server.handlers()})

    def may_connect(self, peer):
        return self.peers.allows(peer)

    def punish(self, peer, rejection, text):
        self.peers.punish(peer, rejection, text)

    @property
    def id(self):
        return self.transport.node_id


@asynccontextmanager
async def daemons(count, strangers=()):
    members = {own_identity(number).node_id for number in range(1, count + 1) if number not in strangers}
    nodes = [Daemon(number, members) for number in range(1, count + 1)]
    try:
        for node in nodes:
            await node.transport.start()
        async with running(*(node.peers.run for node in nodes)):
            for node in nodes[1:]:
                node.peers.add_address(nodes[0].transport.addresses()[0])
            yield nodes
    finally:
        for node in nodes:
            await node.transport.close()


async def test_three_daemons_find_each_other_gossip_and_move_a_blob():
    async with daemons(3) as nodes:
        everyone = {node.id for node in nodes}
        await until(lambda: all(set(node.peers.members()) == everyone - {node.id} for node in nodes), 20)
        beacon = seal(
            Beacon(chain=CHAIN, round=Round(1), epoch=Epoch(0), parent=CHAIN, committee=CHAIN), own_identity(1)
        ).envelope
        await until_gossip_flows(nodes, beacon)
        data = Random(1).randbytes(5 * CHUNK_BYTES + 77)
        ref = await nodes[0].store.put_blob(data)
        await nodes[1].blobs.fetch(ref, [nodes[0].id])
        await nodes[2].blobs.fetch(ref, [nodes[0].id, nodes[1].id])
        assert nodes[1].store.blob(ref) == nodes[2].store.blob(ref) == data
        await nodes[0].transport.close()
        await until(lambda: nodes[0].id in nodes[1].down and nodes[0].id in nodes[2].down, 10)


async def until_gossip_flows(nodes, message):
    """Publish until both others have it: the mesh forms at its own pace, and gossip may be lost."""
    for _ in range(40):
        await nodes[0].gossip.publish(message)
        try:
            await until(lambda: all(len(node.gossip._inbox) for node in nodes[1:]), 0.5)
        except TimeoutError:
            continue
        for node in nodes[1:]:
            assert (await node.gossip.receive()).message == message
        return
    pytest.fail("gossip reached nobody in 20 s")


async def test_a_stranger_gets_no_chunk_over_the_real_transport():
    async with daemons(2, strangers=(2,)) as (member, stranger):
        await until(lambda: member.id in {peer.node for peer in stranger.peers.peers()}, 10)
        ref = await member.store.put_blob(b"not for strangers")
        with pytest.raises(PeerError) as caught:
            await stranger.exchange.ask(member.id, GetChunk(CHAIN, ref.root, 0), deadline=5.0)
        assert caught.value.rejection is Rejection.NOT_MEMBER
