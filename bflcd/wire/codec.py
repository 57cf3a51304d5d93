"""One canonical msgpack codec for everything that travels or is hashed.

A registered class is a frozen dataclass. At the top it is the array `[WIRE_VERSION, number, field, ...]`; inside another it is
the array of its fields. The schema, with a limit on every length, is compiled from the annotations: a type without a limit does
not compile, nor does one that contains itself: the schema bounds the depth too. Decoding is directed by it: each array header is
read alone and held against its limit before anything is allocated, and where a plain value belongs the unpacker refuses every
array, map and extension with content and every length above the message's, so neither depth nor a lying length costs memory.
What decodes is encoded again and must give the same bytes: every value has one encoding, and a hash over bytes is a hash over
values.
"""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Final, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import msgpack

from bflcd.errors import PeerError, Rejection
from bflcd.limits import Between, Size
from bflcd.types import (
    HASH_BYTES,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Amount,
    Digest,
    Epoch,
    Height,
    MicroNats,
    Millis,
    NodeId,
    PartsPerMillion,
    Round,
    Signature,
    View,
)

WIRE_VERSION: Final = 1
"""First element of every message; another version is refused."""

T = TypeVar("T")

_NIL: Final = 0xC0
"""The type byte of an absent optional field."""

_INTEGERS: Final = Between(-(2**63), 2**64 - 1)
"""What msgpack can hold."""

_REFUSALS: Final = (msgpack.UnpackException, ValueError, OverflowError)
"""What msgpack raises for bytes that are not what was asked for; UnicodeDecodeError is a ValueError."""

_Encode = Callable[[Any], Any]
_Decode = Callable[["_Reader"], Any]

_SCALARS: Final[dict[object, Size | Between]] = {
    NodeId: Size(PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES),
    Digest: Size(HASH_BYTES, HASH_BYTES),
    Signature: Size(SIGNATURE_BYTES, SIGNATURE_BYTES),
    Height: Between(0, 2**63 - 1),
    Round: Between(0, 2**53),
    View: Between(0, 2**32),
    Epoch: Between(0, 2**32),
    Millis: Between(0, 2**53),
    Amount: Between(0, 2**63 - 1),
    MicroNats: Between(-(2**53), 2**53),
    PartsPerMillion: Between(0, 1_000_000),
}

_CLASSES: dict[int, type] = {}
_NUMBERS: dict[type, int] = {}
_LIMITS: dict[type, int] = {}
_COMPILING: set[type] = set()
_STRUCTS: dict[type, tuple[tuple[str, ...], tuple[_Encode, ...], tuple[_Decode, ...]]] = {}


class _Reader:
    """A msgpack stream that is read value by value: `scalar` unpacks what is no container, `header` an array's length alone."""

    __slots__ = ("_data", "_tell", "header", "scalar")

    def __init__(self, data: bytes) -> None:
        unpacker = msgpack.Unpacker(
            None,
            max_buffer_size=len(data),
            raw=False,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
            max_bin_len=len(data),
            max_str_len=len(data),
        )
        unpacker.feed(data)
        self._data = data
        self._tell: Callable[[], int] = unpacker.tell
        self.scalar: Callable[[], Any] = unpacker.unpack
        self.header: Callable[[], int] = unpacker.read_array_header

    def is_nil(self) -> bool:
        """Whether the next value is nil, without reading it."""
        position = self._tell()
        return position < len(self._data) and self._data[position] == _NIL

    def array(self, low: int, high: int) -> int:
        count = self.header()
        if not low <= count <= high:
            raise _malformed(f"an array of {count} elements where {low} to {high} are allowed")
        return count


def _malformed(text: str) -> PeerError:
    return PeerError(Rejection.MALFORMED, text)


