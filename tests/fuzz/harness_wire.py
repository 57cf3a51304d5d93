"""Every registered message: decoded as what it says it is and as anything else, encoded again, hashed."""

import json
from collections.abc import Iterator
from contextlib import suppress

from bflcd.errors import PeerError
from bflcd.wire.blocks import ModelBody, UpdateBody, body_hash
from bflcd.wire.codec import decode, decode_any, encode, peek_number
from tests.fuzz.target import Target
from tests.helpers.schema import FLAVOURS, MESSAGES, sample, schema_of
from tests.vectors.make import MESSAGE_FILE

ALL = tuple(MESSAGES.values())


def seeds() -> Iterator[bytes]:
    """The golden bytes, and samples of every message of the registry, so that a new one is fuzzed from its first day."""
    golden = json.loads(MESSAGE_FILE.read_text()).values()
    found = dict.fromkeys(bytes.fromhex(case["hex"]) for vector in golden for case in vector["cases"].values())
    found |= dict.fromkeys(encode(sample(schema_of(cls), flavour)) for cls in ALL for flavour in FLAVOURS)
    yield from found


def one(data: bytes) -> None:
    try:
        number = peek_number(data)
    except PeerError:
        number = -1
    try:
        value = decode_any(data, ALL)
    except PeerError:
        pass
    else:
        assert type(value) is MESSAGES[number]
        assert encode(value) == data, "two encodings of one value"
        if isinstance(value, UpdateBody | ModelBody):
            body_hash(value)
    for cls in (MESSAGES.get(number), ALL[len(data) % len(ALL)]):
        if cls is not None:
            with suppress(PeerError):
                decode(data, cls)


TARGET = Target("wire", seeds, one, share=5, longest=16_384)
