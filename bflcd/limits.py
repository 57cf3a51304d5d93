"""Limits of fields, as the codec and the readers of files enforce them before anything is allocated."""

from dataclasses import dataclass
from typing import Annotated


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
