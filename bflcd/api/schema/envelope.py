"""The JSON envelope of every answer: of the API, and of the commands with `--json`."""

from typing import Any, Final

SCHEMA: Final = 1
"""Version of the envelope; raised only when a reader of the old one would break."""


def ok_envelope(data: Any) -> dict[str, Any]:
    """The envelope of a result."""
    return {"schema": SCHEMA, "status": "ok", "data": data}


def error_envelope(code: str, message: str, hint: str, data: Any = None) -> dict[str, Any]:
    """The envelope of a refusal or failure, with `data` where there is some."""
    envelope = {"schema": SCHEMA, "status": "error", "code": code, "message": message, "hint": hint}
    return envelope if data is None else {**envelope, "data": data}
