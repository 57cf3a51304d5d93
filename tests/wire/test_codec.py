"""The codec: what it encodes comes back, nothing else comes in, and a type without limits doesn't compile."""

import math
from dataclasses import dataclass, make_dataclass, replace
from typing import Annotated

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bflcd.errors import PeerError, Rejection
from bflcd.limits import Between, Size
from bflcd.params import BlobRef
from bflcd.types import MAX_COMMITTEE, MAX_PLACES, Digest, NodeId
from bflcd.wire.codec import decode, decode_any, encode, limit_of, message, number_of, peek_number
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Commit, Prepare, ScoreCard
from tests.helpers.schema import (
    MESSAGES,
    NAMED,
    Choice,
    Fixed,
    Flag,
    Integer,
    Many,
    Maybe,
    Octets,
    Struct,
    Text,
    largest,
    sample,
    schema_of,
)
from tests.helpers.strategies import messages

ALL = pytest.mark.parametrize("cls", MESSAGES.values(), ids=NAMED)

BOUND_BY_THE_WHOLE = {"UpdateBody", "Segment", "CertifiedSegment", "ScoreCard", "JustifiedPrePrepare"} | {
    "JustifiedViewChange",
    "SegmentReply",
    "ModelBody",
    "OperationsReply",
    "GetMembership",
}
"""Messages whose fields alone would allow more than the limit of the whole: all hold envelopes or lists of several limits."""


def refusal(data, cls):
    with pytest.raises(PeerError) as caught:
        decode(data, cls)
    return caught.value.rejection


@ALL
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_round_trip(cls, data):
    value = data.draw(messages(cls))
    encoded = encode(value)
    assert decode(encoded, cls) == value
    assert decode_any(encoded, tuple(MESSAGES.values())) == value
    assert peek_number(encoded) == number_of(cls)
    assert msgpack.unpackb(encoded)[:2] == [1, number_of(cls)]


@ALL
def test_the_fields_limits_stay_within_the_limit_of_the_whole(cls):
    assert (largest(schema_of(cls)) + 4 > limit_of(cls)) is (cls.__name__ in BOUND_BY_THE_WHOLE)


def test_a_card_with_an_entry_for_every_place_fits():
    """Given as many offers as a block has places, each number at its limit and none a copy, and the fullest committee, then the card
    has an encoding. Where nearly all are copies, `fit_card` leaves out of what."""
    card = sample(schema_of(ScoreCard), "most")
    uploaders = tuple(NodeId(number.to_bytes(32, "big")) for number in range(MAX_PLACES + MAX_COMMITTEE))
    entries = tuple(replace(card.entries[0], uploader=uploader, like=None) for uploader in uploaders[:MAX_PLACES])
    encoded = encode(replace(card, entries=entries, present=uploaders))
    assert decode(encoded, ScoreCard).present == uploaders


# Every field, one step over each of its limits, and of every other type.

OTHER_TYPES = (None, True, 0, 1.0, math.nan, math.inf, "x" * 32, b"x" * 32, [], {}, {"a": 1}, msgpack.ExtType(5, b"x"))


