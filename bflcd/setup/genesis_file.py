"""A genesis as a JSON file that people can read and compare: ids and digests in hexadecimal, every key checked, none ignored."""

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from bflcd.errors import UsageError
from bflcd.files import read_regular, write_whole
from bflcd.limits import unreadable_start
from bflcd.params import Genesis, check_genesis
from bflcd.wire.blocks import chain_id_of
from bflcd.wire.codec import encode

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Largest file that is read: a genesis takes at most 4 MiB on the wire, hexadecimal and indented."""

MAX_ERROR_CHARS: Final = 400
"""Of what an error quotes."""

CHAIN_ID_KEY: Final = "chain_id"
"""Written for people and checked when read; no part of the genesis."""


def write_genesis(path: Path, genesis: Genesis) -> None:
    """Write `genesis` with its chain id. Raises OperatorError, MachineError."""
    fields_of = {CHAIN_ID_KEY: chain_id_of(genesis).hex(), **cast(dict[str, object], _to_json(genesis))}
    write_whole(path, (json.dumps(fields_of, indent=2) + "\n").encode())


def read_genesis(path: Path) -> Genesis:
    """The genesis in `path`. Raises UsageError (code `bad_genesis`) naming the key at fault, or what contradicts what."""
    try:
        raw = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise _bad(path, f"above {MAX_FILE_BYTES} bytes")
    trouble = unreadable_start(raw)
    if trouble:
        raise _bad(path, f"no valid JSON: {trouble}")
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise _bad(path, "no JSON object")
    claimed = data.pop(CHAIN_ID_KEY, None)
    try:
        genesis = cast(Genesis, _from_json(Genesis, data, "genesis"))
        encode(genesis)
    except ValueError as error:
        raise _bad(path, str(error)) from error
    check_genesis(genesis)
    chain = chain_id_of(genesis).hex()
    if claimed is not None and claimed != chain:
        raise _bad(path, f"it says chain_id {claimed}, but its contents give {chain}: somebody changed it")
    return genesis


def _bad(path: Path, text: str) -> UsageError:
    if len(text) > MAX_ERROR_CHARS:  # a key or a value of the file can be as long as the file
        text = text[:MAX_ERROR_CHARS] + "..."
    return UsageError(f"{path}: {text}", hint="take the genesis file again from whoever composed it", code="bad_genesis")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _to_json(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value


# By hand: msgspec knows bytes as base64 alone, reads a dataclass past keys that it does not know, and keeps the last of two.
def _from_json(hint: Any, data: Any, where: str) -> object:
    """The value of type `hint` that `data` spells. Raises ValueError naming the key."""
    while get_origin(hint) is Annotated or hasattr(hint, "__supertype__"):
        hint = hint.__supertype__ if hasattr(hint, "__supertype__") else get_args(hint)[0]
    if is_dataclass(hint):
        return _struct_from_json(cast(type, hint), data, where)
    if get_origin(hint) is tuple:
        return _tuple_from_json(get_args(hint), data, where)
    if get_origin(hint) in (Union, types.UnionType):
        raise TypeError(f"{where}: a genesis has no optional fields")
    if hint is bytes:
        if not isinstance(data, str):
            raise ValueError(f"{where} must be hexadecimal text")
        try:
            return bytes.fromhex(data)
        except ValueError as error:
            raise ValueError(f"{where} must be hexadecimal text") from error
    if type(data) is not hint:
        raise ValueError(f"{where} must be {_NAMES[hint]}, not {json.dumps(data)[:40]}")
    return cast(object, data)


_NAMES: Final = {int: "a whole number", str: "text", bool: "true or false"}


def _struct_from_json(cls: type, data: Any, where: str) -> object:
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object")  # noqa: TRY004 - one error for all that a file can say wrong
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in fields(cls)]
    unknown, missing = sorted(data.keys() - set(names)), [name for name in names if name not in data]
    if unknown or missing:
        raise ValueError(f"{where}: " + (f"unknown key {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"))
    return cls(**{name: _from_json(hints[name], data[name], f"{where}.{name}") for name in names})


def _tuple_from_json(items: tuple[Any, ...], data: Any, where: str) -> tuple[object, ...]:
    if not isinstance(data, list):
        raise ValueError(f"{where} must be a list")  # noqa: TRY004 - one error for all that a file can say wrong
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_from_json(items[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if len(data) != len(items):
        raise ValueError(f"{where} must have {len(items)} elements")
    return tuple(_from_json(hint, item, f"{where}[{index}]") for index, (hint, item) in enumerate(zip(items, data, strict=True)))
