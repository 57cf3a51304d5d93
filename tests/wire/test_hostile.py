"""Bytes from liars: other encodings, torn, padded, with lying lengths, nested deep, random. Refused, and cheap to refuse."""

import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.wire.codec import decode, decode_any, encode, limit_of, peek_number
from tests.helpers.packing import nodes, other_forms
from tests.helpers.schema import FLAVOURS, MESSAGES, NAMED, sample, schema_of

ALL = pytest.mark.parametrize("cls", MESSAGES.values(), ids=NAMED)
ANY = tuple(MESSAGES.values())

MEMORY = 2 * 1024 * 1024
"""Bytes that refusing a message may take at its peak, beside the message itself."""


def refused(data, cls):
    """Refused as what it should be, and as whatever it says it is; nothing but PeerError comes out."""
    with pytest.raises(PeerError) as caught:
        decode(data, cls)
    with pytest.raises(PeerError):
        decode_any(data, ANY)
    return caught.value.rejection


@ALL
def test_no_value_has_two_encodings(cls):
    tried = 0
    for flavour in FLAVOURS:
        data = encode(sample(schema_of(cls), flavour))
        for node in nodes(data):
            for other in other_forms(data, node):
                assert refused(other, cls) in (Rejection.MALFORMED, Rejection.TOO_LARGE), (node, other[node.start :][:12])
                tried += 1
    assert tried > 10


@ALL
def test_torn_anywhere(cls):
    data = encode(sample(schema_of(cls), "plain"))
    for length in range(len(data)):
        assert refused(data[:length], cls) is Rejection.MALFORMED


@ALL
def test_padded(cls):
    data = encode(sample(schema_of(cls), "plain"))
    for tail in (b"\0", b"\xc0", b"\xc1", b"\x90", b"\xdd\xff\xff\xff\xff", data):
        assert refused(data + tail, cls) in (Rejection.MALFORMED, Rejection.TOO_LARGE)


LIES = {
    "array16": b"\xdc\xff\xff",
    "array32": b"\xdd\xff\xff\xff\xff",
    "array32 of 2^24": b"\xdd\x01\x00\x00\x00",
    "bytes32": b"\xc6\xff\xff\xff\xff",
    "bytes32 of 2^24": b"\xc6\x01\x00\x00\x00",
    "text32": b"\xdb\xff\xff\xff\xff",
    "text32 of 2^24": b"\xdb\x01\x00\x00\x00",
    "map16": b"\xde\xff\xff",
    "map32": b"\xdf\xff\xff\xff\xff",
    "extension32": b"\xc9\xff\xff\xff\xff\x05",
    "extension of 1": b"\xd4\x05x",
    "timestamp": b"\xd6\xff\0\0\0\0",
    "float": b"\xcb\x7f\xf8\0\0\0\0\0\0",
    "never used": b"\xc1",
    "nested arrays": b"\x91" * 100_000,
    "nested wide arrays": b"\xdc\xff\xff" * 30_000,
    "nested maps": b"\x81" * 100_000,
}


@ALL
def test_lying_lengths_and_depth_cost_no_memory(cls):
    """In place of every value, followed by nothing and by what stood there."""
    data = encode(sample(schema_of(cls), "plain"))
    places = nodes(data)[:40]  # of a segment the headers and the first body: each type of place is among them
    peak, where = 0, ""
    tracemalloc.start()
    try:
        for node in places:
            for name, lie in LIES.items():
                for hostile in (data[: node.start] + lie, data[: node.start] + lie + data[node.end :]):
                    tracemalloc.reset_peak()
                    before = tracemalloc.get_traced_memory()[0]
                    assert refused(hostile, cls) in (Rejection.MALFORMED, Rejection.TOO_LARGE, Rejection.UNKNOWN_KIND)
                    used = tracemalloc.get_traced_memory()[1] - before
                    if used > peak:
                        peak, where = used, f"{name} at byte {node.start}"
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY, where


@ALL
def test_above_the_limit_nothing_is_read(cls):
    data = bytes(limit_of(cls) + 1)
    tracemalloc.start()
    try:
        with pytest.raises(PeerError) as caught:
            decode(data, cls)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.rejection is Rejection.TOO_LARGE


def garbage(cls: type, count: int, chance: random.Random) -> Iterator[bytes]:
    """Random bytes, random bytes behind a valid head, and valid messages with some bytes changed, removed or repeated."""
    good = [encode(sample(schema_of(cls), flavour)) for flavour in FLAVOURS]
    head = nodes(good[1])[2].end
    for number in range(count):
        if number % 8 < 4:
            yield chance.randbytes(chance.randrange(64))
        elif number % 8 < 7:
            yield good[1][:head] + chance.randbytes(chance.randrange(256))
        else:
            spoiled = bytearray(chance.choice(good))
            for _ in range(chance.randint(1, 4)):
                place = chance.randrange(len(spoiled) + 1)
                match chance.randrange(3):
                    case 0:
                        spoiled[place : place + 1] = chance.randbytes(1)
                    case 1:
                        del spoiled[place : place + chance.randrange(1, 4)]
                    case _:
                        spoiled[place:place] = spoiled[place : place + 8]
            yield bytes(spoiled)


def survives(cls: type, count: int) -> None:
    for data in garbage(cls, count, random.Random(cls.__name__)):
        try:
            value = decode(data, cls)
        except PeerError:
            pass
        else:
            assert encode(value) == data
        with suppress(PeerError):
            peek_number(data)


@ALL
def test_garbage_raises_nothing_but_peer_errors(cls):
    survives(cls, 10_000)


@pytest.mark.slow
@ALL
def test_much_garbage(cls):
    survives(cls, 200_000)
