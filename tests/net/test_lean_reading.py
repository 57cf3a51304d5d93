"""What is read between socket and Yamux without the library: whole, in order, within bounds; and credit that travels with a frame."""

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bflcd.net.libp2p.budget import STRANGER_UNREAD_BYTES
from bflcd.net.libp2p.frames import Frames
from bflcd.net.libp2p.handshake import LeanSession, TcpStream
from bflcd.net.libp2p.library import ConnectionClosedError, IncompleteReadError
from bflcd.net.libp2p.requests import _RESPONSE_WINDOW_BYTES
from bflcd.net.libp2p.yamux import FRAME_BYTES, INITIAL_WINDOW_BYTES, STALL_S
from bflcd.types import CHUNK_BYTES
from tests.net.test_libp2p_defects import FakeSession, arrive, our_stream

TAG = b"!"
"""What the cipher of these tests adds to a message, in front."""


class Segments:
    """A socket that gives what was sent in segments of a size, then nothing."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    async def receive_some(self, count: int) -> bytes:
        count = min(count, self._size)
        head, self._data = self._data[:count], self._data[count:]
        return head

    def setsockopt(self, *_: Any) -> None:
        """A socket has options."""


def decrypted(sealed: bytes) -> bytes:
    if not sealed.startswith(TAG):
        raise ValueError("not authentic")
    return sealed[len(TAG) :]


def session_of(messages: list[bytes], segment: int, *, cut: int = 0, tag: bytes = TAG) -> LeanSession:
    wire = b"".join((len(tag) + len(message)).to_bytes(2, "big") + tag + message for message in messages)
    stream = TcpStream(Segments(wire[: len(wire) - cut], segment))  # type: ignore[arg-type]
    stream.trust()
    return LeanSession(SimpleNamespace(conn=SimpleNamespace(decrypt=decrypted), is_initiator=True), stream)


messages_of = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8)


@given(messages_of, st.integers(1, 60), st.lists(st.integers(1, 80), max_size=30))
def test_bytes_are_read_in_order_however_they_were_cut(messages: list[bytes], segment: int, counts: list[int]) -> None:
    """Given messages in segments of any size, Then each read has exactly what was asked for, and the end is told as one."""
    session, rest = session_of(messages, segment), b"".join(messages)

    async def main() -> bytes:
        taken = b""
        for count in counts:
            if len(taken) + count > len(rest):
                break
            part = await session.read(count)
            assert len(part) == count
            taken += part
        while len(taken) < len(rest):
            taken += await session.read()
        with pytest.raises(IncompleteReadError) as caught:
            await session.read(1)
        assert caught.value.is_clean_close
        return taken

    assert trio.run(main) == rest
    assert session.is_initiator, "all else is the library's"


@given(messages_of, st.integers(1, 60), st.integers(1, 50))
def test_a_message_that_is_cut_short_is_never_read(messages: list[bytes], segment: int, cut: int) -> None:
    cut = min(cut, len(messages[-1]) + len(TAG))

    async def main() -> None:
        session = session_of(messages, segment, cut=cut)
        assert await session.read(sum(map(len, messages[:-1]))) == b"".join(messages[:-1])
        with pytest.raises(IncompleteReadError):
            await session.read(1)

    trio.run(main)


@pytest.mark.parametrize(
    ("messages", "tag", "error"),
    [([b"", b"x"], TAG, ConnectionClosedError), ([b"forged"], b"?", ValueError)],
    ids=["empty", "not authentic"],
)
@pytest.mark.parametrize("count", [None, 1])
def test_what_is_no_message_ends_the_reading(
    messages: list[bytes], tag: bytes, error: type[Exception], count: int | None
) -> None:
    async def main() -> None:
        with pytest.raises(error):
            await session_of(messages, 10, tag=tag).read(count)

    trio.run(main)


@pytest.mark.parametrize(
    ("count", "size", "refused"), [(64, 1, False), (1_000, 1, True), (4_000, 200, True), (1_000, 256, False)]
)
def test_what_comes_in_tiny_messages_is_refused(count: int, size: int, refused: bool) -> None:
    """Given a frame's body in Noise messages of a size, each of which costs the thread as much however short it is, Then few are read."""
    session = session_of([b"x" * size] * count, 128 * 1024)

    async def main() -> bytes:
        return await session.read(count * size)

    if refused:
        with pytest.raises(ConnectionClosedError, match="into more than"):
            trio.run(main)
    else:
        assert trio.run(main) == b"x" * (count * size)


