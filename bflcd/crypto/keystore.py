"""A node's secret key at rest: a JSON file of mode 0600, its seed sealed by a passphrase where there is one."""

import errno
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from bflcd.crypto.identity import SEED_BYTES, Identity
from bflcd.errors import MachineError, OperatorError
from bflcd.faults import LOCAL_DISK, refused, sync_directory
from bflcd.files import beside
from bflcd.limits import unreadable_start
from bflcd.types import PUBLIC_KEY_BYTES, NodeId

MAX_FILE_BYTES: Final = 4096

MAX_PASSPHRASE_BYTES: Final = 1024

KEY_FILE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess of a passphrase takes: passes of Argon2id (RFC 9106) over so many bytes."""

    passes: int
    memory: int


USUAL_COST: Final = Cost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"""libsodium's MODERATE: three passes over 256 MiB, most of a second, for which a starting daemon has the memory."""

_MAX_COST: Final = Cost(argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)
"""libsodium's SENSITIVE, four passes over 1 GiB: what a key file may make its reader spend."""

_MIN_COST: Final = Cost(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)


_ROOT: Final = 0
"""The user who can read every file anyway."""

_A_BACKUP: Final = "name a file that `bflcd key backup` made"

_NO_LINKS: Final = frozenset((errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK))
"""What a file system without hard links answers (exFAT, SMB)."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`seed`: the Ed25519 seed in hexadecimal, or its sealed box when `salt` is there (Argon2id, XSalsa20-Poly1305).

    `passes` and `memory` (bytes): what opening it takes; 0 without a salt.
    """

    version: int
    node_id: str
    seed: str
    salt: str = ""
    passes: int = 0
    memory: int = 0

    @property
    def cost(self) -> Cost:
        return Cost(self.passes, self.memory)

    @property
    def node(self) -> NodeId:
        return NodeId(bytes.fromhex(self.node_id))


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a key file says to who can't open it: whose it is by its own word, and whether a passphrase seals it."""

    node_id: NodeId
    sealed: bool


def write_key(path: Path, identity: Identity, passphrase: bytes | None = None, *, cost: Cost = USUAL_COST) -> None:
    """Store `identity` in a new file, durable when this returns. Raises OperatorError if `path` exists, MachineError."""
    try:
        _write_new(path, _contents(identity, passphrase, cost))
    except FileExistsError as error:
        raise OperatorError(
            f"{path} exists: a key is never overwritten", hint="use another data directory", code="key_exists"
        ) from error
    except OSError as error:
        raise refused(f"{path}: cannot be written", error) from error


def reseal_key(path: Path, identity: Identity, passphrase: bytes | None = None, *, cost: Cost = USUAL_COST) -> None:
    """Store `identity`, which `path` holds, under another seal or none, durable when this returns. A kill leaves the one or the
    other. Raises OperatorError, MachineError."""
    _replace(path, _contents(identity, passphrase, cost))


def keep_key(path: Path, copy: Path) -> None:
    """Let `copy` hold what `path` holds, in the place of what it held, whole and durable. Raises OperatorError, MachineError."""
    raw, _ = _read_entry(path)
    _replace(copy, raw)


def take_key(source: Path, path: Path) -> None:
    """Let `source` take the place of `path`, in which one of the two is at any time. Raises OperatorError, MachineError."""
    try:
        source.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise refused(f"{source}: cannot take the place of {path}", error) from error


def read_facts(path: Path) -> KeyFacts:
    """What a key file says without being opened. Raises OperatorError: `no_key`, `bad_key`, `key_mode`; MachineError."""
    _, entry = _read_entry(path)
    return KeyFacts(entry.node, bool(entry.salt))


def read_key(path: Path, passphrase: bytes | None = None) -> Identity:
    """The identity in `path`. Raises OperatorError: `no_key`, `bad_key`, `key_mode` (others may read it), `bad_passphrase`."""
    _, entry = _read_entry(path)
    return _identity(path, entry, passphrase)


