"""Hostile bytes from valid ones: flipped, torn, padded, spliced, nested, with lying lengths. For Hypothesis and for seeded loops."""

import random
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

LIES: Final = (
    b"\xdd\xff\xff\xff\xff",  # msgpack: 4 Gi elements
    b"\xdc\xff\xff",
    b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
    b"\xdb\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",  # a map
    b"\xc9\xff\xff\xff\xff\x05",  # an extension
    b"\x91" * 3000,
    b"\x81" * 3000,
    b"[" * 3000,  # JSON and TOML
    b'{"a":' * 2000,
    b"9" * 5000,
    b"1e999999",
    b"\xff" * 9,  # an endless varint
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",  # a header of 8 EiB
    b"\xed\xa0\x80",  # a surrogate in UTF-8
    b"\x00",
)
"""What is put into a valid message where something else stood."""


def mutate(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A seed after one to four changes; one in eight is no seed at all."""
    if chance.random() < 0.125:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        place, kind = chance.randrange(len(data) + 1), chance.randrange(7)
        match kind:
            case 0 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.randrange(1, 9)]
            case 2:
                data[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 3:
                data[place:] = chance.choice(seeds)[place:]
            case 4:
                lie = chance.choice(LIES)
                data[place : place + chance.choice((0, 1, len(lie)))] = lie
            case 5:
                del data[place:]
            case _:
                data[place:place] = data[place : place + 40]
    return bytes(data)


def hostile(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """The same for Hypothesis, which shrinks: arbitrary bytes, one seed with edits, or two seeds spliced."""
    seed = st.sampled_from(list(seeds))
    piece = st.binary(max_size=16) | st.sampled_from(LIES)
    edit = st.tuples(st.integers(0, 2**14), st.integers(0, 64), piece)
    edited = st.builds(_edited, seed, st.lists(edit, min_size=1, max_size=4))
    spliced = st.builds(
        lambda one, other, cut: one[: cut % (len(one) + 1)] + other[cut % (len(other) + 1) :], seed, seed, st.integers(0, 2**14)
    )
    return st.one_of(st.binary(max_size=300), seed, edited, spliced)


def _edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, removed, piece in edits:
        at = place % (len(data) + 1)
        data = data[:at] + piece + data[at + removed :]
    return data
