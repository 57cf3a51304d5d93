"""The genesis file."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bflcd.errors import UsageError
from bflcd.params import Genesis
from bflcd.setup.genesis_file import read_genesis, write_genesis
from bflcd.wire.blocks import chain_id_of
from tests.fuzz.target import Target
from tests.helpers.ledger import make_genesis


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-genesis-"))


def seeds() -> Iterator[bytes]:
    path = folder() / "seed.json"
    for nodes, committee in ((1, 1), (5, 4)):
        write_genesis(path, make_genesis(nodes, committee)[0])
        yield path.read_bytes()
        yield b'{"chain_id": "0", "name": ' + b"[" * 500 + b"]" * 500 + b"}"
    yield b'{"name": 1e999, "time": NaN, "params": null}'


def one(data: bytes) -> None:
    path = folder() / "genesis.json"
    path.write_bytes(data)
    try:
        genesis = read_genesis(path)
    except UsageError as error:
        text = str(error)
    else:
        _stays(path, genesis)
        return
    assert len(text.encode()) < 4096, "an error for people fits their screen"


def _stays(path: Path, genesis: Genesis) -> None:
    write_genesis(path, genesis)
    assert chain_id_of(read_genesis(path)) == chain_id_of(genesis)


TARGET = Target("genesis", seeds, one, share=0.1, longest=16_384)
