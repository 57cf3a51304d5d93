"""Hypothesis strategies for every message, from the limits in its annotations."""

from typing import Any

from hypothesis import strategies as st

from bflcd.limits import is_printable
from tests.helpers.schema import Choice, Fixed, Flag, Integer, Many, Maybe, Octets, Schema, Struct, Text, schema_of

LONGEST = 3
"""Elements of a drawn list: lengths at the limits have tests of their own."""

WIDEST = 40
"""Bytes of a drawn text or byte string without a fixed length."""

MOST_BYTES = 4
"""Bytes of one character in UTF-8, at most."""


def messages(cls: type) -> st.SearchStrategy[Any]:
    """Any value of a message class, its lists and texts kept short."""
    return _values(schema_of(cls))


def _printable(**limits: Any) -> st.SearchStrategy[str]:
    """A character that a message may hold."""
    return st.characters(**limits).filter(is_printable)


def _values(schema: Schema) -> st.SearchStrategy[Any]:
    match schema:
        case Integer(low, high):
            return st.one_of(st.integers(low, high), st.sampled_from((low, high)))
        case Octets(low, high):
            return st.binary(min_size=low, max_size=min(high, max(low, WIDEST)))
        case Text(low, high):
            longest = min(high, max(low, WIDEST))
            if longest // MOST_BYTES < low:
                return st.text(_printable(max_codepoint=0x7F), min_size=low, max_size=longest)
            return st.text(_printable(exclude_categories=["Cs"]), min_size=low, max_size=longest // MOST_BYTES)
        case Flag():
            return st.booleans()
        case Choice(cls):
            return st.sampled_from(cls)
        case Many(item, low, high):
            return st.lists(_values(item), min_size=low, max_size=min(high, max(low, LONGEST))).map(tuple)
        case Fixed(items):
            return st.tuples(*map(_values, items))
        case Maybe(item):
            return st.none() | _values(item)
        case Struct(cls, _, items):
            return st.builds(cls, *map(_values, items))
