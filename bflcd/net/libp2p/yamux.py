"""Yamux with its flow control mended: few window updates, patient writers, no interleaving, no cancelled frame (P2, P4, P5)."""

import struct
from typing import Any, Final

import trio

from bflcd.net.libp2p.budget import READS, STRANGER_UNREAD_BYTES, UNASKED_BYTES, UNREAD_BYTES
from bflcd.net.libp2p.library import (
    ID,
    IncompleteReadError,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
    Yamux,
    YamuxStream,
    use_stream_class,
)

FRAME_BYTES: Final = 65_535 - 16 - 12
"""Payload of a data frame: with its 12-byte header exactly one Noise message; the library's 64 KiB frame takes two."""

MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""Largest receive window of a stream: 80 MB/s at a round trip of 100 ms."""

INITIAL_WINDOW_BYTES: Final = 256 * 1024
"""Window of a new stream (Yamux specification)."""

OVERRUN_BYTES: Final = INITIAL_WINDOW_BYTES
"""A peer that has sent this much beyond its window, in one frame or in many, is dropped: the library warns, buffers, and forgets
by how much."""

STALL_S: Final = 60.0
"""A peer that grants no window for this long is given up; the library's 5 s break slow links (P5)."""

BODY_S: Final = 60.0
"""A peer that has announced a frame has to send it within this time."""

_POLL_S: Final = 0.25
"""How often a writer without window looks whether its stream was reset: the library wakes only readers."""

_DATA: Final = 0
_WINDOW_UPDATE: Final = 1
_HEADER: Final = struct.Struct("!BBHII")
_LOOPBACK_RTT_S: Final = 0.001
"""Assumed until the first ping is answered."""


class PatientStream(YamuxStream):  # type: ignore[misc]
    """A Yamux stream whose messages stay whole and whose windows follow the reader."""

    target_recv_window: int
    epoch_start: float

    def __init__(self, stream_id: int, conn: "LeanYamux", is_initiator: bool) -> None:
        self._credit = trio.Event()
        self._turn = trio.Lock()
        self._overrun = 0
        self.unfinished = 0
        """Bytes of a message that is not whole yet, taken off the stream already."""
        super().__init__(stream_id, conn, is_initiator)

    @property
    def send_window(self) -> int:
        """Bytes that the peer lets us send now; the frame handler raises it."""
        return self._send_window

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._send_window = value
        if value > 0:
            self._credit.set()

    @property
    def recv_window(self) -> int:
        """Bytes that we let the peer send now; the frame handler lowers it."""
        return self._recv_window

    @recv_window.setter
    def recv_window(self, value: int) -> None:
        self._recv_window = value
        if value < 0:
            self._overrun -= value
        # every connection of the library in this process has streams of this class; those that are not ours are not bounded
        if isinstance(self.conn, LeanYamux) and (self._overrun > OVERRUN_BYTES or self.conn.is_full()):
            self.conn.condemn()

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of `data`; other writers wait, so that messages never interleave.

        Raises MuxedStreamError if the stream is closed or the peer grants no window for `STALL_S`.
        """
        view = memoryview(data)
        sent = 0
        async with self._turn:
            while sent < len(view):
                await self._wait_for_credit()
                size = min(self.send_window, FRAME_BYTES, len(view) - sent)
                self.send_window -= size
                header = self._credit_owed() + _HEADER.pack(0, _DATA, 0, self.stream_id, size)
                await self.conn._write_frame(header + view[sent : sent + size])  # noqa: SLF001 - the muxer's own streams do
                sent += size

    def _credit_owed(self) -> bytes:
        """A window update to travel with the next frame, if a quarter of the window is owed: it costs no packet of its own."""
        owed = self._owed()
        if self.recv_closed or 4 * owed < self.target_recv_window:
            return b""
        self.recv_window += owed
        return _HEADER.pack(0, _WINDOW_UPDATE, 0, self.stream_id, owed)

    async def _wait_for_credit(self) -> None:
        deadline = trio.current_time() + STALL_S
        while True:
            if self.closed or self.send_closed or self.conn.event_shutting_down.is_set():
                raise MuxedStreamError("the stream is closed")
            if self.send_window > 0:
                return
            if trio.current_time() > deadline:
                raise MuxedStreamError(f"the peer read nothing for {STALL_S:g} s")
            self._credit = trio.Event()
            with trio.move_on_after(_POLL_S):
                await self._credit.wait()

    async def receive(self) -> bytearray:
        """Whatever has arrived, at least one byte, taken without a copy. Raises MuxedStreamEOF or MuxedStreamReset."""
        buffers, events = self.conn.stream_buffers, self.conn.stream_events
        while True:
            buffer: bytearray | None = buffers.get(self.stream_id)
            if buffer:
                buffers[self.stream_id] = bytearray()
                await self._auto_tune_and_send_window_update(bytes_read=len(buffer))
                return buffer
            if self.reset_received or (buffer is None and not self.recv_closed):
                raise MuxedStreamReset("the stream was reset")
            if self.recv_closed or buffer is None:
                raise MuxedStreamEOF("the stream ended")
            await events[self.stream_id].wait()
            if self.stream_id in events:
                events[self.stream_id] = trio.Event()

    def wake(self) -> None:
        """Let a writer without window look at the stream's state."""
        self._credit.set()

    def widen(self, window: int) -> None:
        """Let the peer send up to `window` bytes before we have read any; the next frame tells it."""
        self.target_recv_window = max(self.target_recv_window, min(window, MAX_WINDOW_BYTES))

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        """Return credit once half the window was read (P2: the library sends an update for nearly every read)."""
        del bytes_read  # the windows themselves say what is owed
        if self.recv_closed or self.closed or 2 * self._owed() < self.target_recv_window:
            return
        now = trio.current_time()
        if self.epoch_start and now - self.epoch_start < 4 * (self.conn.rtt() or _LOOPBACK_RTT_S):
            self.target_recv_window = min(2 * self.target_recv_window, MAX_WINDOW_BYTES)
        self.epoch_start = now
        await self._grant()

    def _owed(self) -> int:
        buffered = len(self.conn.stream_buffers.get(self.stream_id, b""))
        return int(self.target_recv_window - self.recv_window - buffered)

    async def _grant(self) -> None:
        owed = self._owed()
        if owed > 0:
            self.recv_window += owed
            await self.send_window_update(owed)


