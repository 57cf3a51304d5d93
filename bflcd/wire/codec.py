"""One canonical msgpack codec for everything that travels or is hashed.

A registered class is a frozen dataclass. At the top it is the array `[WIRE_VERSION, number, field, ...]`; inside another it is
the array of its fields. The schema, with a limit on every length, is compiled from the annotations: a type without a limit does
not compile, nor does one that contains itself: the schema bounds the depth too. Decoding is directed by it: each array header is
read alone and held against its limit before anything is allocated, and where a plain value belongs the unpacker refuses every
array, map and extension with content and every length above the message's, so neither depth nor a lying length costs memory.
What decodes is encoded again and must give the same bytes: every value has one encoding, and a hash over bytes is a hash over
values.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgpack

from bflcd.errors import PeerError, Rejection
from bflcd.wire.fields import encode_struct, struct_of
from bflcd.wire.reader import REFUSALS, Reader, malformed

WIRE_VERSION: Final = 1
"""First element of every message; another version is refused."""

T = TypeVar("T")

_CLASSES: dict[int, type] = {}
_NUMBERS: dict[type, int] = {}
_LIMITS: dict[type, int] = {}


def message(number: int, *, max_bytes: int) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass under a message number that is never reused; `max_bytes` bounds its whole encoding.

    Raises TypeError if the number is taken, the class has one already, or an annotation has no limit or no encoding.
    """

    def register(cls: type[T]) -> type[T]:
        if number in _CLASSES:
            raise TypeError(f"message number {number} belongs to {_CLASSES[number].__name__}")
        if cls in _NUMBERS:
            raise TypeError(f"{cls.__name__} is message {_NUMBERS[cls]} already")
        struct_of(cls)
        _CLASSES[number], _NUMBERS[cls], _LIMITS[cls] = cls, number, max_bytes
        return cls

    return register


def registered() -> dict[int, type]:
    """Every message class by its number."""
    return dict(_CLASSES)


def limit_of(cls: type) -> int:
    """Largest encoding of `cls`, bytes."""
    return _LIMITS[cls]


def number_of(cls: type) -> int:
    """Message number of `cls`."""
    return _NUMBERS[cls]


def encode(value: object) -> bytes:
    """Canonical bytes of a registered message. Raises ValueError if a field breaks its limit: that is our bug."""
    cls = type(value)
    encoded: bytes = msgpack.packb([WIRE_VERSION, _NUMBERS[cls], *encode_struct(cls, value)], use_bin_type=True)
    if len(encoded) > _LIMITS[cls]:
        raise ValueError(f"{cls.__name__} of {len(encoded)} bytes is above its limit of {_LIMITS[cls]}")
    return encoded


def peek_number(data: bytes) -> int:
    """The message number that `data` claims, without decoding it. Raises PeerError."""
    try:
        reader = _open(data)
        reader.array(2, 2**16)
        return _head(reader)
    except REFUSALS as error:
        raise malformed(f"no message: {str(error) or type(error).__name__}") from error


def decode(data: bytes, cls: type[T]) -> T:
    """Decode exactly a `cls`. Raises PeerError (MALFORMED, TOO_LARGE, UNKNOWN_KIND) for anything but its canonical bytes."""
    if len(data) > _LIMITS[cls]:
        raise PeerError(Rejection.TOO_LARGE, f"{len(data)} bytes for a {cls.__name__}, at most {_LIMITS[cls]} are allowed")
    names, _, decoders = struct_of(cls)
    try:
        reader = _open(data)
        count = reader.array(2, 2**16)
        number = _head(reader)
        if number != _NUMBERS[cls]:
            raise PeerError(Rejection.UNKNOWN_KIND, f"message {number} where {cls.__name__} ({_NUMBERS[cls]}) is expected")
        if count != len(names) + 2:
            raise malformed(f"{count - 2} fields where {cls.__name__} has {len(names)}")
        value = cls(*[read(reader) for read in decoders])
    except REFUSALS as error:
        raise malformed(f"no {cls.__name__}: {str(error) or type(error).__name__}") from error
    if encode(value) != data:
        raise malformed(f"not the canonical encoding of this {cls.__name__}")
    return value


def decode_any(data: bytes, allowed: tuple[type[T], ...]) -> T:
    """Decode whichever of `allowed` the message says it is. Raises PeerError."""
    number = peek_number(data)
    cls = _CLASSES.get(number)
    if cls is None or cls not in allowed:
        raise PeerError(Rejection.UNKNOWN_KIND, f"message {number} is not allowed here")
    return decode(data, cls)


def _open(data: bytes) -> Reader:
    if not data:
        raise malformed("an empty message")
    return Reader(data)


def _head(reader: Reader) -> int:
    version, number = reader.scalar(), reader.scalar()
    if type(version) is not int or type(number) is not int:
        raise malformed("a message begins with its wire version and its number")
    if version != WIRE_VERSION:
        raise PeerError(Rejection.UNKNOWN_KIND, f"wire version {version}, this node speaks {WIRE_VERSION}")
    return number
