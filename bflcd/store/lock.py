"""One process a data directory: advisory locks that the kernel drops when their holder dies.

The file says who holds it, and is locked where that is all that a file system can lock. The directory itself is locked too:
whoever removes the file by hand must not let a second node sign with the same key.
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final, Self

from bflcd.errors import MachineError, OperatorError
from bflcd.faults import lacks, refused
from bflcd.files import read_regular, require_regular

LOCK_NAME: Final = "LOCK"

_PID_BYTES: Final = 20
"""Of a process id, as text."""

_NO_FOLDER_LOCKS: Final = frozenset((errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP))
"""What locking a directory is answered with where only files that are open for writing can be locked (NFS), or nothing can."""


def disk_error(what: str, error: OSError) -> MachineError | OperatorError:
    """The failure of a system call on a file of the data directory, by what the operator has to do."""
    fault = refused(what, error)
    fault.hint += ", then start the node again"
    return fault


class DirectoryLock:
    """The exclusive locks on a data directory, held from construction until `release`."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises MachineError: `locked` naming the directory and the process that holds it, `file_system` where there are no locks.
        """
        self._path = directory / LOCK_NAME
        require_regular(self._path)
        self._folder = self._lock_folder(directory)
        try:
            self._take(directory)
        except BaseException:
            self._release_folder()
            raise

    def _lock_folder(self, directory: Path) -> int:
        """The descriptor that holds the directory's own lock, -1 where its file system has none. Raises as the constructor."""
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error(f"cannot open {directory}", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise self._held(directory) from error
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_FOLDER_LOCKS:
                raise lacks("lock for a whole file (flock)", f"{directory} cannot be locked", error) from error
            return -1
        return descriptor

    def _held(self, directory: Path) -> MachineError:
        try:
            holder = read_regular(self._path, _PID_BYTES)[:_PID_BYTES].decode("ascii", "replace").strip()
        except OSError:  # it was removed by hand
            holder = ""
        return MachineError(
            f"the data directory {directory} is in use by process {holder or 'unknown'}",
            hint="stop that daemon first, or choose another data directory",
            code="locked",
        )

    def _take(self, directory: Path) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(f"cannot open {self._path}", error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise self._held(directory) from error
        except OSError as error:
            os.close(self._descriptor)
            raise lacks("lock for a whole file (flock)", f"{self._path} cannot be locked", error) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._descriptor)
            raise disk_error(f"cannot write {self._path}", error) from error

    def release(self) -> None:
        """Give the lock back. Idempotent. The file stays: removing it would race with the next holder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._release_folder()

    def _release_folder(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
