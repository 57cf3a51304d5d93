"""Bytes behind a real Noise handshake: Yamux frames, protocol negotiation, requests and gossip packets of an authenticated liar."""

import struct
from collections.abc import Iterator
from functools import cache

import trio

from bflcd.net.gossip import PUSH
from bflcd.net.libp2p.handshake import Handshaker, TcpStream
from bflcd.net.libp2p.library import PROTOCOL_ID_V11, rpc_pb2
from bflcd.types import ZERO_DIGEST, Height, Round
from bflcd.wire.codec import encode
from bflcd.wire.requests import GetStatus, Lane
from bflcd.wire.training import Training
from tests.fuzz.living import Living
from tests.fuzz.target import Target

SECONDS = 3.0
FRAME = struct.Struct("!BBHII")
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, FIN = 1, 4
MULTISTREAM = b"\x13/multistream/1.0.0\n"


@cache
def living() -> Living:
    return Living()


def _frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bytes:
    return FRAME.pack(0, kind, flags, stream, length) + body


def _opened(protocol: str, body: bytes) -> bytes:
    """A stream that negotiates `protocol` and carries `body`."""
    name = f"{protocol}\n".encode()
    said = MULTISTREAM + bytes([len(name)]) + name + body
    return _frame(DATA, SYN, 1, len(said), said) + _frame(DATA, FIN, 1, 0)


def seeds() -> Iterator[bytes]:
    status = encode(GetStatus(ZERO_DIGEST, Round(0), Height(0), ZERO_DIGEST, (), Training.TRAINS))
    for lane in Lane:
        yield _opened(lane.value, len(status).to_bytes(4, "big") + status)
    yield _opened(PUSH, b"\0\0\0\4\x92\1\x14\xc0")
    yield _opened(PUSH, b"\xff\xff\xff\xff")
    packet = rpc_pb2.RPC()
    packet.subscriptions.add(subscribe=True, topicid="/bflc/1/gossip")
    packet.publish.add(from_id=b"\0$\x08\1\x12 " + bytes(32), seqno=bytes(8), data=b"x", topicIDs=["/bflc/1/gossip"])
    packet.control.ihave.add(topicID="/bflc/1/gossip", messageIDs=[b"a", b"b"])
    packet.control.iwant.add(messageIDs=[b"a"])
    packet.control.graft.add(topicID="/bflc/1/gossip")
    packet.control.prune.add(topicID="/bflc/1/gossip")
    body = bytes(packet.SerializeToString())
    yield _opened(str(PROTOCOL_ID_V11), bytes([len(body)]) + body)
    yield _opened(str(PROTOCOL_ID_V11), b"\xff\xff\xff\xff\x7f")
    yield _frame(PING, SYN, 0, 7) + _frame(GO_AWAY, 0, 0, 0)
    yield _frame(WINDOW, SYN, 1, 2**32 - 1) + _frame(DATA, 0, 1, 2**32 - 1)
    yield _frame(DATA, SYN, 1, 300_000, bytes(3000))
    yield b"".join(_frame(WINDOW, SYN, stream, 0) for stream in range(1, 400, 2))


async def _session(data: bytes) -> None:
    with trio.move_on_after(SECONDS) as scope:
        stream = await trio.open_tcp_stream("127.0.0.1", living().port)
        link = TcpStream(stream)
        try:
            _, muxed = await Handshaker(Living.attacker).outbound(link)
            await muxed.secured_conn.write(data)
            await stream.send_eof()
            while await link.read(65_536):
                continue
        except Exception:  # noqa: BLE001 - the library raises what it likes when the other side lets go, as it should
            return
        finally:
            link.abort()
    assert not scope.cancelled_caught, "the other side neither answers nor lets go"


def one(data: bytes) -> None:
    trio.run(_session, data)


def kind(data: bytes) -> str:
    """The first frame's type, and the protocol that its stream asks for."""
    frames = {DATA: "data", WINDOW: "window update", PING: "ping", GO_AWAY: "go away"}
    first = frames.get(data[1], "unknown frame") if len(data) >= FRAME.size else "no frame"
    named = [protocol for protocol in (*(lane.value for lane in Lane), PUSH, str(PROTOCOL_ID_V11)) if protocol.encode() in data]
    return f"{first} for {named[0]}" if named else first


TARGET = Target("session", seeds, one, share=0.005, longest=16_384, quiet=lambda: living().check(), bounded=False, kind=kind)
