"""A go-libp2p peer: its daemon `p2pd`, spoken to over its control socket (one message of protobuf each, with a varint length)."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import base58

SECONDS: Final = 15.0

IDENTIFY, CONNECT, STREAM_OPEN = 0, 1, 2
"""Kinds of requests."""

_VARINT, _BYTES = 0, 2
"""Wire types of protobuf."""


class GoError(Exception):
    """The daemon answered with an error."""


class GoPeer:
    """A running `p2pd`."""

    def __init__(self, control: Path) -> None:
        self._control = control

    def connect(self, peer_id: str, host: str, port: int) -> None:
        """Dial, handshake, identify. Raises GoError."""
        place = b"\x04" + socket.inet_aton(host) + b"\x06" + port.to_bytes(2, "big")
        self._ask(CONNECT, _field(2, _field(1, base58.b58decode(peer_id)) + _field(2, place))).close()

    def stream(self, peer_id: str, protocol: str) -> socket.socket:
        """A stream of that protocol, as a socket. Raises GoError if the other side does not speak it."""
        return self._ask(STREAM_OPEN, _field(3, _field(1, base58.b58decode(peer_id)) + _field(2, protocol.encode())))

    def answer(self, peer_id: str, protocol: str, data: bytes, most: int = 2**20) -> bytes:
        """What comes back on such a stream until it ends, or nothing comes for a second."""
        found = b""
        with self.stream(peer_id, protocol) as stream:
            stream.sendall(data)
            stream.settimeout(1.0)
            try:
                while len(found) < most and (part := stream.recv(65_536)):
                    found += part
            except (TimeoutError, ConnectionError):
                return found
        return found

    def _ask(self, kind: int, rest: bytes = b"") -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(SECONDS)
        link.connect(str(self._control))
        message = _varint(1 << 3 | _VARINT) + _varint(kind) + rest
        link.sendall(_varint(len(message)) + message)
        answer = _exactly(link, _read_varint(link))
        if not answer.startswith(b"\x08\x00"):
            link.close()
            raise GoError(answer.decode(errors="replace"))
        return link


@contextmanager
def go_peer(program: Path, folder: Path) -> Iterator[GoPeer]:
    """Start one that listens nowhere and knows nobody."""
    control = folder / "p2pd.sock"
    command = [program, "-listen", f"/unix{control}", "-noListenAddrs", "-relay=0", "-relayService=0", "-q"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + SECONDS
        while not control.exists():
            assert process.poll() is None, process.stderr.read().decode(errors="replace")  # type: ignore[union-attr]
            assert time.monotonic() < end, "p2pd opens no control socket"
            time.sleep(0.05)
        yield GoPeer(control)
    finally:
        process.kill()
        process.communicate()


def fields(message: bytes) -> list[tuple[int, bytes]]:
    """The fields of a message that has byte strings only: number and value, in their order."""
    found, at = [], 0
    while at < len(message):
        key, at = _varint_at(message, at)
        length, at = _varint_at(message, at)
        found.append((key >> 3, message[at : at + length]))
        at += length
    return found


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def _read_varint(link: socket.socket) -> int:
    data = _exactly(link, 1)
    while data[-1] >= 128:
        data += _exactly(link, 1)
    return _varint_at(data, 0)[0]


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise GoError("p2pd closed its control socket")
        data += part
    return data