def message(number: int, *, max_bytes: int) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass under a message number that is never reused; `max_bytes` bounds its whole encoding.

    Raises TypeError if the number is taken, the class has one already, or an annotation has no limit or no encoding.
    """

    def register(cls: type[T]) -> type[T]:
        if number in _CLASSES:
            raise TypeError(f"message number {number} belongs to {_CLASSES[number].__name__}")
        if cls in _NUMBERS:
            raise TypeError(f"{cls.__name__} is message {_NUMBERS[cls]} already")
        _struct(cls)
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
    encoded: bytes = msgpack.packb([WIRE_VERSION, _NUMBERS[cls], *_encode_struct(cls, value)], use_bin_type=True)
    if len(encoded) > _LIMITS[cls]:
        raise ValueError(f"{cls.__name__} of {len(encoded)} bytes is above its limit of {_LIMITS[cls]}")
    return encoded


def peek_number(data: bytes) -> int:
    """The message number that `data` claims, without decoding it. Raises PeerError."""
    try:
        reader = _open(data)
        reader.array(2, 2**16)
        return _head(reader)
    except _REFUSALS as error:
        raise _malformed(f"no message: {str(error) or type(error).__name__}") from error


def decode(data: bytes, cls: type[T]) -> T:
    """Decode exactly a `cls`. Raises PeerError (MALFORMED, TOO_LARGE, UNKNOWN_KIND) for anything but its canonical bytes."""
    if len(data) > _LIMITS[cls]:
        raise PeerError(Rejection.TOO_LARGE, f"{len(data)} bytes for a {cls.__name__}, at most {_LIMITS[cls]} are allowed")
    names, _, decoders = _struct(cls)
    try:
        reader = _open(data)
        count = reader.array(2, 2**16)
        number = _head(reader)
        if number != _NUMBERS[cls]:
            raise PeerError(Rejection.UNKNOWN_KIND, f"message {number} where {cls.__name__} ({_NUMBERS[cls]}) is expected")
        if count != len(names) + 2:
            raise _malformed(f"{count - 2} fields where {cls.__name__} has {len(names)}")
        value = cls(*[read(reader) for read in decoders])
    except _REFUSALS as error:
        raise _malformed(f"no {cls.__name__}: {str(error) or type(error).__name__}") from error
    if encode(value) != data:
        raise _malformed(f"not the canonical encoding of this {cls.__name__}")
    return value


def decode_any(data: bytes, allowed: tuple[type[T], ...]) -> T:
    """Decode whichever of `allowed` the message says it is. Raises PeerError."""
    number = peek_number(data)
    cls = _CLASSES.get(number)
    if cls is None or cls not in allowed:
        raise PeerError(Rejection.UNKNOWN_KIND, f"message {number} is not allowed here")
    return decode(data, cls)


def _open(data: bytes) -> _Reader:
    if not data:
        raise _malformed("an empty message")
    return _Reader(data)


def _head(reader: _Reader) -> int:
    version, number = reader.scalar(), reader.scalar()
    if type(version) is not int or type(number) is not int:
        raise _malformed("a message begins with its wire version and its number")
    if version != WIRE_VERSION:
        raise PeerError(Rejection.UNKNOWN_KIND, f"wire version {version}, this node speaks {WIRE_VERSION}")
    return number


def _encode_struct(cls: type, value: object) -> list[Any]:
    if type(value) is not cls:
        raise ValueError(f"expected a {cls.__name__}, not a {type(value).__name__}")
    names, encoders, _ = _struct(cls)
    return [encoder(getattr(value, name)) for name, encoder in zip(names, encoders, strict=True)]


def _struct(cls: type) -> tuple[tuple[str, ...], tuple[_Encode, ...], tuple[_Decode, ...]]:
    compiled = _STRUCTS.get(cls)
    if compiled is None:
        if cls in _COMPILING:
            raise TypeError(f"{cls.__name__} contains itself: its depth has no limit")
        _COMPILING.add(cls)
        try:
            hints = get_type_hints(cls, include_extras=True)
            names = tuple(field.name for field in fields(cls))
            pairs = tuple(_compile(hints[name], f"{cls.__name__}.{name}") for name in names)
        finally:
            _COMPILING.discard(cls)
        compiled = (names, tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
        _STRUCTS[cls] = compiled
    return compiled


def _compile(hint: Any, where: str) -> tuple[_Encode, _Decode]:
    """Encoder and decoder of one annotation."""
    if hint in _SCALARS:
        return _compile_limited(hint.__supertype__, _SCALARS[hint], where)
    if hint is bool:
        return _bool_codec(where)
    origin = get_origin(hint)
    if origin is Annotated:
        base, *limits = get_args(hint)
        limit = next((item for item in limits if isinstance(item, Size | Between)), None)
        if limit is None:
            raise TypeError(f"{where}: no limit in {hint}")
        while isinstance(base, NewType):
            base = base.__supertype__
        return _compile_limited(base, limit, where)
    if origin in (Union, types.UnionType):
        return _compile_optional(hint, where)
    if origin is tuple:
        return _compile_pair(get_args(hint), where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _compile_nested(hint)
    raise TypeError(f"{where}: {hint} has no limit or no encoding")


def _compile_limited(base: Any, limit: Size | Between, where: str) -> tuple[_Encode, _Decode]:
    if base is int and isinstance(limit, Between) and _INTEGERS.low <= limit.low <= limit.high <= _INTEGERS.high:
        return _int_codec(limit, where)
    if base is bytes and isinstance(limit, Size):
        return _bytes_codec(limit, where)
    if base is str and isinstance(limit, Size):
        return _text_codec(limit, where)
    if get_origin(base) is tuple and isinstance(limit, Size):
        item, ellipsis = get_args(base)
        if ellipsis is not Ellipsis:
            raise TypeError(f"{where}: a limit needs tuple[X, ...]")
        return _list_codec(_compile(item, where), limit, where)
    raise TypeError(f"{where}: {base} can't have the limit {limit}")


def _int_codec(limit: Between, where: str) -> tuple[_Encode, _Decode]:
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{where}: {value!r} is no integer from {low} to {high}")
        return value

    def read(reader: _Reader) -> int:
        value = reader.scalar()
        if type(value) is not int:
            raise _malformed(f"{where}: expected an integer, found {_shown(value)}")
        if not low <= value <= high:
            raise _malformed(f"{where}: {value} is outside {low} to {high}")
        return value

    return write, read


def _bytes_codec(limit: Size, where: str) -> tuple[_Encode, _Decode]:
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if not isinstance(value, bytes) or not low <= len(value) <= high:
            raise ValueError(f"{where}: expected {low} to {high} bytes")
        return value

    def read(reader: _Reader) -> bytes:
        value = reader.scalar()
        if type(value) is not bytes:
            raise _malformed(f"{where}: expected bytes, found {_shown(value)}")
        if not low <= len(value) <= high:
            raise _malformed(f"{where}: {len(value)} bytes where {low} to {high} are allowed")
        return value

    return write, read


def _text_codec(limit: Size, where: str) -> tuple[_Encode, _Decode]:
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if not isinstance(value, str) or not low <= len(value.encode()) <= high:
            raise ValueError(f"{where}: expected a text of {low} to {high} UTF-8 bytes")
        return value

    def read(reader: _Reader) -> str:
        value = reader.scalar()
        if type(value) is not str:
            raise _malformed(f"{where}: expected text, found {_shown(value)}")
        if not low <= len(value.encode()) <= high:
            raise _malformed(f"{where}: a text of {len(value)} characters where {low} to {high} bytes are allowed")
        return value

    return write, read


def _bool_codec(where: str) -> tuple[_Encode, _Decode]:
    def write(value: Any) -> Any:
        if not isinstance(value, bool):
            raise ValueError(f"{where}: {value!r} is no boolean")  # noqa: TRY004 - one kind of error for every limit
        return value

    def read(reader: _Reader) -> bool:
        value = reader.scalar()
        if type(value) is not bool:
            raise _malformed(f"{where}: expected a boolean, found {_shown(value)}")
        return value

    return write, read


def _list_codec(item: tuple[_Encode, _Decode], limit: Size, where: str) -> tuple[_Encode, _Decode]:
    write_item, read_item = item
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if not isinstance(value, tuple) or not low <= len(value) <= high:
            raise ValueError(f"{where}: expected a tuple of {low} to {high} elements")
        return [write_item(element) for element in value]

    def read(reader: _Reader) -> tuple[Any, ...]:
        return tuple([read_item(reader) for _ in range(reader.array(low, high))])

    return write, read


def _compile_pair(parts: tuple[Any, ...], where: str) -> tuple[_Encode, _Decode]:
    if Ellipsis in parts:
        raise TypeError(f"{where}: a tuple of any length needs a Size limit")
    codecs = tuple(_compile(part, where) for part in parts)

    def write(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(codecs):
            raise ValueError(f"{where}: expected a tuple of {len(codecs)}")
        return [codec[0](element) for codec, element in zip(codecs, value, strict=True)]

    def read(reader: _Reader) -> tuple[Any, ...]:
        reader.array(len(codecs), len(codecs))
        return tuple([codec[1](reader) for codec in codecs])

    return write, read


def _compile_optional(hint: Any, where: str) -> tuple[_Encode, _Decode]:
    arms = [arm for arm in get_args(hint) if arm is not type(None)]
    if len(arms) != 1 or len(get_args(hint)) != 2:
        raise TypeError(f"{where}: only `X | None` has an encoding")
    write_arm, read_arm = _compile(arms[0], where)

    def write(value: Any) -> Any:
        return None if value is None else write_arm(value)

    def read(reader: _Reader) -> Any:
        return reader.scalar() if reader.is_nil() else read_arm(reader)

    return write, read


def _compile_nested(cls: type) -> tuple[_Encode, _Decode]:
    _, _, decoders = _struct(cls)
    count = len(decoders)

    def write(value: Any) -> Any:
        return _encode_struct(cls, value)

    def read(reader: _Reader) -> object:
        reader.array(count, count)
        return cls(*[read_field(reader) for read_field in decoders])

    return write, read


def _shown(value: object) -> str:
    return type(value).__name__
