"""A data directory: one node's key, configuration, genesis and chain, readable by its owner alone."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bflcd.api.token import FILE_NAME as API_FILE
from bflcd.config import CONFIG_FILE
from bflcd.errors import OperatorError, UsageError
from bflcd.faults import is_there, refused
from bflcd.files import read_regular
from bflcd.log import LOG_DIR
from bflcd.params import Genesis
from bflcd.setup.access import check_closed, close_empty
from bflcd.setup.genesis_file import read_genesis
from bflcd.types import NodeId
from bflcd.wire.tensors import blob_ref

KEPT_DIGITS: Final = 16
"""Of its id, in the name of a key that was kept."""

_KEPT: Final = re.compile(rf"node\.key\.[0-9a-f]{{{KEPT_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class DataDir:
    """The layout. Nothing here touches the disk but `make` and `check`."""

    path: Path

    @property
    def key(self) -> Path:
        """The secret key."""
        return self.path / "node.key"

    @property
    def next_key(self) -> Path:
        """The key that is to take the place of `key`, while a rotation is under way."""
        return self.path / "node.key.next"

    def kept_key(self, node: NodeId) -> Path:
        """A key that this node had before another took its place."""
        return self.path / f"node.key.{node.hex()[:KEPT_DIGITS]}"

    def kept_keys(self) -> list[Path]:
        """All of those that are there. Raises OperatorError, MachineError."""
        try:
            return sorted(path for path in self.path.iterdir() if _KEPT.fullmatch(path.name))
        except OSError as error:
            raise refused(f"{self.path}", error) from error

    @property
    def voucher(self) -> Path:
        """The voucher of the invitation that this node was made with, in the form of a key: worth nothing once it is used."""
        return self.path / "node.voucher"

    @property
    def marks(self) -> Path:
        """What was signed last."""
        return self.path / "marks"

    @property
    def privacy(self) -> Path:
        """What this node's noisy updates have told of its rows so far."""
        return self.path / "privacy.json"

    @property
    def judging(self) -> Path:
        """What its score cards have told of its rows."""
        return self.path / "judging.json"

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / CONFIG_FILE

    @property
    def genesis(self) -> Path:
        """The genesis; absent where it is fetched from a first peer."""
        return self.path / "genesis.json"

    @property
    def model(self) -> Path:
        """The payload of model 0; absent where it is fetched."""
        return self.path / "model0.safetensors"

    @property
    def chain(self) -> Path:
        """The block store."""
        return self.path / "chain.sqlite3"

    @property
    def api(self) -> Path:
        """URL and token of a running daemon."""
        return self.path / API_FILE

    @property
    def log(self) -> Path:
        """The folder of the log."""
        return self.path / LOG_DIR

    def make(self) -> None:
        """Create the directory (and its parents) with mode 0700 unless it is there. Raises OperatorError, MachineError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise _not_a_directory(self.path) from error
        except NotADirectoryError as error:
            raise OperatorError(
                f"{self.path}: a part of this path is a file", hint="choose another --datadir", code="bad_datadir"
            ) from error
        except OSError as error:
            raise refused(f"{self.path}", error) from error
        self._close_if_empty()
        self.check()

    def _close_if_empty(self) -> None:
        """Take from others what a lax umask gave them, while there is nothing to lose."""
        try:
            if self.path.stat().st_uid == os.geteuid() and next(self.path.iterdir(), None) is None:
                close_empty(self.path)
        except OSError as error:
            raise refused(f"{self.path}", error) from error

    def check(self, *, may_be_absent: bool = False) -> None:
        """Raise OperatorError unless the directory is there, a directory, ours, and closed to others."""
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError as error:
            if may_be_absent:
                return
            raise OperatorError(
                f"{self.path}: there is no such data directory", hint="make it with `bflcd init`", code="no_datadir"
            ) from error
        except OSError as error:
            raise refused(f"{self.path}", error) from error
        if not stat.S_ISDIR(mode):
            raise _not_a_directory(self.path)
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise OperatorError(
                f"{self.path}: no permission to use this directory", hint="run as its owner", code="no_permission"
            )
        check_closed(self.path, os.geteuid())


def make_empty(path: Path) -> None:
    """Create `path` with mode 0700, or accept an empty directory. Raises OperatorError (`not_empty`), MachineError."""
    DataDir(path).make()
    if next(path.iterdir(), None) is not None:
        raise OperatorError(f"{path}: not empty", hint="choose a new directory, or remove this one first", code="not_empty")


def local_genesis(datadir: DataDir) -> tuple[Genesis, bytes | None] | None:
    """The genesis of the directory with model 0 where it is there, or None. Raises UsageError if they don't belong together."""
    if not is_there(datadir.genesis):
        return None
    genesis = read_genesis(datadir.genesis)
    try:
        model = read_regular(datadir.model, genesis.model.size)
    except FileNotFoundError:
        return genesis, None
    except OSError as error:
        raise refused(f"{datadir.model}", error) from error
    if blob_ref(model) != genesis.model:
        raise UsageError(
            f"{datadir.model}: not the first model of {datadir.genesis}",
            hint="remove it: the node then fetches the right one from its peers",
            code="bad_genesis",
        )
    return genesis, model


def _not_a_directory(path: Path) -> OperatorError:
    return OperatorError(f"{path}: not a directory", hint="choose another --datadir", code="bad_datadir")
