"""How a setting is refused: where it came from, what is wrong, what is allowed; no longer than people read."""

import difflib
from collections.abc import Mapping
from typing import Final

from bflcd.config.settings import FIXED, Setting
from bflcd.errors import UsageError

_SHOWN_CHARS: Final = 200
"""Of a refused value, in a message."""

_MESSAGE_CHARS: Final = 1000
"""Of a message: a file may hold a name of a mebibyte."""


def bad(message: str, hint: str) -> UsageError:
    """The error for anything that is no configuration."""
    return UsageError(printed(message), hint=hint, code="bad_config")


def printed(message: str) -> str:
    """A message as it may be written anywhere: what is no UTF-8 in a variable's name must not keep it from the log."""
    return cut(message).encode(errors="backslashreplace").decode()


def not_allowed(setting: Setting, raw: object, origin: str) -> UsageError:
    """The error for a value outside of what its setting allows."""
    return bad(f"{origin}: {setting.key} = {shown(raw)} is not allowed", f"{setting.key}: {setting.allowed}")


def nearest(name: str, known: Mapping[str, Setting]) -> str:
    """The hint for a name that is not known: one that may have been meant, or all."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(key for key in known if key != FIXED)}"


def shown(raw: object) -> str:
    """A refused value for people: cut where nobody reads on."""
    try:
        text = repr(raw)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def cut(text: str) -> str:
    """As much of a text as a message holds."""
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]}..."
