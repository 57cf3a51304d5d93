"""What the annotations of a message allow, read independently of the codec: the basis of samples, changes and strategies."""

import importlib
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import IntEnum
from functools import cache
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from bflcd.limits import Between, Size
from bflcd.types import Amount, Digest, Epoch, Height, MicroNats, Millis, NodeId, PartsPerMillion, Proof, Round, Signature, View
from bflcd.wire.codec import registered

MODULES = (
    "wire.alliance",
    "wire.blocks",
    "wire.canary",
    "wire.keys",
    "wire.envelope",
    "wire.governance",
    "wire.operation",
    "wire.proposal",
    "wire.messages",
    "wire.money",
    "wire.recovery",
    "wire.requests",
    "wire.rollback",
    "ledger.state",
    "setup.invitation",
)
"""Every module that registers a message; a test holds this list against the source."""

for _module in MODULES:
    importlib.import_module(f"bflcd.{_module}")

MESSAGES: dict[int, type] = {number: cls for number, cls in sorted(registered().items()) if cls.__module__.startswith("bflcd.")}
"""Every message class of the product by its number."""

NAMED = [class_.__name__ for class_ in MESSAGES.values()]

_LIMITS: dict[Any, tuple[Any, Size | Between]] = {
    NodeId: (bytes, Size(32, 32)),
    Digest: (bytes, Size(32, 32)),
    Signature: (bytes, Size(64, 64)),
    Proof: (bytes, Size(80, 80)),
    Height: (int, Between(0, 2**63 - 1)),
    Round: (int, Between(0, 2**53)),
    View: (int, Between(0, 2**32)),
    Epoch: (int, Between(0, 2**32)),
    Millis: (int, Between(0, 2**53)),
    Amount: (int, Between(0, 2**63 - 1)),
    MicroNats: (int, Between(-(2**53), 2**53)),
    PartsPerMillion: (int, Between(0, 1_000_000)),
}

Flavour = Literal["least", "plain", "most"]
FLAVOURS: tuple[Flavour, ...] = ("least", "plain", "most")


@dataclass(frozen=True, slots=True)
class Integer:
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Octets:
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Text:
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Flag:
    pass


@dataclass(frozen=True, slots=True)
class Choice:
    cls: type[IntEnum]


@dataclass(frozen=True, slots=True)
class Many:
    item: "Schema"
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Fixed:
    items: "tuple[Schema, ...]"


@dataclass(frozen=True, slots=True)
class Maybe:
    item: "Schema"


@dataclass(frozen=True, slots=True)
class Struct:
    cls: type
    names: tuple[str, ...]
    items: "tuple[Schema, ...]"


Schema = Integer | Octets | Text | Flag | Choice | Many | Fixed | Maybe | Struct


@cache
def schema_of(cls: type) -> Struct:
    """The fields of a message class with their limits."""
    hints = get_type_hints(cls, include_extras=True)
    names = tuple(field.name for field in fields(cls))
    return Struct(cls, names, tuple(_schema(hints[name]) for name in names))


def _schema(hint: Any) -> Schema:
    if hint in _LIMITS:
        return _limited(*_LIMITS[hint])
    if hint is bool:
        return Flag()
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return Choice(hint)
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return _limited(arguments[0], arguments[1])
    if get_origin(hint) in (Union, types.UnionType):
        return Maybe(_schema(next(arm for arm in arguments if arm is not type(None))))
    if get_origin(hint) is tuple:
        return Fixed(tuple(_schema(part) for part in arguments))
    assert is_dataclass(hint), hint
    return schema_of(hint)


def _limited(base: Any, limit: Size | Between) -> Schema:
    while isinstance(base, NewType):
        base = base.__supertype__
    if get_origin(base) is tuple:
        return Many(_schema(get_args(base)[0]), limit.low, limit.high)
    return {int: Integer, bytes: Octets, str: Text}[base](limit.low, limit.high)


