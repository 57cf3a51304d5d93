"""The base of all structures."""

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers: immutable, built by name."""
