"""Who may touch a data directory: its owner, who runs the node, and nobody else. A refusal names the command that mends it."""

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bflcd.errors import OperatorError

OTHERS: Final = 0o077
"""Modes by which group or others may read, write or enter."""

OTHERS_WRITE: Final = 0o022

_PUBLIC: Final = frozenset(("genesis.json", "model0.safetensors"))
"""What everybody of the community has: others may read it, and no more."""


def check_closed(directory: Path, me: int) -> None:
    """Raise OperatorError (`bad_datadir`) unless user `me` owns the directory and what is in it, and has them for itself."""
    for path in _watched(directory):
        try:
            found = path.stat()
        except FileNotFoundError:  # gone meanwhile, or a link that leads nowhere
            continue
        if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise OperatorError(
                f"{path}: a pipe or a device, at which a node would wait; nothing of a node's is one",
                hint=f"rm {shlex.quote(str(path))}",
                code="bad_datadir",
            )
        if found.st_uid != me:
            raise OperatorError(
                f"{path} belongs to user {found.st_uid}, and this is user {me}",
                hint=f"start as its owner, or make it yours: chown -R {me} {shlex.quote(str(directory))}",
                code="bad_datadir",
            )
        what, closed = ("write to", OTHERS_WRITE) if path.name in _PUBLIC else ("read or write", OTHERS)
        if found.st_mode & closed:
            raise OperatorError(
                f"{path}: others may {what} this (mode {found.st_mode & 0o777:o})",
                hint=f"chmod -R go-rwx {shlex.quote(str(directory))} (if that changes nothing, its file system keeps no modes: "
                "choose one that does)",
                code="bad_datadir",
            )


def close_empty(directory: Path) -> None:
    """Take from others what a lax umask gave them. Raises OSError; OperatorError where the file system keeps no modes."""
    directory.chmod(0o700)
    if directory.stat().st_mode & OTHERS:
        raise OperatorError(
            f"{directory}: its file system keeps no modes: whoever uses this machine could read the key",
            hint="choose a data directory on a file system with owners and modes",
            code="bad_datadir",
        )


def _watched(directory: Path) -> Iterator[Path]:
    """The directory, then what is in it, then what is in its folders: the log."""
    yield directory
    for path in sorted(directory.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from sorted(path.iterdir())