class LeanYamux(Yamux):  # type: ignore[misc]
    """A Yamux connection that never tears a frame and drops who overruns a window."""

    def __init__(self, session: Any, peer: ID, *, is_initiator: bool) -> None:
        super().__init__(session, peer, is_initiator=is_initiator)
        self._room = self._unasked_room = STRANGER_UNREAD_BYTES

    def trust(self) -> None:
        """Give the peer what a member gets: more room for what nobody has read yet, and a faster reader."""
        self._room, self._unasked_room = UNREAD_BYTES, UNASKED_BYTES
        self.secured_conn.pace(READS)

    def is_full(self) -> bool:
        """Whether more has come than may wait to be read, in all or on the streams that the peer has opened."""
        asked, unasked = self.unread(asked=True), self.unread(asked=False)
        return unasked > self._unasked_room or asked + unasked > self._room

    def unread(self, *, asked: bool) -> int:
        """Bytes that nobody has read yet, or of messages that are not whole. `asked`: on the streams that we opened."""
        streams = [stream for stream in self.streams.values() if stream.is_initiator is asked]
        return sum(stream.unfinished + len(self.stream_buffers.get(stream.stream_id, b"")) for stream in streams)

    async def _read_data_body(self, length: int) -> bytes:
        """A frame's payload. One that is larger than everything that may wait is not even read."""
        if length > self._room:
            self.condemn()
            raise IncompleteReadError(f"a frame of {length} bytes, at most {self._room} may wait to be read")
        with trio.fail_after(BODY_S):
            body: bytes = await self.secured_conn.read(length)
        return body

    async def _write_frame(self, data: bytes) -> None:
        """Write one frame whole: a half-written one would kill the connection unseen (P4)."""
        async with self._write_lock:
            with trio.CancelScope(shield=True):
                await self.secured_conn.write(data)

    def condemn(self) -> None:
        """Stop reading frames: the peer breaks the protocol. The connection's owner closes it."""
        self.event_shutting_down.set()

    def abandon(self) -> None:
        """Wake every reader and writer with an error: the socket is closed and nothing more will come."""
        self.event_shutting_down.set()
        for stream in self.streams.values():
            stream.closed = stream.send_closed = stream.recv_closed = stream.reset_received = True
            stream.wake()
        for event in self.stream_events.values():
            event.set()
        self.streams.clear()
        self.stream_buffers.clear()
        self.stream_events.clear()

    async def confirm(self) -> None:
        """Wait until the peer answers a ping: then it has finished its handshake and accepted us."""
        self._ping_id += 1
        self._ping_event = trio.Event()
        self._ping_sent_time = trio.current_time()
        await self._write_frame(_HEADER.pack(0, _PING, _SYN, 0, self._ping_id))
        while self._rtt == 0.0:
            # The library's own ping replaces the event half a second after the start.
            with trio.move_on_after(_POLL_S):
                await self._ping_event.wait()


_PING: Final = 2
_SYN: Final = 1

use_stream_class(PatientStream)
