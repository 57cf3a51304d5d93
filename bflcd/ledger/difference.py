"""The first place where a segment is not what it should be, named for people: block, field, what it says, what is right."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from bflcd.errors import PeerError, Rejection
from bflcd.types import short
from bflcd.wire.blocks import Header, ModelBody, ModelFields, Segment, UpdateBody

_LINKS: Final = frozenset({"chain", "height", "round", "kind", "parent"})
"""Header fields that tie a block to the one before it."""

_SHOWN: Final = 120
"""Characters of a value that a message quotes at most."""


def compare_segments(expected: Segment, found: Segment) -> None:
    """Raise PeerError (BAD_LINK for a block's place, BAD_SEGMENT for the rest) at the first difference; both have k + 1 headers.

    Bodies come before headers, and blocks in chain order: what differs first is the cause of what differs later.
    """
    if expected == found:
        return
    for name, right, says in _parts(expected, found):
        if right == says:
            continue
        field, value, instead = _first_field(right, says)
        rejection = Rejection.BAD_LINK if isinstance(right, Header) and field in _LINKS else Rejection.BAD_SEGMENT
        raise PeerError(rejection, f"{name}, field {field}: is {_show(instead)}, must be {_show(value)}")


_Part = Header | UpdateBody | ModelBody


def _parts(expected: Segment, found: Segment) -> Iterator[tuple[str, _Part, _Part]]:
    first, model = expected.headers[0], expected.model_header
    for index, (right, says) in enumerate(zip(expected.updates, found.updates, strict=True)):
        yield f"body of update block #{first.height + index}", right, says
    yield f"body of model block #{model.height}", expected.model, found.model
    for right_header, says_header in zip(expected.headers, found.headers, strict=True):
        kind = "model" if right_header is model else "update"
        yield f"header of {kind} block #{right_header.height}", right_header, says_header


def _first_field(right: Any, says: Any) -> tuple[str, Any, Any]:
    for field in fields(right):
        value, instead = getattr(right, field.name), getattr(says, field.name)
        if value == instead:
            continue
        if isinstance(value, ModelFields) and isinstance(instead, ModelFields):
            inner, value, instead = _first_field(value, instead)
            return f"{field.name}.{inner}", value, instead
        return field.name, value, instead
    return "type", type(right).__name__, type(says).__name__


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return short(value)
    if isinstance(value, tuple):
        return f"({', '.join(_show(item) for item in value)})"[:_SHOWN]
    return str(value)[:_SHOWN]