def breaches(schema, tree):
    """Trees that differ from the valid `tree` in one place, where they break that place's limit or type."""
    match schema:
        case Integer(low, high):
            yield from (low - 1, high + 1, 2**64 - 1 if high < 2**64 - 1 else None, -(2**63))
            yield from (other for other in OTHER_TYPES if type(other) is not int)
        case Octets(low, high):
            yield from ([b"x" * (low - 1)] if low else [])
            yield b"x" * (high + 1)
            yield from (other for other in OTHER_TYPES if type(other) is not bytes)
        case Text(low, high):
            yield from (["x" * (low - 1)] if low else [])
            yield "x" * (high + 1)
            yield "ä" * (high // 2 + 1)
            yield from (other for other in OTHER_TYPES if type(other) is not str)
        case Flag():
            yield from (other for other in OTHER_TYPES if other is not True)
        case Choice(cls):
            yield from (min(cls) - 1, max(cls) + 1, 2**64 - 1, -(2**63))
            yield from (other for other in OTHER_TYPES if type(other) is not int)
        case Maybe(item):
            inner = sample_tree(item) if tree is None else tree
            yield from (breach for breach in breaches(item, inner) if breach is not None)
        case Many(item, low, high):
            elements = tree or [sample_tree(item)]
            yield elements[:1] * (high + 1)
            yield from ([elements[:1] * (low - 1)] if low else [])
            yield from (other for other in OTHER_TYPES if other != [])
            yield from ([breach, *elements[1:]] for breach in breaches(item, elements[0]))
        case Fixed(items) | Struct(_, _, items):
            yield tree[:-1]
            yield [*tree, 0]
            yield from (other for other in OTHER_TYPES)
            for position, item in enumerate(items):
                for breach in breaches(item, tree[position]):
                    yield [*tree[:position], breach, *tree[position + 1 :]]


def sample_tree(schema):
    return _tree(sample(schema))


def _tree(value):
    if isinstance(value, tuple):
        return [_tree(element) for element in value]
    return [_tree(getattr(value, name)) for name in value.__slots__] if hasattr(value, "__slots__") else value


@ALL
def test_one_over_each_limit_and_every_other_type_is_refused(cls):
    value = sample(schema_of(cls), "most")
    head, tree = [1, number_of(cls)], _tree(value)
    assert decode(msgpack.packb([*head, *tree]), cls) == value
    tried = 0
    for breach in breaches(schema_of(cls), tree):
        if not isinstance(breach, list):
            continue  # another type in place of the whole: no message at all
        assert refusal(msgpack.packb([*head, *breach]), cls) in (Rejection.MALFORMED, Rejection.TOO_LARGE), repr(breach)[:300]
        tried += 1
    assert tried > len(tree)


def bodies():
    envelope, commit, blob = sample(schema_of(Envelope)), sample(schema_of(Commit)), BlobRef(Digest(bytes(32)), 1)
    return [
        replace(commit, round=-1),
        replace(commit, round=2**53 + 1),
        replace(commit, round=True),
        replace(commit, round=1.0),
        replace(commit, round=None),
        replace(commit, chain=bytes(31)),
        replace(commit, chain=bytearray(32)),
        replace(commit, chain="x" * 32),
        replace(commit, chain=blob),
        replace(envelope, payload=b""),
        replace(envelope, payload=bytes(384 * 1024 + 1)),
    ]


@pytest.mark.parametrize("body", bodies(), ids=lambda body: repr(body)[:20])
def test_our_own_breach_of_a_limit_is_our_bug(body):
    with pytest.raises(ValueError):
        encode(body)


# Registering.


def compiled(annotation):
    return message(60_000, max_bytes=100)(make_dataclass("Made", [("field", annotation)], frozen=True, slots=True))


class Plain:
    """No dataclass."""


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        bytes,
        str,
        float,
        object,
        list,
        dict[str, int],
        Plain,
        Annotated[int, "no limit"],
        Annotated[int, Size(0, 1)],
        Annotated[int, Between(0, 2**64)],
        Annotated[int, Between(-(2**63) - 1, 0)],
        Annotated[int, Between(1, 0)],
        Annotated[bytes, Between(0, 1)],
        Annotated[float, Between(0, 1)],
        Annotated[list[Digest], Size(0, 1)],
        Annotated[tuple[Digest, Digest], Size(0, 1)],
        Annotated[tuple[int, ...], Size(0, 1)],
        tuple[Digest, ...],
        tuple[int, Digest],
        Digest | BlobRef,
        Digest | BlobRef | None,
        bytes | None,
    ],
    ids=str,
)
def test_a_type_without_limit_or_encoding_does_not_compile(annotation):
    with pytest.raises(TypeError):
        compiled(annotation)
    assert 60_000 not in MESSAGES


@dataclass(frozen=True, slots=True)
class Endless:
    """Contains itself."""

    inner: "Annotated[tuple[Endless, ...], Size(0, 1)]"


def test_a_type_that_contains_itself_does_not_compile():
    with pytest.raises(TypeError, match="contains itself"):
        message(60_001, max_bytes=100)(Endless)


# Heads.

COMMIT = sample(schema_of(Commit))


def with_head(*head):
    return msgpack.packb([*head, *_tree(COMMIT)])


@pytest.mark.parametrize(
    ("data", "rejection"),
    [
        (with_head(0, 35), Rejection.UNKNOWN_KIND),
        (with_head(2, 35), Rejection.UNKNOWN_KIND),
        (with_head(1, 34), Rejection.UNKNOWN_KIND),
        (with_head(1, 7), Rejection.UNKNOWN_KIND),
        (with_head(1, 2**64 - 1), Rejection.UNKNOWN_KIND),
        (with_head(1, -35), Rejection.UNKNOWN_KIND),
        (with_head(True, 35), Rejection.MALFORMED),
        (with_head(1.0, 35), Rejection.MALFORMED),
        (with_head(1, 35.0), Rejection.MALFORMED),
        (with_head(1, "35"), Rejection.MALFORMED),
        (with_head(None, None), Rejection.MALFORMED),
        (with_head([1], 35), Rejection.MALFORMED),
        (with_head(1), Rejection.MALFORMED),
        (with_head(1, 35, 0), Rejection.MALFORMED),
        (b"", Rejection.MALFORMED),
        (b"\x90", Rejection.MALFORMED),
        (b"\x91\x01", Rejection.MALFORMED),
        (b"\x92\x01", Rejection.MALFORMED),
        (b"\x92\x01\xcd\x00", Rejection.MALFORMED),
        (b"\x92\x01\x23", Rejection.MALFORMED),
        (b"\xdc", Rejection.MALFORMED),
        (b"\xc1", Rejection.MALFORMED),
        (b"\xc0", Rejection.MALFORMED),
        (msgpack.packb({0: 1, 1: 35}), Rejection.MALFORMED),
        (bytes(limit_of(Commit) + 1), Rejection.TOO_LARGE),
    ],
)
def test_a_wrong_head_is_refused(data, rejection):
    assert refusal(data, Commit) is rejection
    with pytest.raises(PeerError):
        decode_any(data, (Commit, Envelope))


def test_decode_any_takes_only_what_is_allowed_here():
    assert decode_any(encode(COMMIT), (Prepare, Commit)) == COMMIT
    with pytest.raises(PeerError) as caught:
        decode_any(encode(COMMIT), (Prepare,))
    assert caught.value.rejection is Rejection.UNKNOWN_KIND


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_text_is_strict_utf8(text):
    cls = MESSAGES[69]
    good = encode(cls("busy", "later"))
    assert refusal(good.replace(b"\xa5later", bytes([0xA0 + len(text)]) + text), cls) is Rejection.MALFORMED
