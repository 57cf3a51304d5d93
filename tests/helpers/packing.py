"""A msgpack writer that can be made to write one value in another than its shortest form."""

from collections.abc import Iterator
from dataclasses import dataclass

Tree = None | bool | int | str | bytes | list["Tree"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value's place in the bytes: header from `start` to `body`, contents to `end` (equal to `body` for numbers and arrays)."""

    start: int
    body: int
    end: int
    value: Tree


def nodes(data: bytes) -> list[Node]:
    """Every value of one canonical message, in order, the outermost array first."""
    found: list[Node] = []
    _walk(data, 0, found)
    return found


def _walk(data: bytes, start: int, found: list[Node]) -> int:
    first = data[start]
    if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        width = {0xDC: 2, 0xDD: 4}.get(first, 0)
        body = start + 1 + width
        count = int.from_bytes(data[start + 1 : body], "big") if width else first & 0x0F
        found.append(Node(start, body, body, [None] * count))
        for _ in range(count):
            body = _walk(data, body, found)
        return body
    if 0xA0 <= first <= 0xBF or 0xC4 <= first <= 0xC6 or 0xD9 <= first <= 0xDB:
        width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}.get(first, 0)
        body = start + 1 + width
        end = body + (int.from_bytes(data[start + 1 : body], "big") if width else first & 0x1F)
        text = first not in (0xC4, 0xC5, 0xC6)
        found.append(Node(start, body, end, data[body:end].decode() if text else data[body:end]))
        return end
    if first in (0xC0, 0xC2, 0xC3):
        found.append(Node(start, start + 1, start + 1, {0xC0: None, 0xC2: False, 0xC3: True}[first]))
        return start + 1
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}.get(first, 0)
    end = start + 1 + width
    value = int.from_bytes(data[start + 1 : end], "big", signed=first >= 0xD0) if width else first - (256 if first >= 0xE0 else 0)
    found.append(Node(start, end, end, value))
    return end


def other_forms(data: bytes, node: Node) -> Iterator[bytes]:
    """`data` with this one value in each other form that msgpack has for it, the type swapped between text and bytes too."""
    body, short = data[node.body : node.end], data[node.start : node.end]
    for form in _forms(node.value, body):
        if form != short:
            yield data[: node.start] + form + data[node.end :]


def _forms(value: Tree, body: bytes) -> Iterator[bytes]:
    if value is None or isinstance(value, bool):
        return  # one byte each, and no other form
    if isinstance(value, int):
        yield from _integer_forms(value)
    elif isinstance(value, list):
        yield b"\xdc" + len(value).to_bytes(2, "big")
        yield b"\xdd" + len(value).to_bytes(4, "big")
    else:
        for code, width in ((0xD9, 1), (0xDA, 2), (0xDB, 4), (0xC4, 1), (0xC5, 2), (0xC6, 4)):
            if len(body) < 2 ** (8 * width):
                yield bytes([code]) + len(body).to_bytes(width, "big") + body
        if len(body) < 32:
            yield bytes([0xA0 + len(body)]) + body


def _integer_forms(value: int) -> Iterator[bytes]:
    for code, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        if 0 <= value < 2 ** (8 * width):
            yield bytes([code]) + value.to_bytes(width, "big")
    for code, width in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
        if -(2 ** (8 * width - 1)) <= value < 2 ** (8 * width - 1):
            yield bytes([code]) + value.to_bytes(width, "big", signed=True)
