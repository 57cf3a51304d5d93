"""Tables of what a genesis or a configuration may name, and the one way to look something up in them."""

from collections.abc import Mapping
from typing import TypeVar

from bflcd.errors import InvariantError

T = TypeVar("T")


def entry_of(table: Mapping[str, T], name: str, what: str) -> T:
    """What `name` stands for in a table of `what`. Raises InvariantError: names are checked where they come in."""
    found = table.get(name)
    if found is None:
        raise InvariantError(f"{name!r} is no {what}; known: {', '.join(table)}")
    return found
