"""A node's secret key at rest: a JSON file of mode 0600, its seed sealed by a passphrase where there is one."""

import json
import os
from pathlib import Path
from typing import Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from bflcd.crypto.identity import SEED_BYTES, Identity
from bflcd.errors import MachineError, OperatorError

MAX_FILE_BYTES: Final = 4096

MAX_PASSPHRASE_BYTES: Final = 1024

KEY_FILE_VERSION: Final = 1

_OPS: Final = argon2id.OPSLIMIT_MODERATE
_MEMORY: Final = argon2id.MEMLIMIT_MODERATE
"""Argon2id, three passes over 256 MiB: about a second once a start, a second for each guess."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`seed`: the Ed25519 seed in hexadecimal, or its sealed box when `salt` is there (Argon2id, XSalsa20-Poly1305)."""

    version: int
    node_id: str
    seed: str
    salt: str = ""


def write_key(path: Path, identity: Identity, passphrase: bytes | None = None) -> None:
    """Store `identity` in a new file, durable when this returns. Raises OperatorError if `path` exists, MachineError."""
    salt = os.urandom(argon2id.SALTBYTES) if passphrase is not None else b""
    seed = identity.seed if passphrase is None else bytes(_box(passphrase, salt).encrypt(identity.seed))
    fields = {"version": KEY_FILE_VERSION, "node_id": identity.node_id.hex(), "seed": seed.hex(), "salt": salt.hex()}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(fields, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise OperatorError(
            f"{path} exists: a key is never overwritten", hint="use another data directory", code="key_exists"
        ) from error
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be written: {error.strerror}", hint="check its folder's owner and free space"
        ) from error


def read_key(path: Path, passphrase: bytes | None = None) -> Identity:
    """The identity in `path`. Raises OperatorError: `no_key`, `bad_key`, `key_mode` (others may read it), `bad_passphrase`."""
    try:
        with path.open("rb") as file:
            mode, raw = os.fstat(file.fileno()).st_mode, file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise OperatorError(f"{path}: there is no key", hint="make one with `bflcd init`", code="no_key") from error
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}", hint="start as its owner", code="no_key") from error
    if mode & 0o077:
        raise OperatorError(
            f"{path}: others may read or write this key (mode {mode & 0o777:o})", hint=f"chmod 600 {path}", code="key_mode"
        )
    try:
        if len(raw) > MAX_FILE_BYTES:
            raise ValueError(f"above {MAX_FILE_BYTES} bytes")
        entry = msgspec.json.decode(raw, type=_KeyFile)
        if entry.version != KEY_FILE_VERSION:
            raise ValueError(f"version {entry.version}, this program reads {KEY_FILE_VERSION}")
        seed, salt = bytes.fromhex(entry.seed), bytes.fromhex(entry.salt)
        if len(salt) not in (0, argon2id.SALTBYTES):
            raise ValueError("its salt has a wrong length")
    except ValueError as error:
        raise _bad(path, str(error)) from error
    if salt:
        seed = _opened(path, seed, salt, passphrase)
    if len(seed) != SEED_BYTES:
        raise _bad(path, "its seed has a wrong length")
    identity = Identity(seed)
    if identity.node_id.hex() != entry.node_id:
        raise _bad(path, "its seed does not give the node id that it says")
    return identity


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, without its end. Raises OperatorError (code `bad_passphrase`)."""
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_PASSPHRASE_BYTES + 2).rstrip(b"\r\n")
    except OSError as error:
        raise OperatorError(
            f"{path}: the passphrase cannot be read: {error.strerror}", hint="check the path and its owner", code="bad_passphrase"
        ) from error
    if not 0 < len(line) <= MAX_PASSPHRASE_BYTES:
        raise OperatorError(
            f"{path}: its first line must have 1 to {MAX_PASSPHRASE_BYTES} bytes",
            hint="write the passphrase there",
            code="bad_passphrase",
        )
    return line


def _opened(path: Path, sealed: bytes, salt: bytes, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        raise OperatorError(f"{path}: this key needs a passphrase", hint="give --passphrase-file", code="bad_passphrase")
    try:
        return bytes(_box(passphrase, salt).decrypt(sealed))
    except (CryptoError, ValueError) as error:
        raise OperatorError(
            f"{path}: the passphrase does not open this key", hint="check --passphrase-file", code="bad_passphrase"
        ) from error


def _box(passphrase: bytes, salt: bytes) -> SecretBox:
    return SecretBox(argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, opslimit=_OPS, memlimit=_MEMORY))


def _bad(path: Path, reason: str) -> OperatorError:
    return OperatorError(
        f"{path}: no key of bflcd: {reason}", hint="restore it from a backup; it can't be made again", code="bad_key"
    )
