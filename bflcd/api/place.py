"""Where the API listens: a Unix socket in the data directory, and a loopback port where the operator wants one."""

import os
import socket
import stat
from pathlib import Path
from typing import Final, Self

from bflcd.config.port import Port
from bflcd.errors import MachineError

SOCKET_NAME: Final = "api.sock"
"""In the data directory, mode 0600: whoever may open it may ask everything."""

MAX_NAME_BYTES: Final = 103
"""Longest path that every system takes as a socket's (unix(7): 108 bytes on Linux, 104 on the BSDs, with a zero at the end)."""

BACKLOG: Final = 64
"""Connections that wait to be accepted."""

_DESCRIPTORS: Final = Path("/proc/self/fd")


class SocketName:
    """A name by which the kernel takes the path of a socket, however long: beyond its limit by way of the open directory."""

    def __init__(self, path: Path) -> None:
        """Raises MachineError (`long_path`) where the system has no such way, OSError if there is no directory."""
        self._directory = -1
        self.name = str(path)
        if len(os.fsencode(path)) <= MAX_NAME_BYTES:
            return
        if not _DESCRIPTORS.is_dir():
            raise MachineError(
                f"{path}: longer than the {MAX_NAME_BYTES} bytes that a socket's path may have",
                hint="choose a data directory with a shorter path",
                code="long_path",
            )
        self._directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.name = str(_DESCRIPTORS / str(self._directory) / path.name)

    def close(self) -> None:
        """Give the directory back. Idempotent."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen_at(path: Path) -> socket.socket:
    """A Unix socket at `path` that listens, open to its owner alone; one that an earlier daemon left gives way.

    The caller holds the lock of the directory. Raises MachineError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with SocketName(path) as name:
            _remove_left(path)
            listener.bind(name.name)
        path.chmod(0o600)  # before it listens: nobody can have come by then
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise MachineError(
            f"the API cannot listen at {path}: {error.strerror}",
            hint="put the data directory on a local file system that takes sockets, and which its owner may write to",
            code="io_error",
        ) from error
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def remove_socket(path: Path) -> None:
    """Take the socket's name away at the end, unless it is gone. Raises MachineError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"cannot remove {path}: {error.strerror}", hint="remove it by hand", code="io_error") from error


def _remove_left(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise MachineError(f"{path} is there and no socket", hint="move it away: the API listens there", code="io_error")
    path.unlink()


def listen_on(port: Port) -> socket.socket:
    """A TCP socket that listens on `port`. Raises MachineError (`port_in_use`)."""
    listener = socket.socket(socket.AF_INET6 if ":" in port.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((port.host, port.number))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise MachineError(
            f"the API cannot listen on {port}: {error.strerror}",
            hint="choose another api.listen, with port 0 for any that is free, or none for the socket alone",
            code="port_in_use",
        ) from error
    listener.setblocking(False)
    return listener
