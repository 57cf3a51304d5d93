"""An attack on the border: who does what to a running testnet, and where the attacks stand.

A new one is a function in a module of `tests/border/attacks` that ends in a decorator:

    @attack("name", row=7, who="member", what="one sentence")
    async def name(net: Net, seconds: float) -> list[str]: ...

It does its worst until `seconds` are over and returns complaints: what it found, beyond the figures that are measured of every
attack, that must not be (an honest peer that found no way in, an internal service that was connected to). It ends all that it opened.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import read_key
from bflcd.types import Digest, NodeId

Who = Literal["stranger", "member"]


@dataclass(frozen=True, slots=True)
class Victim:
    """A running node, as others see it."""

    node_id: NodeId
    address: str
    port: int


@dataclass(frozen=True)
class Net:
    """A testnet directory. Its last `spare` nodes have no daemon: they lend a member's key to the attackers."""

    path: Path
    spare: int = 1

    @cached_property
    def _plan(self) -> dict[str, Any]:
        return msgspec.json.decode((self.path / "testnet.json").read_bytes())  # type: ignore[no-any-return]

    @property
    def chain(self) -> Digest:
        return Digest(bytes.fromhex(self._plan["chain_id"]))

    @property
    def running(self) -> list[Victim]:
        """Every node that has a daemon."""
        nodes = self._plan["nodes"][: len(self._plan["nodes"]) - self.spare]
        return [Victim(NodeId(bytes.fromhex(one["node_id"])), one["address"], one["port"]) for one in nodes]

    @property
    def victims(self) -> list[Victim]:
        """Three of them: more than a committee of four may lose."""
        return self.running[:3]

    def datadir(self, number: int = 0) -> Path:
        """The data directory of a member that has no daemon."""
        names = [one["datadir"] for one in self._plan["nodes"]][len(self._plan["nodes"]) - self.spare :]
        return self.path / str(names[number])

    def member(self, number: int = 0) -> Identity:
        """Its key."""
        return read_key(self.datadir(number) / "node.key")


Run = Callable[[Net, float], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Attack:
    """`row` is that of the fault that it shows, as the border was first measured; 0 for one that was not seen then.
    `quick`: whether a second of it shows anything."""

    name: str
    row: int
    who: Who
    what: str
    run: Run
    quick: bool = True


_FOUND: dict[str, Attack] = {}


def attack(name: str, *, row: int, who: Who, what: str, quick: bool = True) -> Callable[[Run], Run]:
    """Enter a function into the catalogue."""

    def enter(run: Run) -> Run:
        assert name not in _FOUND, f"two attacks are called {name}"
        _FOUND[name] = Attack(name, row, who, what, run, quick)
        return run

    return enter


def catalogue() -> dict[str, Attack]:
    """Every attack by its name, in the order of rows."""
    package = importlib.import_module("tests.border.attacks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return {one.name: one for one in sorted(_FOUND.values(), key=lambda one: (one.row or 99, one.name))}