def read_backup(path: Path, passphrase: bytes) -> Identity:
    """The identity in a sealed copy of a key, whoever may read that: its seal protects it. Raises OperatorError, MachineError:
    `no_backup`, `not_sealed`, else as `read_key`."""
    try:
        mode, raw = _read_small(path)
    except FileNotFoundError as error:
        raise OperatorError(f"{path}: there is no such backup", hint="check the path", code="no_backup") from error
    except OSError as error:
        raise refused(f"{path} cannot be read", error) from error
    try:
        entry = _parse(path, mode, raw)
    except OperatorError as error:
        raise OperatorError(str(error), hint=_A_BACKUP, code=error.code) from error
    if not entry.salt:
        raise OperatorError(f"{path}: this key is not sealed, so it is no backup", hint=_A_BACKUP, code="not_sealed")
    return _identity(path, entry, passphrase)


def _contents(identity: Identity, passphrase: bytes | None, cost: Cost) -> bytes:
    """A key file."""
    fields: dict[str, object] = {"version": KEY_FILE_VERSION, "node_id": identity.node_id.hex()}
    if passphrase is None:
        fields |= {"seed": identity.seed.hex()}
    else:
        salt = os.urandom(argon2id.SALTBYTES)
        seed = bytes(_box(passphrase, salt, cost).encrypt(identity.seed))
        fields |= {"seed": seed.hex(), "salt": salt.hex(), "passes": cost.passes, "memory": cost.memory}
    return (json.dumps(fields, indent=2) + "\n").encode("ascii")


def _read_entry(path: Path) -> tuple[bytes, _KeyFile]:
    """A key file's bytes and fields, if it is its owner's alone. Raises as `read_facts`."""
    try:
        mode, raw = _read_small(path)
    except FileNotFoundError as error:
        raise OperatorError(f"{path}: there is no key", hint="make one with `bflcd init`", code="no_key") from error
    except OSError as error:
        raise refused(f"{path} cannot be read", error) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        raise OperatorError(
            f"{path}: others may read or write this key (mode {mode & 0o777:o})",
            hint=f"chmod 600 {quote(str(path))}",
            code="key_mode",
        )
    return raw, _parse(path, mode, raw)


def _identity(path: Path, entry: _KeyFile, passphrase: bytes | None) -> Identity:
    """The identity that a file's fields hold. Raises OperatorError (`bad_key`, `bad_passphrase`), MachineError."""
    sealed, salt = bytes.fromhex(entry.seed), bytes.fromhex(entry.salt)
    seed = _opened(path, sealed, salt, passphrase, entry.cost) if salt else sealed
    if len(seed) != SEED_BYTES:
        raise _bad(path, "its seed has a wrong length")
    identity = Identity(seed)
    if identity.node_id.hex() != entry.node_id:
        raise _bad(path, "its seed does not give the node id that it says")
    return identity


def _parse(path: Path, mode: int, raw: bytes) -> _KeyFile:
    """The file's fields, their spelling checked. Raises OperatorError (code `bad_key`)."""
    if not stat.S_ISREG(mode) or len(raw) > MAX_FILE_BYTES:
        raise _bad(path, f"not a regular file of at most {MAX_FILE_BYTES} bytes")
    try:
        entry = msgspec.json.decode(raw, type=_KeyFile)
        bytes.fromhex(entry.seed)
        node, salt = entry.node, bytes.fromhex(entry.salt)
    except (ValueError, RecursionError) as error:
        raise _bad(path, str(error)) from error
    if entry.version != KEY_FILE_VERSION:
        raise _bad(path, f"version {entry.version}, this program reads {KEY_FILE_VERSION}")
    if len(node) != PUBLIC_KEY_BYTES:
        raise _bad(path, "its node id has a wrong length")
    if len(salt) not in (0, argon2id.SALTBYTES):
        raise _bad(path, "its salt has a wrong length")
    low, high = _MIN_COST, _MAX_COST
    if salt and not (low.passes <= entry.passes <= high.passes and low.memory <= entry.memory <= high.memory):
        raise _bad(path, f"opening it would take {entry.passes} passes over {entry.memory} bytes, which no key of ours does")
    return entry


