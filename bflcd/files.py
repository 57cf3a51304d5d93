"""Files of others' making, read within bounds: no pipe or device, at which one waits for ever, and no more than is meant."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from bflcd.faults import refused

_NO_FILE: Final = "a pipe or a device, no file"


def open_regular(path: Path) -> int:
    """A descriptor for reading a regular file, without ever waiting. Raises OSError: EISDIR for a directory, else ENXIO."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
        raise OSError(number, os.strerror(number) if number == errno.EISDIR else _NO_FILE, str(path))
    return descriptor


def read_regular(path: Path, limit: int) -> bytes:
    """The first `limit` + 1 bytes of a regular file: the one more says that it is longer. Raises as `open_regular` does."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(limit + 1)


def require_regular(path: Path) -> None:
    """Raise OperatorError, MachineError if something is at `path` that is no file: for libraries that would wait for it.

    It is not opened: closing it again would give back the locks that a library holds on it.
    """
    try:
        _need_place(path)
    except OSError as error:
        raise refused(f"{path}", error) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent, in the place of one that is there, but of nothing else.

    Raises OperatorError, MachineError; `bad_path` where a pipe or a device stands, which everybody on this machine may need.
    """
    temporary = path.with_name(f".bflc-{os.getpid()}")  # short: the other name may be as long as names can be
    try:
        _need_place(path)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise refused(f"{path}: cannot be written", error) from error


def named(text: str) -> Path:
    """A directory as a command line names it. Raises ValueError for an empty name: an unset variable means no place."""
    if not text:
        raise ValueError
    return Path(text)


def make_folder(path: Path) -> Path:
    """The folder of results to be, made before the hours that they take. Raises OperatorError, MachineError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(f"{path}: nothing can be written there", error) from error
    return path


def _need_place(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.ENXIO, "a directory" if path.is_dir() else _NO_FILE)