def sample(schema: Schema, flavour: Flavour = "plain", salt: int = 1) -> Any:
    """One value: the same for the same arguments, different from field to field. `least`, `most`: at the limits, lists short."""
    match schema:
        case Integer(low, high):
            return {"least": low, "most": high}.get(flavour, min(high, max(low, 0) + salt))
        case Octets(low, high):
            length = low if flavour == "least" else min(high, max(low, 5))
            return bytes((salt * 17 + position * 29) % 256 for position in range(length))
        case Text(low, high):
            length = low if flavour == "least" else min(high, max(low, 6))
            return "".join("abcdefghijklmnopqrstuvwxyz-/"[(salt + position) % 28] for position in range(length))
        case Flag():
            return flavour != "least"
        case Choice(cls):
            members = sorted(cls)
            return {"least": members[0], "most": members[-1]}.get(flavour, members[salt % len(members)])
        case Many(item, low, high):
            count = low if flavour == "least" else min(high, max(low, 2))
            return tuple(sample(item, flavour, salt + position) for position in range(count))
        case Fixed(items):
            return tuple(sample(item, flavour, salt + position) for position, item in enumerate(items))
        case Maybe(item):
            return None if flavour == "least" else sample(item, flavour, salt)
        case Struct(cls, _, items):
            return cls(*(sample(item, flavour, salt + position) for position, item in enumerate(items)))


def changes(schema: Schema, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every smallest change of a value that keeps its limits: each leaf, each presence, each list's length and order."""
    match schema:
        case Maybe(item):
            yield path, sample(item) if value is None else None
            if value is not None:
                yield from changes(item, value, path)
        case Many(item):
            yield from _resized(schema, value, path)
            yield from _within((item,) * len(value), value, path)
        case Fixed(items):
            yield from _within(items, value, path)
        case Struct(_, names, items):
            for name, item in zip(names, items, strict=True):
                for inner, changed in changes(item, getattr(value, name), f"{path}.{name}" if path else name):
                    yield inner, replace(value, **{name: changed})
        case _:
            for changed in _other_leaves(schema, value):
                yield path, changed


def _resized(schema: Many, value: tuple[Any, ...], path: str) -> Iterator[tuple[str, Any]]:
    if len(value) > schema.low:
        yield f"{path}[-1]", value[:-1]
    if len(value) < schema.high:
        yield f"{path}[+1]", (*value, sample(schema.item, salt=99))
    if value != value[::-1]:
        yield f"{path}[reversed]", value[::-1]


def _within(items: tuple[Schema, ...], value: tuple[Any, ...], path: str) -> Iterator[tuple[str, Any]]:
    for position, (item, element) in enumerate(zip(items, value, strict=True)):
        for inner, changed in changes(item, element, f"{path}[{position}]"):
            yield inner, (*value[:position], changed, *value[position + 1 :])


def _other_leaves(schema: Schema, value: Any) -> Iterator[Any]:
    match schema:
        case Integer(_, high):
            yield value + 1 if value < high else value - 1
        case Octets():
            yield value[:-1] + bytes([value[-1] ^ 1])
            yield bytes([value[0] ^ 0x80]) + value[1:]
        case Text():
            yield ("b" if value[:1] == "a" else "a") + value[1:]
        case Flag():
            yield not value
        case Choice(cls):
            yield next(member for member in cls if member is not value)


def largest(schema: Schema) -> int:
    """Bytes of the longest encoding that the limits of the fields alone allow."""
    match schema:
        case Integer(low, high):
            return max(_integer_bytes(low), _integer_bytes(high))
        case Octets(_, high):
            return high + (2 if high < 2**8 else 3 if high < 2**16 else 5)
        case Text(_, high):
            return high + (1 if high < 2**5 else 2 if high < 2**8 else 3 if high < 2**16 else 5)
        case Flag():
            return 1
        case Choice(cls):
            return max(_integer_bytes(member) for member in cls)
        case Many(item, _, high):
            return _array_bytes(high) + high * largest(item)
        case Maybe(item):
            return largest(item)
        case Fixed(items) | Struct(_, _, items):
            return _array_bytes(len(items)) + sum(largest(item) for item in items)


def _array_bytes(count: int) -> int:
    return 1 if count < 2**4 else 3 if count < 2**16 else 5


def _integer_bytes(value: int) -> int:
    if -(2**5) <= value < 2**7:
        return 1
    size = value if value >= 0 else 2 * -value - 1
    return next(1 + width for width in (1, 2, 4, 8) if size < 2 ** (8 * width))


def as_json(value: Any) -> Any:
    """A value as the vector files show it: fields by name, bytes as hex."""
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [as_json(element) for element in value]
    return value.hex() if isinstance(value, bytes) else value
