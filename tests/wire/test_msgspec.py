"""What docs/adr/0013 says of msgspec, tried: if one of these fails after an update, that decision is to be read again."""

import tracemalloc
from dataclasses import dataclass
from typing import Annotated

import msgpack
import msgspec
import pytest
from msgspec import Meta, Struct
from msgspec.msgpack import Decoder, decode, encode

from bflcd.wire import codec
from bflcd.wire.messages import Prepare
from tests.helpers.schema import FLAVOURS, sample, schema_of

Few = Meta(max_length=64)
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Pair(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    first: int
    second: int = 0


class Endless(Struct, array_like=True):
    below: "Endless | None"


class Vote(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    number: int
    chain: Hash
    round: int
    epoch: int
    view: int
    parent: Hash
    committee: Hash
    digest: Hash
    proposal: Hash


def peak(data: bytes, kind: object) -> int:
    """Bytes that refusing `data` takes."""
    tracemalloc.start()
    with pytest.raises(msgspec.MsgspecError):
        decode(data, type=kind)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize(
    ("data", "kind", "value"),
    [
        (b"\xcd\x00\x01", int, 1),
        (b"\xda\x00\x01a", str, "a"),
        (b"\xc6\x00\x00\x00\x01a", bytes, b"a"),
        (b"\xdd\x00\x00\x00\x01\x01", tuple[int, ...], (1,)),
        (b"\x91\x01", Pair, Pair(1, 0)),
    ],
)
def test_a_value_has_many_encodings(data, kind, value):
    assert decode(data, type=kind) == value
    assert encode(value) != data


def test_a_type_without_a_limit_and_one_that_contains_itself_are_taken():
    assert Decoder(tuple[bytes, ...])
    assert Decoder(Endless)


def test_texts_are_limited_in_characters_and_after_they_were_read():
    assert decode(encode("ä" * 64), type=Annotated[str, Few]) == "ä" * 64
    assert peak(encode("x" * 900_000), Annotated[str, Few]) > 900_000


def test_what_is_encoded_is_not_checked():
    assert encode(Pair("no number")) == encode(["no number", 0])


def test_dataclasses_travel_as_maps_only():
    @dataclass(frozen=True)
    class Plain:
        first: int

    assert encode(Plain(1)) == encode({"first": 1})
    with pytest.raises(msgspec.ValidationError):
        decode(b"\x91\x01", type=Plain)


@pytest.mark.parametrize("count", [65, 2**20, 2**32 - 1])
@pytest.mark.parametrize("kind", [Annotated[tuple[int, ...], Few], Annotated[list[int], Few], tuple[int, ...]])
def test_a_lying_length_costs_nothing(count, kind):
    assert peak(b"\xdd" + count.to_bytes(4, "big") + b"\x01" * 16, kind) < 64 * 1024


def test_a_long_byte_string_costs_nothing():
    assert peak(encode(bytes(900_000)), Annotated[bytes, Few]) < 64 * 1024


@pytest.mark.parametrize(
    ("data", "kind"), [(b"\xc3", int), (b"\xa1a", bytes), (b"\xc4\x01a", str), (b"\x01\x01", int), (b"\x93\1\2\3", Pair)]
)
def test_types_and_ends_are_strict(data, kind):
    with pytest.raises(msgspec.MsgspecError):
        decode(data, type=kind)


def test_depth_is_refused_by_an_error_of_another_kind():
    with pytest.raises(RecursionError):
        decode(b"\x91" * 100_000)
    assert not issubclass(RecursionError, msgspec.MsgspecError)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_it_would_write_the_same_bytes(flavour):
    data = codec.encode(sample(schema_of(Prepare), flavour))
    assert encode(decode(data, type=Vote)) == data == msgpack.packb(msgpack.unpackb(data))
