"""The file that tells of a running daemon: its process, and where it listens on TCP too, its URL and token."""

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from bflcd.errors import MachineError
from bflcd.faults import refused
from bflcd.files import read_regular

FILE_NAME: Final = "api.json"
"""In the data directory, mode 0600."""

TOKEN_BYTES: Final = 32

MAX_FILE_BYTES: Final = 4096


class ApiFile(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `api.json`. `url` is empty unless the API listens on TCP; `token` names the start as well."""

    url: str
    token: str
    pid: int


def new_token() -> str:
    """A fresh bearer token, 256 bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def write_api_file(datadir: Path, entry: ApiFile) -> Path:
    """Write the file so that it is whole or absent, and never readable by others. Raises MachineError."""
    path = datadir / FILE_NAME
    temporary = datadir / f".{FILE_NAME}.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(entry) + b"\n")
        temporary.replace(path)
    except OSError as error:
        raise refused(f"cannot write {path}", error) from error
    return path


def remove_api_file(datadir: Path, token: str) -> None:
    """Remove the file if it is still ours: a daemon that started after us keeps its own."""
    path = datadir / FILE_NAME
    try:
        found = msgspec.json.decode(read_regular(path, MAX_FILE_BYTES), type=ApiFile)
        if found.token == token:
            path.unlink()
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:  # damaged in whatever way
        raise MachineError(f"cannot remove {path}: {error}", hint="remove it by hand", code="io_error") from error
