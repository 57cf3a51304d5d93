"""A stopped node's key: a sealed copy of it, a node made of such a copy, another seal."""

from pathlib import Path

from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import read_backup, read_key, reseal_key, write_key
from bflcd.errors import OperatorError
from bflcd.faults import is_there
from bflcd.setup.datadir import DataDir
from bflcd.store.lock import DirectoryLock


def back_up(datadir: DataDir, passphrase: bytes | None, output: Path, seal: bytes) -> Identity:
    """Write a copy of the key, sealed by `seal`, to a new file; a daemon may be running. Raises OperatorError, MachineError."""
    datadir.check()
    if is_there(output) or output.is_symlink():
        raise OperatorError(
            f"{output} exists: a key is never overwritten", hint="name a new file with --output", code="key_exists"
        )
    identity = read_key(datadir.key, passphrase)
    write_key(output, identity, seal)
    return identity


def restore(datadir: DataDir, backup: Path, seal: bytes) -> Identity:
    """Make the backup's key that of a directory in which nothing was signed yet, under the same seal.

    What the key has signed elsewhere is not known here: so there must be neither chain nor marks, and a node that finds neither
    signs nothing before more than f others have told where they stand, and two rounds have closed (`core.signing_guard`). Raises
    OperatorError (`key_exists`, `not_fresh`, `locked`), MachineError.
    """
    identity = read_backup(backup, seal)
    datadir.make()
    with DirectoryLock(datadir.path):
        for path in (datadir.chain, datadir.marks):
            if is_there(path):
                raise OperatorError(
                    f"{path} is there: whether it holds all that this key has signed can't be told",
                    hint="restore into a new directory; chain and payloads come back from the peers",
                    code="not_fresh",
                )
        write_key(datadir.key, identity, seal)
    return identity


def reseal(datadir: DataDir, passphrase: bytes | None, seal: bytes | None) -> Identity:
    """Put the key, and those beside it, under another seal, or under none. A kill leaves each under the one or the other, and who
    does the same again has all under the other.

    Raises OperatorError, MachineError; `locked` while a daemon runs, which would go on with the old passphrase.
    """
    datadir.check()
    with DirectoryLock(datadir.path):
        beside = [path for path in (datadir.next_key, *datadir.kept_keys()) if is_there(path)]
        keys = {path: _read_either(path, passphrase, seal) for path in beside}
        identity = read_key(datadir.key, passphrase)
        for path, key in (*keys.items(), (datadir.key, identity)):
            reseal_key(path, key, seal)
    return identity


def _read_either(path: Path, passphrase: bytes | None, seal: bytes | None) -> Identity:
    """The key in `path`, which a kill may have left under its new seal. Raises OperatorError as `read_key` with the old one."""
    try:
        return read_key(path, passphrase)
    except OperatorError as error:
        if seal is None or error.code != "bad_passphrase":
            raise
        try:
            return read_key(path, seal)
        except OperatorError:
            raise error from None
