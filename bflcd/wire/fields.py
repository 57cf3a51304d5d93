"""Encoders and decoders of fields, compiled from annotations: a type without a limit does not compile (`bflcd.wire.codec`)."""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Annotated, Any, Final, NewType, Union, get_args, get_origin, get_type_hints

from bflcd.limits import Between, Size, is_printable
from bflcd.types import (
    HASH_BYTES,
    PROOF_BYTES,
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
    Proof,
    Round,
    Signature,
    View,
)
from bflcd.wire.reader import Reader, malformed

_INTEGERS: Final = Between(-(2**63), 2**64 - 1)
"""What msgpack can hold."""

Encode = Callable[[Any], Any]
Decode = Callable[[Reader], Any]

Struct = tuple[tuple[str, ...], tuple[Encode, ...], tuple[Decode, ...]]
"""Names, encoders and decoders of a class's fields."""

_SCALARS: Final[dict[object, Size | Between]] = {
    NodeId: Size(PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES),
    Digest: Size(HASH_BYTES, HASH_BYTES),
    Signature: Size(SIGNATURE_BYTES, SIGNATURE_BYTES),
    Proof: Size(PROOF_BYTES, PROOF_BYTES),
    Height: Between(0, 2**63 - 1),
    Round: Between(0, 2**53),
    View: Between(0, 2**32),
    Epoch: Between(0, 2**32),
    Millis: Between(0, 2**53),
    Amount: Between(0, 2**63 - 1),
    MicroNats: Between(-(2**53), 2**53),
    PartsPerMillion: Between(0, 1_000_000),
}

_COMPILING: set[type] = set()
_STRUCTS: dict[type, Struct] = {}


def encode_struct(cls: type, value: object) -> list[Any]:
    """A value's fields as msgpack takes them. Raises ValueError if one breaks its limit."""
    if type(value) is not cls:
        raise ValueError(f"expected a {cls.__name__}, not a {type(value).__name__}")
    names, encoders, _ = struct_of(cls)
    return [encoder(getattr(value, name)) for name, encoder in zip(names, encoders, strict=True)]


def struct_of(cls: type) -> Struct:
    """The compiled fields of a dataclass. Raises TypeError for an annotation without a limit or encoding, or for a circle."""
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


def _compile(hint: Any, where: str) -> tuple[Encode, Decode]:
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
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _enum_codec(hint, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _compile_nested(hint)
    raise TypeError(f"{where}: {hint} has no limit or no encoding")


def _compile_limited(base: Any, limit: Size | Between, where: str) -> tuple[Encode, Decode]:
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


def _int_codec(limit: Between, where: str) -> tuple[Encode, Decode]:
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{where}: {value!r} is no integer from {low} to {high}")
        return value

    def read(reader: Reader) -> int:
        value = reader.scalar()
        if type(value) is not int:
            raise malformed(f"{where}: expected an integer, found {_shown(value)}")
        if not low <= value <= high:
            raise malformed(f"{where}: {value} is outside {low} to {high}")
        return value

    return write, read


def _bytes_codec(limit: Size, where: str) -> tuple[Encode, Decode]:
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if not isinstance(value, bytes) or not low <= len(value) <= high:
            raise ValueError(f"{where}: expected {low} to {high} bytes")
        return value

    def read(reader: Reader) -> bytes:
        value = reader.scalar()
        if type(value) is not bytes:
            raise malformed(f"{where}: expected bytes, found {_shown(value)}")
        if not low <= len(value) <= high:
            raise malformed(f"{where}: {len(value)} bytes where {low} to {high} are allowed")
        return value

    return write, read


def _text_codec(limit: Size, where: str) -> tuple[Encode, Decode]:
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if not isinstance(value, str) or not low <= len(value.encode()) <= high:
            raise ValueError(f"{where}: expected a text of {low} to {high} UTF-8 bytes")
        if not is_printable(value):
            raise ValueError(f"{where}: {value!r} holds a character that can't be printed")
        return value

    def read(reader: Reader) -> str:
        value = reader.scalar()
        if type(value) is not str:
            raise malformed(f"{where}: expected text, found {_shown(value)}")
        if not low <= len(value.encode()) <= high:
            raise malformed(f"{where}: a text of {len(value)} characters where {low} to {high} bytes are allowed")
        if not is_printable(value):
            raise malformed(f"{where}: a text with a character that can't be printed")
        return value

    return write, read


def _bool_codec(where: str) -> tuple[Encode, Decode]:
    def write(value: Any) -> Any:
        if not isinstance(value, bool):
            raise ValueError(f"{where}: {value!r} is no boolean")  # noqa: TRY004 - one kind of error for every limit
        return value

    def read(reader: Reader) -> bool:
        value = reader.scalar()
        if type(value) is not bool:
            raise malformed(f"{where}: expected a boolean, found {_shown(value)}")
        return value

    return write, read


def _enum_codec(cls: type[IntEnum], where: str) -> tuple[Encode, Decode]:
    known = {member.value: member for member in cls}

    def write(value: Any) -> Any:
        if type(value) is not cls:
            raise ValueError(f"{where}: {value!r} is no {cls.__name__}")
        return value.value

    def read(reader: Reader) -> IntEnum:
        value = reader.scalar()
        if type(value) is not int:
            raise malformed(f"{where}: expected an integer, found {_shown(value)}")
        if value not in known:
            raise malformed(f"{where}: {value} means no {cls.__name__}")
        return known[value]

    return write, read


def _list_codec(item: tuple[Encode, Decode], limit: Size, where: str) -> tuple[Encode, Decode]:
    write_item, read_item = item
    low, high = limit.low, limit.high

    def write(value: Any) -> Any:
        if not isinstance(value, tuple) or not low <= len(value) <= high:
            raise ValueError(f"{where}: expected a tuple of {low} to {high} elements")
        return [write_item(element) for element in value]

    def read(reader: Reader) -> tuple[Any, ...]:
        return tuple([read_item(reader) for _ in range(reader.array(low, high))])

    return write, read


def _compile_pair(parts: tuple[Any, ...], where: str) -> tuple[Encode, Decode]:
    if Ellipsis in parts:
        raise TypeError(f"{where}: a tuple of any length needs a Size limit")
    codecs = tuple(_compile(part, where) for part in parts)

    def write(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(codecs):
            raise ValueError(f"{where}: expected a tuple of {len(codecs)}")
        return [codec[0](element) for codec, element in zip(codecs, value, strict=True)]

    def read(reader: Reader) -> tuple[Any, ...]:
        reader.array(len(codecs), len(codecs))
        return tuple([codec[1](reader) for codec in codecs])

    return write, read


def _compile_optional(hint: Any, where: str) -> tuple[Encode, Decode]:
    arms = [arm for arm in get_args(hint) if arm is not type(None)]
    if len(arms) != 1 or len(get_args(hint)) != 2:
        raise TypeError(f"{where}: only `X | None` has an encoding")
    write_arm, read_arm = _compile(arms[0], where)

    def write(value: Any) -> Any:
        return None if value is None else write_arm(value)

    def read(reader: Reader) -> Any:
        return reader.scalar() if reader.is_nil() else read_arm(reader)

    return write, read


def _compile_nested(cls: type) -> tuple[Encode, Decode]:
    _, _, decoders = struct_of(cls)
    count = len(decoders)

    def write(value: Any) -> Any:
        return encode_struct(cls, value)

    def read(reader: Reader) -> object:
        reader.array(count, count)
        return cls(*[read_field(reader) for read_field in decoders])

    return write, read


def _shown(value: object) -> str:
    return type(value).__name__
