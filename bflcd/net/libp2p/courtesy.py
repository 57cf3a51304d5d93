"""What every libp2p peer expects of another, whoever it is: ping and identify, and nothing that a stranger should not know."""

from functools import partial
from typing import Final

import trio

from bflcd.net.libp2p.connection import Connection
from bflcd.net.libp2p.frames import Frames
from bflcd.net.libp2p.library import MuxedStreamEOF
from bflcd.net.libp2p.switch import Switch
from bflcd.types import NodeId
from bflcd.version import __version__

PING: Final = "/ipfs/ping/1.0.0"
"""libp2p specification, ping: 32 bytes are sent back, as often as they come."""

IDENTIFY: Final = "/ipfs/id/1.0.0"
"""libp2p specification, identify: one message, then the end of the stream."""

PING_BYTES: Final = 32

IDLE_S: Final = 60.0
"""A ping stream on which nothing comes for so long is closed, and so is one whose peer never reads our description."""

_KEY_PREFIX: Final = bytes.fromhex("08011220")
"""An Ed25519 public key in libp2p's protobuf; the key follows."""

_PUBLIC_KEY, _PROTOCOLS, _PROTOCOL_VERSION, _AGENT_VERSION = 1, 3, 5, 6
"""Field numbers of identify. Addresses (2, 4) are for members: they ask with GetAddresses."""

_BYTES_FIELD: Final = 2


def offer_courtesies(switch: Switch) -> None:
    """Serve both on every connection."""
    switch.handle(PING, _pong)
    switch.handle(IDENTIFY, partial(_identify, switch))


async def _identify(switch: Switch, _connection: Connection, frames: Frames) -> None:
    message = description(switch.node_id, switch.protocols())
    await frames.stream.write(_varint(len(message)) + message)
    await frames.stream.close()
    await _read_to_end(frames)


async def _pong(_connection: Connection, frames: Frames) -> None:
    while True:
        with trio.move_on_after(IDLE_S):
            try:
                ping = await frames.take(PING_BYTES)
            except MuxedStreamEOF:
                return
            await frames.stream.write(ping)
            continue
        return


async def _read_to_end(frames: Frames) -> None:
    """Wait until the peer has closed its side: a reset would overtake what it has yet to read. What it says is not kept."""
    with trio.move_on_after(IDLE_S):
        while True:
            try:
                await frames.stream.receive()
            except MuxedStreamEOF:
                return


def description(node: NodeId, protocols: tuple[str, ...]) -> bytes:
    """The identify message of a node, as protobuf."""
    fields = [
        (_PUBLIC_KEY, _KEY_PREFIX + node),
        *((_PROTOCOLS, protocol.encode()) for protocol in protocols),
        (_PROTOCOL_VERSION, b"bflc/1"),
        (_AGENT_VERSION, f"bflcd/{__version__}".encode()),
    ]
    return b"".join(_varint(number << 3 | _BYTES_FIELD) + _varint(len(value)) + value for number, value in fields)


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])
