"""What the operating system refused, as an error for the operator: whose fault it is, and what to do about it."""

import errno
import os
import resource
from pathlib import Path
from typing import Final

from bflcd.errors import MachineError, OperatorError

_DISK: Final = "check the disk, its owner and the system's log"

_LIMITS: Final = {
    errno.EMFILE: "raise the limit on open files of a process (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "the whole machine has too many files open: stop something, or raise fs.file-max",
    errno.EAGAIN: "raise the limit on processes and threads (ulimit -u, TasksMax=, a container's pids limit), or stop something",
    errno.ENOMEM: "give it more memory, or raise the limit on it (ulimit -v, MemoryMax=)",
}
"""What a limit refused; EAGAIN is what a new process or thread gets."""

_FULL: Final = {
    errno.ENOSPC: "free some space on this disk",
    errno.EDQUOT: "free some space, or raise the quota",
}

_CLOSED: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))

_PATHS: Final = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file: choose another path",
    errno.EISDIR: "this is a directory: name a file",
    errno.EEXIST: "it is there already: choose another path",
    errno.ENOTEMPTY: "it is there already: choose another path",
    errno.ELOOP: "its links lead in a circle: choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENXIO: "name a regular file",
}
"""The path that was given is at fault."""

_NAME_CHARS: Final = 200
"""Of a name that is no text, in a message."""

_LACKING: Final = frozenset((errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOTTY))
"""The file system does not know the operation."""

_NO_THREAD: Final = "can't start new thread"
"""How Python says it; the system's own word is lost."""

LOCAL_DISK: Final = "put it on a local file system such as ext4, xfs or btrfs"
"""What helps where a file system lacks an operation."""


def fault_of(error: BaseException, what: str = "") -> OperatorError | MachineError | None:
    """The fault behind what Python raised for it, or None if it is none of the system's.

    `what`: what failed and where; without it the file that the error names. Knows OSError, MemoryError, the RuntimeError of a
    thread that can't be started, a program file that can't be loaded, and a name that is no UTF-8, which only the system gives.
    """
    if isinstance(error, UnicodeEncodeError) and "\ud800" <= error.object[error.start] <= "\udfff":
        reason = f"{ascii(error.object)[:_NAME_CHARS]} has bytes that are no UTF-8"
        return OperatorError(_joined(what, reason), hint="give a name in UTF-8", code="bad_name")
    if isinstance(error, MemoryError):
        return _told(what, "memory ran out", _LIMITS[errno.ENOMEM], "out_of_memory")
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return _told(what, "a thread can't be started", _LIMITS[errno.EAGAIN], "limit")
    if isinstance(error, ImportError):
        reason = f"a part of the program can't be loaded: {error}"
        return _told(what, reason, "is there memory for it? Else install it again", "install")
    if not isinstance(error, OSError):
        return None
    return refused(what or _place(error), error)


def lacks(operation: str, what: str, error: OSError) -> MachineError | OperatorError:
    """The failure of an operation that some file systems lack: as that if it is so, else as what it is."""
    if error.errno in _LACKING or error.errno == errno.EINVAL:
        reason = f"this file system has no {operation} ({error.strerror})"
        return MachineError(f"{what}: {reason}", hint=LOCAL_DISK, code="file_system")
    return refused(what, error)


def is_there(path: Path) -> bool:
    """Whether `path` leads to something. Raises OperatorError, MachineError where that can't be seen."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise refused(f"{path}", error) from error
    return True


def sync_directory(directory: Path) -> None:
    """Make names in `directory` durable, as far as its file system does that at all. Raises OSError.

    Some (FUSE, SMB) know no fsync of a directory: there a name is as durable as they make it, and nothing more can be done.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _LACKING and error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def limit_reached() -> OSError | None:
    """Why no file can be opened at this moment, if it is so: for libraries that keep the system's own word to themselves."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error if error.errno in _LIMITS else None
    return None


def file_size_limit() -> int | None:
    """Bytes that a file of this process may have at most; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft


def refused(what: str, error: OSError) -> OperatorError | MachineError:
    """The fault behind a failed system call. `what`: what failed and where."""
    number, reason = error.errno or 0, error.strerror or str(error) or type(error).__name__
    if number in _CLOSED:
        hint = "run as its owner, or choose another place"
        return OperatorError(_joined(what, reason), hint=hint, code="no_permission")
    if number in _FULL:
        return _told(what, reason, _FULL[number], "disk_full")
    if number == errno.EFBIG:
        return _told(what, reason, "raise the limit on the size of files (ulimit -f, LimitFSIZE=)", "io_error")
    if number in _LIMITS:
        return _told(what, reason, _LIMITS[number], "out_of_memory" if number == errno.ENOMEM else "limit")
    if number == errno.ENOENT and not what and is_homeless():
        return OperatorError("the working directory is gone", hint="change to one that is there", code="no_directory")
    if number in _PATHS:
        return OperatorError(_joined(what, reason), hint=_PATHS[number], code="bad_path")
    if number in _LACKING:
        return _told(what, reason, LOCAL_DISK, "file_system")
    return _told(what, reason, _DISK, "io_error")


def _told(what: str, reason: str, hint: str, code: str) -> MachineError:
    return MachineError(_joined(what, reason), hint=hint, code=code)


def _joined(what: str, reason: str) -> str:
    return f"{what}: {reason}" if what else reason


def _place(error: OSError) -> str:
    """The files that an error names."""
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return ", ".join(map(os.fsdecode, names))


def is_homeless() -> bool:
    """Whether the working directory was removed under us."""
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd is this call
    except OSError:
        return True
    return False