def need_passphrase(phrase: bytes, what: str) -> bytes:
    """`phrase`, if it is of a length that is taken. Raises OperatorError (code `bad_passphrase`); `what`: where it comes from."""
    if not 0 < len(phrase) <= MAX_PASSPHRASE_BYTES:
        raise OperatorError(
            f"{what} must have 1 to {MAX_PASSPHRASE_BYTES} bytes", hint="give one of such a length", code="bad_passphrase"
        )
    return phrase


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, or of a pipe, without its end.

    Raises OperatorError: `bad_passphrase`, `passphrase_mode` (others may read the file, or it is another user's).
    """
    try:
        with path.open("rb") as file:
            _need_secret(path, os.fstat(file.fileno()))
            line = file.readline(MAX_PASSPHRASE_BYTES + 2).rstrip(b"\r\n")
    except FileNotFoundError as error:
        raise OperatorError(
            f"{path}: the passphrase cannot be read: {error.strerror}", hint="check --passphrase-file", code="bad_passphrase"
        ) from error
    except OSError as error:
        raise refused(f"{path}: the passphrase cannot be read", error) from error
    trouble = unreadable_start(line)
    if trouble:  # it would be a part of the passphrase, which nobody sees
        raise OperatorError(f"{path}: this is no passphrase file", hint=trouble, code="bad_passphrase")
    return need_passphrase(line, f"{path}: its first line")


def _need_secret(path: Path, found: os.stat_result) -> None:
    """A passphrase that others can read protects nothing. Of a pipe nobody else reads."""
    me = os.geteuid()
    if not stat.S_ISREG(found.st_mode):
        return
    if found.st_uid not in (me, _ROOT):
        raise OperatorError(
            f"{path}: this passphrase file belongs to user {found.st_uid}, and this is user {me}",
            hint=f"chown {me} {quote(str(path))}",
            code="passphrase_mode",
        )
    if found.st_mode & 0o077:
        raise OperatorError(
            f"{path}: others may read or write this passphrase (mode {found.st_mode & 0o777:o})",
            hint=f"chmod 600 {quote(str(path))}",
            code="passphrase_mode",
        )


def _write_new(path: Path, data: bytes) -> None:
    """Write beside `path`, then link: the key appears whole or not at all, and nothing is overwritten."""
    temporary = beside(path)
    _write_private(temporary, data)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without links: a crash in mid-write leaves a part of a key, which is refused when read, and was never used.
        _write_private(path, data)
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def _replace(path: Path, data: bytes) -> None:
    """Write beside `path`, then take its place. Raises OperatorError, MachineError."""
    try:
        temporary = beside(path)
        _write_private(temporary, data)
        try:
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise refused(f"{path}: cannot be written", error) from error


def _write_private(path: Path, data: bytes) -> None:
    """Write and sync a new file that only its owner may read, or leave none. Raises OSError, MachineError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _need_modes(path, os.fstat(file.fileno()).st_mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def _need_modes(path: Path, mode: int) -> None:
    if mode & 0o077:
        reason = "this file system keeps no modes: others could read the key"
        raise MachineError(f"{path}: {reason}", hint=LOCAL_DISK, code="file_system")


def _read_small(path: Path) -> tuple[int, bytes]:
    """Mode and first bytes of a file; never waits, even if it is a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, MAX_FILE_BYTES + 1) if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)


def _opened(path: Path, sealed: bytes, salt: bytes, passphrase: bytes | None, cost: Cost) -> bytes:
    if passphrase is None:
        raise OperatorError(f"{path}: this key needs a passphrase", hint="give --passphrase-file", code="bad_passphrase")
    try:
        return bytes(_box(passphrase, salt, cost).decrypt(sealed))
    except (CryptoError, ValueError) as error:
        raise OperatorError(
            f"{path}: the passphrase does not open this key", hint="check --passphrase-file", code="bad_passphrase"
        ) from error


def _box(passphrase: bytes, salt: bytes, cost: Cost) -> SecretBox:
    try:
        return SecretBox(argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, opslimit=cost.passes, memlimit=cost.memory))
    except NaClRuntimeError as error:  # the only way in which libsodium's function fails
        reason = f"no {cost.memory // 2**20} MiB of memory to work out the key from the passphrase"
        raise MachineError(
            reason, hint="give it more memory, or raise the limit on it (ulimit -v)", code="out_of_memory"
        ) from error


def _bad(path: Path, reason: str) -> OperatorError:
    return OperatorError(
        f"{path}: no key of bflcd: {reason}", hint="restore it from a backup; it can't be made again", code="bad_key"
    )
