"""Raw TCP to a living libp2p transport: bytes where the handshake belongs."""

import asyncio
import socket
from collections.abc import Iterator
from functools import cache

from bflcd.errors import DialError
from bflcd.net.gossip import TOPIC
from bflcd.net.libp2p import Libp2pTransport
from tests.fuzz.living import Living
from tests.fuzz.target import Target

SECONDS = 2.0
"""How long the other side may take to close a connection that we have ended."""

MULTISTREAM = b"\x13/multistream/1.0.0\n"
NOISE = b"\x07/noise\n"


@cache
def living() -> Living:
    return Living()


def seeds() -> Iterator[bytes]:
    """The first bytes of real handshakes, taken from a dialler, and what is none."""
    yield from (b"", b"GET / HTTP/1.1\r\n\r\n", MULTISTREAM, MULTISTREAM + NOISE, MULTISTREAM + b"\x04/na\n")
    yield MULTISTREAM + NOISE + b"\x00\x20" + bytes(range(32))
    yield MULTISTREAM + NOISE + b"\xff\xff" + bytes(2000)
    yield MULTISTREAM + b"\xff\xff\xff\xff\x7f" + bytes(64)
    yield asyncio.run(_recorded())


async def _recorded() -> bytes:
    """What our own dialler sends before it gets an answer to its Noise message."""
    got = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MULTISTREAM + NOISE)
        got.extend(await reader.read(4096))
        await asyncio.sleep(0.05)
        got.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    dialler = Libp2pTransport(Living.attacker, ("/ip4/127.0.0.1/tcp/0",), lambda _: True)
    dialler.subscribe(TOPIC, lambda _peer, _data: True)
    await dialler.start()
    port = server.sockets[0].getsockname()[1]
    try:
        await dialler.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{Living.peer_id}", 1.0)
    except DialError:
        server.close()  # it can't succeed: what was sent is what is wanted
    finally:
        await dialler.close()
        server.close()
    assert got
    return bytes(got)


def one(data: bytes) -> None:
    """Send, say that nothing more comes, and see that the other side lets go."""
    with socket.create_connection(("127.0.0.1", living().port), timeout=SECONDS) as link:
        try:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            while link.recv(65_536):
                continue
        except ConnectionError:
            return


def kind(data: bytes) -> str:
    """How far it knows the handshake."""
    known = ((MULTISTREAM + NOISE, "multistream and Noise"), (MULTISTREAM, "multistream"))
    return next((name for start, name in known if data.startswith(start)), "bytes")


TARGET = Target("port", seeds, one, share=0.01, quiet=lambda: living().check(), bounded=False, kind=kind)
