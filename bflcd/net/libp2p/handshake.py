"""From a TCP socket to an authenticated Yamux connection: multistream-select, Noise XX, multistream-select, Yamux."""

import socket
from typing import Any, Final

import trio

from bflcd.crypto.identity import Identity, node_id_of
from bflcd.net.libp2p.budget import HANDSHAKE_BYTES, NEGOTIATE_S, STRANGERS_READS, Negotiator, PacedSession, now
from bflcd.net.libp2p.library import (
    ID,
    NOISE_PROTOCOL_ID,
    YAMUX_PROTOCOL_ID,
    ConnectionClosedError,
    IncompleteReadError,
    Multiselect,
    NoiseTransport,
    RawConnection,
    ReadWriteCloser,
    create_new_key_pair,
    create_noise_key_pair,
)
from bflcd.net.libp2p.yamux import LeanYamux
from bflcd.net.limits import TokenBucket
from bflcd.types import NodeId

_RECEIVE_BYTES: Final = 128 * 1024
"""Largest read from a socket: two Noise messages."""

_NOISE_LENGTH_BYTES: Final = 2

_FEW_MESSAGES: Final = 64
_LEAST_MESSAGE_BYTES: Final = 256
"""What is read at once comes in few Noise messages, or in ones of so many bytes on the mean: each costs the thread 4 us, however
short it is. Senders of ours fill them; what others write in pieces, headers and varints, is small."""

_USER_TIMEOUT_MS: Final = 30_000
"""The kernel gives up a connection whose data is unacknowledged for this long, so that shielded writes end."""


class TcpStream(ReadWriteCloser):  # type: ignore[misc]
    """A socket with a read buffer: the library reads headers byte by byte."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._data: bytes | bytearray = b""
        self._position = 0
        self._allowance: int | None = HANDSHAKE_BYTES
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes; none at the end.

        Raises ConnectionClosedError on a broken connection, or once a peer has sent too much before it is authenticated.
        """
        if self._position == len(self._data):
            if self._allowance == 0:
                raise ConnectionClosedError(f"more than {HANDSHAKE_BYTES} bytes before authentication", transport="tcp")
            try:
                self._data = await self._stream.receive_some(min(_RECEIVE_BYTES, self._allowance or _RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error
            self._position = 0
            if self._allowance is not None:
                self._allowance -= len(self._data)
        start = self._position
        self._position = len(self._data) if n is None else min(start + n, len(self._data))
        return bytes(self._data[start : self._position])

    async def take(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises IncompleteReadError where the peer has left, and what `read` raises."""
        parts, missing = [], count
        while missing:
            part = await self.read(missing)
            if not part:
                raise IncompleteReadError(
                    f"the peer left {missing} of {count} bytes early", expected_bytes=count, received_bytes=count - missing
                )
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def has_spoken(self) -> bool:
        """Wait for the peer's first byte, and leave it there; False if the peer leaves without one."""
        try:
            return bool(await self._stream.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def trust(self) -> None:
        """The peer is authenticated: what it sends is bounded elsewhere from now on."""
        self._allowance = None

    async def write(self, data: bytes) -> None:
        """Send all of `data`. Raises ConnectionClosedError."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(f"connection lost: {error}", transport="tcp") from error

    def abort(self) -> None:
        """Close the socket at once; blocked readers and writers wake with an error."""
        self._stream.socket.close()

    async def close(self) -> None:
        """Close the socket, as the library asks for it."""
        self.abort()
        await trio.lowlevel.checkpoint()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the peer, none if the socket is closed."""
        try:
            host, port, *_ = self._stream.socket.getpeername()
        except OSError:
            return None
        return str(host), int(port)


class LeanSession:
    """The library's secured connection with a reader of its own: the library's copies each byte eight times on its way to
    Yamux, this one three times.

    Made before anything is read from the session.
    """

    def __init__(self, session: Any, stream: TcpStream) -> None:
        """`stream`: the socket under the session."""
        self._session = session
        self._stream = stream
        self._message = b""
        self._position = 0

    async def read(self, n: int | None = None) -> bytes:
        """Exactly `n` bytes; without `n` whatever comes next, at least one byte.

        Raises IncompleteReadError where the peer has left, ConnectionClosedError for an empty message, of which a peer could send
        any number to keep us busy, and what decrypting raises.
        """
        if n is None:
            await self._fill()
            return self._cut(len(self._message))
        if n:
            await self._fill()
        first = self._cut(n)
        if len(first) == n:
            return first
        whole, messages = bytearray(first), 1
        while len(whole) < n:
            await self._fill()
            whole += self._cut(n - len(whole))
            messages += 1
            if messages > _FEW_MESSAGES + n // _LEAST_MESSAGE_BYTES:
                raise ConnectionClosedError(f"the peer cut {n} bytes into more than {messages} messages", transport="noise")
        return bytes(whole)

    async def _fill(self) -> None:
        """Receive a message if nothing is left of the one before."""
        if self._position < len(self._message):
            return
        length = int.from_bytes(await self._stream.take(_NOISE_LENGTH_BYTES), "big")
        self._message, self._position = self._session.conn.decrypt(await self._stream.take(length)), 0
        if not self._message:
            raise ConnectionClosedError("the peer sent an empty message", transport="noise")

    def _cut(self, count: int) -> bytes:
        start = self._position
        self._position = min(start + count, len(self._message))
        return self._message[start : self._position]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class Handshaker:
    """Our side of every handshake."""

    def __init__(self, identity: Identity) -> None:
        keys = create_new_key_pair(identity.seed)
        self.peer_id: Any = ID.from_pubkey(keys.public_key)
        self._strangers: TokenBucket | None = None
        self._noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)

    async def outbound(self, stream: TcpStream) -> tuple[NodeId, LeanYamux]:
        """Authenticate whoever was dialled. The caller compares the id; raises whatever the library does on a bad peer."""
        raw = RawConnection(stream, initiator=True)
        await _select(NOISE_PROTOCOL_ID, raw)
        # Without an expected id the library doesn't compare, so that a wrong one can be named to the operator.
        session = LeanSession(await self._noise.secure_outbound(raw, None), stream)
        await _select(YAMUX_PROTOCOL_ID, session)
        return self._muxed(stream, session, is_initiator=True)

    async def inbound(self, stream: TcpStream) -> tuple[NodeId, LeanYamux]:
        """Authenticate whoever has dialled us; raises whatever the library does on a bad peer."""
        raw = RawConnection(stream, initiator=False)
        await Multiselect({NOISE_PROTOCOL_ID: None}).negotiate(Negotiator(raw), NEGOTIATE_S)
        session = LeanSession(await self._noise.secure_inbound(raw), stream)
        await Multiselect({YAMUX_PROTOCOL_ID: None}).negotiate(Negotiator(session), NEGOTIATE_S)
        return self._muxed(stream, session, is_initiator=False)

    def _muxed(self, stream: TcpStream, session: Any, *, is_initiator: bool) -> tuple[NodeId, LeanYamux]:
        stream.trust()
        if self._strangers is None:  # not at the start: its clock is that of the network's thread
            self._strangers = TokenBucket(STRANGERS_READS, now())
        peer_id = session.get_remote_peer()
        node_id = node_id_of(peer_id.to_base58())
        return node_id, LeanYamux(PacedSession(session, self._strangers), peer_id, is_initiator=is_initiator)


async def _select(protocol: str, stream: Any) -> None:
    negotiator = Negotiator(stream)
    await negotiator.propose(protocol)
    await negotiator.agree(protocol)
