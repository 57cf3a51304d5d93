"""The other files of a data directory: configuration, key, passphrase, mark, API token."""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from bflc_cli.client import read_api_file
from bflc_cli.session import CommandError
from bflcd.api.token import FILE_NAME, ApiFile, write_api_file
from bflcd.config import CONFIG_FILE, config_text, load_config
from bflcd.core.signing_guard import Mark
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import Cost, read_facts, read_key, read_passphrase, write_key
from bflcd.errors import MachineError, OperatorError, UsageError
from bflcd.store.marks import MarkFile
from bflcd.store.marks import read as read_mark
from bflcd.types import Digest, Epoch, Round, View
from tests.fuzz.target import Target


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-files-"))


def _config(data: bytes) -> None:
    (folder() / CONFIG_FILE).write_bytes(data)
    try:
        loaded = load_config(folder(), {}, {})
    except UsageError as error:
        _readable(error)
        return
    (folder() / CONFIG_FILE).write_text(config_text(loaded.config))
    assert load_config(folder(), {}, {}).config == loaded.config


def _environment(data: bytes) -> None:
    (folder() / CONFIG_FILE).unlink(missing_ok=True)
    name, _, value = data.decode(errors="surrogateescape").partition("=")
    try:
        load_config(folder(), {f"BFLCD_{name}": value}, {})
    except UsageError as error:
        _readable(error)


def _key(data: bytes) -> None:
    path = folder() / "node.key"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        read_facts(path)
        read_key(path)  # without a passphrase: Argon2 takes most of a second
    except OperatorError as error:
        _readable(error)


def _passphrase(data: bytes) -> None:
    path = folder() / "passphrase"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        assert read_passphrase(path)
    except OperatorError as error:
        _readable(error)


def _mark(data: bytes) -> None:
    path = folder() / "marks"
    path.write_bytes(data)
    try:
        read_mark(path)
    except MachineError as error:
        _readable(error)


def _token(data: bytes) -> None:
    path = folder() / FILE_NAME
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        read_api_file(folder())
    except CommandError as error:
        _readable(error)


def _readable(error: Exception) -> None:
    """What people are told fits their screen and can be written to it."""
    assert len(str(error)) < 8192, f"an error of {len(str(error))} characters"
    str(error).encode()


READERS: tuple[Callable[[bytes], None], ...] = (_config, _environment, _key, _passphrase, _mark, _token)


def seeds() -> Iterator[bytes]:
    """A reader's number, then the file."""
    (folder() / CONFIG_FILE).unlink(missing_ok=True)  # what an input has left
    config = load_config(folder(), {}, {}).config
    yield b"\0" + config_text(config).encode()
    yield b'\0[node]\nname = "a"\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n[store]\nkeep = 2\n[data]\nalpha = 0.5\n[compute]\ntrain = true\n'
    yield b"\0[store]\nkeep = 0x" + b"f" * 4000 + b"\n"
    yield b"\0[store]\nkeep = " + b"9" * 4000 + b"\n[log]\nlevel = 1979-05-27T07:32:00+25:00\n"
    yield b"\1STORE_KEEP=7"
    yield b"\1NODE_BOOTSTRAP=/ip4/127.0.0.1/tcp/1/p2p/x, ~nobody"
    yield b"\1DATA_PATH=~nobody/x"
    for passphrase in (None, b"secret"):
        path = folder() / "seed.key"
        path.unlink(missing_ok=True)
        write_key(path, Identity(bytes(32)), passphrase, cost=Cost(1, 8192))
        yield b"\2" + path.read_bytes()
    yield b"\3secret\n"
    path = folder() / "seed.marks"
    path.unlink(missing_ok=True)
    marks = MarkFile(path)
    marks.write_now(Mark(Epoch(0), Round(3), View(1), 34, Digest(bytes(32))))
    marks.close()
    yield b"\4" + path.read_bytes()
    write_api_file(folder(), ApiFile(url="http://127.0.0.1:1", token="t" * 43, pid=1))
    yield b"\5" + (folder() / FILE_NAME).read_bytes()


def one(data: bytes) -> None:
    if data:
        READERS[data[0] % len(READERS)](data[1:])


TARGET = Target("files", seeds, one, share=0.2, longest=17_000)
