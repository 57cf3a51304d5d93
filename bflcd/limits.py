"""Limits of fields, as the codec and the readers of files enforce them before anything is allocated."""

import re
from dataclasses import dataclass
from typing import Annotated, Final


@dataclass(frozen=True, slots=True)
class Size:
    """Limit of a bytes, string or tuple field: `low` to `high` bytes, UTF-8 bytes or elements."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Between:
    """Limit of an integer field, both ends included."""

    low: int
    high: int


Name = Annotated[str, Size(1, 128)]
"""A short identifier."""

_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\U000e0000-\U000e0fff]"
)
"""Control characters, line and paragraph ends, marks that turn the direction of writing, and what has no width.

Fixed ranges: `str.isprintable` follows the Unicode tables of the Python at hand, and two nodes would decode differently.
"""


LARGEST_NUMBER: Final = 2**53
"""Of rounds, heights, events and rows that people name: what every message and every table can hold."""

_UNSEEN: Final = re.compile(
    rf"{_UNPRINTABLE.pattern[:-1]}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u3164\ufe00-\ufe0f\uffa0\ud800-\udfff]"
)
"""What a terminal shows nothing of, beyond that: fillers, selectors, and halves of characters, of names that are no UTF-8."""


def visible(text: str, *, lines: bool = False) -> str:
    """`text` as it may go to a terminal, whoever wrote it: what steers or hides is escaped, ends of lines too unless `lines`."""
    return _UNSEEN.sub(lambda found: found[0] if lines and found[0] == "\n" else _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_BYTE_ORDER_MARKS: Final = {
    b"\xef\xbb\xbf": "it begins with a byte order mark (BOM): save it as UTF-8 without one",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
}
"""What editors of other systems put before a text, and what to do."""


def unreadable_start(raw: bytes) -> str:
    """What is wrong with the encoding of a file's text, and what to do; empty if it doesn't begin as such a file."""
    if raw[:4].count(0) == 2 and raw[:2] not in _BYTE_ORDER_MARKS:
        return "it is UTF-16: save it as UTF-8"
    return next((text for mark, text in _BYTE_ORDER_MARKS.items() if raw.startswith(mark)), "")


def is_printable(text: str) -> bool:
    """Whether a text can stand on one line of a terminal and steer nothing: what every text of a message must be (design 4)."""
    return _UNPRINTABLE.search(text) is None
