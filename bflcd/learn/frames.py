"""How daemon and compute worker talk over pipes: frames of a bounded msgpack head and the payloads that it announces.

A frame is a 4-byte big-endian head length, the head (a msgpack list: kind, fields, payload sizes), then the payloads back to
back, so that models and updates are never packed into another copy. Both ends are this project's own process pair; the limits
catch a stray write to the pipe before it becomes an allocation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgpack
import msgspec
from msgspec import Meta

from bflcd.types import CHUNK_BYTES, MAX_CHUNKS, MAX_MEMBERS

LENGTH_BYTES: Final = 4

MAX_HEAD_BYTES: Final = 2**23
"""A head: names a score or a reason for each of 2^14 candidates, or a specification of 4096 tensors."""

MAX_PAYLOADS: Final = MAX_MEMBERS + 2
"""A model, the one before it, and an update of every member."""

MAX_FRAME_BYTES: Final = MAX_CHUNKS * CHUNK_BYTES
"""All payloads of a frame together: one blob of the largest size, 16 GiB."""

Head = tuple[str, dict[str, Any], list[Annotated[int, Meta(ge=0)]]]
"""Kind, fields, payload sizes."""


class FrameError(Exception):
    """The bytes on the pipe are no frame: the pipe can't be used any more."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: `kind` names it, `fields` are msgpack values, `payloads` are models and updates."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    payloads: tuple[bytes, ...] = ()


def frame_parts(frame: Frame) -> list[bytes]:
    """The buffers to write, in order. Raises FrameError above a limit."""
    head: bytes = msgpack.packb([frame.kind, frame.fields, [len(payload) for payload in frame.payloads]])
    _check_sizes(len(head), [len(payload) for payload in frame.payloads])
    return [len(head).to_bytes(LENGTH_BYTES, "big") + head, *frame.payloads]


def head_length(prefix: bytes) -> int:
    """Length of the head that follows `prefix`. Raises FrameError above the limit."""
    length = int.from_bytes(prefix, "big")
    _check_sizes(length, ())
    return length


def decode_head(head: bytes) -> Head:
    """Kind, fields and payload sizes. Raises FrameError."""
    try:  # msgpack bounds every length by the bytes that there are
        kind, fields, sizes = msgspec.convert(msgpack.unpackb(head), Head, builtin_types=(bytes,))
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame's head of {len(head)} bytes is no kind, fields and payload sizes: {error}") from error
    _check_sizes(len(head), sizes)
    return kind, fields, sizes


def read_frame(read_exactly: Callable[[int], bytes]) -> Frame:
    """One frame through a blocking reader that returns exactly so many bytes or raises EOFError. Raises FrameError."""
    kind, fields, sizes = decode_head(read_exactly(head_length(read_exactly(LENGTH_BYTES))))
    return Frame(kind, fields, tuple(read_exactly(size) for size in sizes))


def _check_sizes(head: int, payloads: Iterable[int]) -> None:
    sizes = list(payloads)
    if head > MAX_HEAD_BYTES or len(sizes) > MAX_PAYLOADS or sum(sizes) > MAX_FRAME_BYTES:
        raise FrameError(
            f"a frame with a head of {head} bytes and {len(sizes)} payloads of {sum(sizes)} bytes is above the limits"
        )
