"""A msgpack stream read value by value: neither depth nor a lying length costs memory (`bflcd.wire.codec`)."""

from collections.abc import Callable
from typing import Any, Final

import msgpack

from bflcd.errors import PeerError, Rejection

_NIL: Final = 0xC0
"""The type byte of an absent optional field."""

REFUSALS: Final = (msgpack.UnpackException, ValueError, OverflowError)
"""What msgpack raises for bytes that are not what was asked for; UnicodeDecodeError is a ValueError."""


class Reader:
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
        """Read an array's length, which must be within the limits. Raises PeerError."""
        count = self.header()
        if not low <= count <= high:
            raise malformed(f"an array of {count} elements where {low} to {high} are allowed")
        return count


def malformed(text: str) -> PeerError:
    """The refusal of bytes that are no canonical encoding."""
    return PeerError(Rejection.MALFORMED, text)