@pytest.mark.parametrize("size", [256, 60_000])
def test_a_frame_takes_no_more_memory_than_its_bytes_however_it_was_cut(size: int) -> None:
    """Given the largest frame of a stranger, in Noise messages of a size, Then while it is read it takes a few times its bytes."""
    count = STRANGER_UNREAD_BYTES // size
    session = session_of([bytes(range(size % 255)) + bytes(size - size % 255)] * count, 128 * 1024)

    async def main() -> int:
        tracemalloc.start()
        try:
            await session.read(count * size)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # what is read, its join, the socket's buffer with what is left of the test's wire, and a message
    assert trio.run(main) < 16 * STRANGER_UNREAD_BYTES


def test_credit_for_a_whole_chunk_goes_back_with_the_next_request() -> None:
    """Given a response of a chunk, Then reading it sends nothing, and the request after it opens the whole window again."""

    async def main() -> None:
        stream = our_stream(FakeSession())
        wire = stream.conn.secured_conn.written
        stream.widen(_RESPONSE_WINDOW_BYTES)
        await stream.write(b"ask")
        assert (frame(wire, 0), frame(wire, 12)) == ((1, _RESPONSE_WINDOW_BYTES - INITIAL_WINDOW_BYTES), (0, 3))
        wire.clear()
        missing = CHUNK_BYTES + 8
        while missing:
            arrive(stream, bytes(min(FRAME_BYTES, missing)))
            missing -= len(await stream.receive())
        assert wire == b""
        await stream.write(b"ask")
        assert (frame(wire, 0), frame(wire, 12)) == ((1, CHUNK_BYTES + 8), (0, 3))
        assert stream.recv_window == stream.target_recv_window == _RESPONSE_WINDOW_BYTES

    trio.run(main)


def test_little_credit_waits() -> None:
    """Given less than a quarter of the window to return, Then a frame carries its own bytes alone: a full one fills a Noise message."""

    async def main() -> None:
        stream = our_stream(FakeSession())
        arrive(stream, bytes(INITIAL_WINDOW_BYTES // 4 - 1))
        await stream.receive()
        await stream.write(b"say")
        assert bytes(stream.conn.secured_conn.written[12:]) == b"say"

    trio.run(main)


def frame(wire: bytearray, at: int) -> tuple[int, int]:
    """Type and length of the frame whose header is there."""
    return wire[at + 1], int.from_bytes(wire[at + 8 : at + 12], "big")


@pytest.mark.parametrize(("pause", "ends"), [(50.0, STALL_S + 6), (70.0, STALL_S)], ids=["a trickle", "silence"])
def test_a_message_that_does_not_come_is_given_up(pause: float, ends: float) -> None:
    """Given a message of 96 KiB of which a byte comes every so often, Then it is given up when it has taken longer than its size
    allows, or nothing came for a minute."""

    async def main() -> float:
        stream = our_stream(FakeSession())

        async def trickle() -> None:
            arrive(stream, (96 * 1024).to_bytes(4, "big"))
            while True:
                await trio.sleep(pause)
                arrive(stream, b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            with pytest.raises(trio.TooSlowError):
                await Frames(stream).read(96 * 1024)
            nursery.cancel_scope.cancel()
        assert stream.unfinished == 0
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(lambda: _seconds_of(main), clock=clock) == pytest.approx(ends)


async def _seconds_of(main: Any) -> float:
    begun = trio.current_time()
    return float(await main() - begun)
