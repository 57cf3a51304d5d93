"""What a harness is: one family of decoders behind one function of bytes, and the valid inputs that mutation starts from."""

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bflcd.errors import PeerError
from bflcd.wire.codec import peek_number, registered

HARNESSES: Final = (
    "wire",
    "envelope",
    "tensors",
    "exchange",
    "gossip",
    "worker",
    "records",
    "genesis",
    "files",
    "address",
    "api",
    "session",
    "port",
)
"""Every module tests/fuzz/harness_NAME.py; a test holds this list against the folder."""

FOLDER: Final = Path(__file__).parents[2] / ".fuzz"
"""Corpus, crashes, logs and each harness's slowest input; ignored by git."""

FILE_BYTES: Final = 4096
"""Largest input that libFuzzer makes, unless a harness says otherwise."""


def kind_of(data: bytes) -> str:
    """What an input claims to be: the name of a message, or nothing that is one."""
    try:
        found = registered().get(peek_number(data))
    except PeerError:
        return "no message"
    return "unknown message" if found is None else found.__name__


@dataclass(frozen=True)
class Target:
    """`one` decodes its argument; it returns for whatever the decoder documents as refused, and raises for anything else.

    `share`: this harness's part of all inputs, relative to the others: what needs sockets is slow and gets fewer.
    `quiet`: a check after the last input, such as that a port still serves honest peers. `bounded`: whether one input runs in
    this thread alone, so that its memory can be measured. `kind`: what an input claims to be, for the slowest one's row.
    """

    name: str
    seeds: Callable[[], Iterable[bytes]]
    one: Callable[[bytes], None]
    share: float = 1.0
    longest: int = FILE_BYTES
    quiet: Callable[[], None] = lambda: None
    bounded: bool = True
    kind: Callable[[bytes], str] = kind_of


def target(name: str) -> Target:
    """The target of tests/fuzz/harness_NAME.py."""
    found: Target = importlib.import_module(f"tests.fuzz.harness_{name}").TARGET
    return found


class Loop:
    """An event loop of a harness's own, made at the first input: many short runs, one after the other."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end and return what it returns."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(coroutine)
