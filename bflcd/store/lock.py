"""One process a data directory: an advisory lock that the kernel drops when its holder dies."""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from bflcd.errors import MachineError, OperatorError
from bflcd.faults import lacks, refused
from bflcd.files import require_regular

LOCK_NAME: Final = "LOCK"


def disk_error(what: str, error: OSError) -> MachineError | OperatorError:
    """The failure of a system call on a file of the data directory, by what the operator has to do."""
    fault = refused(what, error)
    fault.hint += ", then start the node again"
    return fault


class DirectoryLock:
    """The exclusive lock on a data directory, held from construction until `release`."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises MachineError: `locked` naming the directory and the process that holds it, `file_system` where there are no locks.
        """
        self._path = directory / LOCK_NAME
        require_regular(self._path)
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(f"cannot open {self._path}", error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise MachineError(
                f"the data directory {directory} is in use by process {holder}",
                hint="stop that daemon first, or choose another data directory",
                code="locked",
            ) from error
        except OSError as error:
            os.close(self._descriptor)
            raise lacks("lock for a whole file (flock)", f"{self._path} cannot be locked", error) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise disk_error(f"cannot write {self._path}", error) from error

    def release(self) -> None:
        """Give the lock back. Idempotent. The file stays: removing it would race with the next holder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
