"""Ping and identify, which every libp2p peer expects: served to strangers too, bounded, and without a word too many."""

import trio

from bflcd.net.libp2p.courtesy import IDENTIFY, PING, PING_BYTES, description
from bflcd.net.libp2p.library import MuxedStreamEOF
from bflcd.version import __version__
from tests.foreign.go_peer import fields
from tests.helpers.transports import SECONDS, Community, Member, community


async def connected(members: Community) -> tuple[Member, Member]:
    node, other = await members.start(1), await members.start(2)
    await other.transport.dial(node.address, SECONDS)
    return node, other


async def on_stream(member: Member, peer, protocol: str, function):
    async def work():
        stream = await member.transport._node._switch.connections[peer].open(protocol)
        with trio.fail_after(SECONDS):
            return await function(stream)

    return await member.transport._bridge.call(work)


async def test_a_ping_comes_back_as_often_as_it_is_sent_in_whatever_pieces() -> None:
    async def ping(stream) -> bytes:
        found = b""
        for part in (b"a" * PING_BYTES, b"b" * (PING_BYTES - 1), b"b", b"c" * 2 * PING_BYTES):
            await stream.write(part)
        while len(found) < 4 * PING_BYTES:
            found += await stream.receive()
        return found

    async with community("libp2p") as members:
        node, other = await connected(members)
        assert await on_stream(other, node.node_id, PING, ping) == b"".join(bytes([c]) * PING_BYTES for c in b"abcc")


async def test_identify_names_key_protocols_and_version_and_ends() -> None:
    async def identify(stream) -> bytes:
        found = b""
        while True:
            try:
                found += await stream.receive()
            except MuxedStreamEOF:
                return found

    async with community("libp2p") as members:
        node, other = await connected(members)
        answer = await on_stream(other, node.node_id, IDENTIFY, identify)
        said = fields(answer[2:])
        assert said[0] == (1, bytes.fromhex("08011220") + node.node_id)
        assert said[-2:] == [(5, b"bflc/1"), (6, f"bflcd/{__version__}".encode())]
        assert {value.decode() for number, value in said if number == 3} >= {PING, IDENTIFY, "/test/echo/1"}
        assert {number for number, _ in said} == {1, 3, 5, 6}, "no address: those are for members"


def test_a_description_is_small() -> None:
    assert len(description(b"n" * 32, ("/x" * 100,) * 3)) < 1000  # type: ignore[arg-type]
