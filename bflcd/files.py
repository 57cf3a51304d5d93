"""Files of others' making, read within bounds: no pipe or device, at which one waits for ever, and no more than is meant."""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from bflcd.faults import refused, sync_directory

_NO_FILE: Final = "a pipe or a device, no file"
_A_DIRECTORY: Final = "a directory"


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


def beside(path: Path) -> Path:
    """A name in the same directory for what is to take the place of `path`. Raises OSError (EISDIR) if that names no file.

    Drawn, so that nobody can lay a link there beforehand, and what a killed command left stands in no later one's way: in a
    container each has the same process id. Short: the other name may be as long as names can be.
    """
    if not path.name:
        raise OSError(errno.EISDIR, _A_DIRECTORY, str(path))
    return path.with_name(f".bflc-{secrets.token_hex(8)}")


def is_closed(directory: Path) -> bool:
    """Whether only its owner may enter a directory: then others have no business with a new file in it either. Raises OSError."""
    return not directory.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def check_place(path: Path) -> None:
    """Raise OperatorError, MachineError before the work whose result `write_whole` could not write to `path`."""
    try:
        _need_place(path)
        _need_folder(beside(path).parent)
    except OSError as error:
        raise refused(f"{path}: cannot be written", error) from error


def write_whole(path: Path, data: bytes, *, durable: bool = False, failed: str = "cannot be written") -> None:
    """Write a file that is whole or absent, in the place of one that is there, but of nothing else.

    `durable`: its name is not lost with the power either; `failed`: what its error says.

    In a directory that is its owner's alone so is the file: a data directory takes no other. Raises OperatorError, MachineError;
    `bad_path` where a pipe or a device stands, which everybody on this machine may need.
    """
    try:
        _need_place(path)
        temporary = beside(path)
        try:
            _write_new(temporary, data, 0o600 if is_closed(path.parent) else 0o666)
            temporary.replace(path)
            if durable:
                sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise refused(f"{path}: {failed}", error) from error


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


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # else a power failure may leave the new name with nothing in it


def _need_folder(path: Path) -> None:
    is_folder = stat.S_ISDIR(path.stat().st_mode)
    if not is_folder or not os.access(path, os.W_OK | os.X_OK):
        number = errno.EACCES if is_folder else errno.ENOTDIR
        raise OSError(number, os.strerror(number))


def _need_place(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.ENXIO, _A_DIRECTORY if path.is_dir() else _NO_FILE)
