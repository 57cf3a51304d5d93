"""Frames: bounded, and refused before anything is allocated."""

import io

import msgpack
import pytest

from bflcd.learn.frames import (
    MAX_FRAME_BYTES,
    MAX_HEAD_BYTES,
    MAX_PAYLOADS,
    Frame,
    FrameError,
    decode_head,
    frame_parts,
    head_length,
    read_frame,
)


def reader(data):
    stream = io.BytesIO(data)

    def read_exactly(size):
        found = stream.read(size)
        if len(found) != size:
            raise EOFError
        return found

    return read_exactly


@pytest.mark.parametrize("frame", [Frame("a"), Frame("b", {"x": [1, None, "y", b"z"]}, (b"", b"12", b"3" * 100_000))])
def test_round_trip(frame):
    assert read_frame(reader(b"".join(frame_parts(frame)))) == frame


def test_an_early_end_is_an_end():
    data = b"".join(frame_parts(Frame("b", {}, (b"12",))))
    for length in range(len(data)):
        with pytest.raises(EOFError):
            read_frame(reader(data[:length]))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xc1",
        msgpack.packb(1),
        msgpack.packb(["a", {}]),
        msgpack.packb([1, {}, []]),
        msgpack.packb(["a", [], []]),
        msgpack.packb(["a", {}, 3]),
        msgpack.packb(["a", {}, [-1]]),
        msgpack.packb(["a", {}, ["1"]]),
        msgpack.packb(["a", {}, [MAX_FRAME_BYTES, 1]]),
        msgpack.packb(["a", {}, [0] * (MAX_PAYLOADS + 1)]),
        msgpack.packb(["a", {}, []]) + b"\0",
    ],
)
def test_other_heads_are_refused(head):
    with pytest.raises(FrameError):
        decode_head(head)


def test_long_heads_are_refused_by_their_length():
    with pytest.raises(FrameError):
        head_length((MAX_HEAD_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError):
        frame_parts(Frame("a", {"x": bytes(MAX_HEAD_BYTES)}))
