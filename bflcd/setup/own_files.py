"""Whether a running node still has the files that it opened.

A file that is removed, replaced or moved with its directory goes on under its open descriptor, and all that is written to it is
lost with the process. So the node ends, and says why: started again, it fetches what is missing from its peers.
"""

import asyncio
from pathlib import Path
from typing import Final

from bflcd.errors import MachineError
from bflcd.setup.datadir import DataDir

LOOK_SECONDS: Final = 5.0
"""Between two looks: what is signed meanwhile stands in the mark file, or is known to the peers."""

_Identity = tuple[int, int]
"""Device and inode."""


async def watch_own_files(datadir: DataDir, *, pause: float = LOOK_SECONDS) -> None:
    """Look for ever. Raises MachineError (`files_gone`) once the database, its log or the mark file is no more what it was when
    it was first seen; the database and the mark file are there from the start."""
    log = datadir.chain.with_name(datadir.chain.name + "-wal")
    first: dict[Path, _Identity] = {}
    while True:
        for path in (datadir.chain, datadir.marks, log):
            now = _identity(path)
            if now is None and path == log and path not in first:
                continue
            if now is None or first.setdefault(path, now) != now:
                raise MachineError(
                    f"{path} was {'removed' if now is None else 'replaced'} while this node runs, or its directory was moved: "
                    "what is written now would be lost",
                    hint="put back what belongs there, or leave it away, and start the node again: its peers have the chain",
                    code="files_gone",
                )
        await asyncio.sleep(pause)


def _identity(path: Path) -> _Identity | None:
    """None: nothing is there. Raises MachineError where that can't be seen."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        text = f"{path} can't be looked at: {error.strerror or error}"
        raise MachineError(text, hint="look at the disk, or the share, that it is on", code="files_gone") from error
    return found.st_dev, found.st_ino
