"""Worlds that a liar lives in: what their nodes say is kept, and everything about a core that must stay bounded is counted."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from bflcd.core.core import Core
from bflcd.core.early_messages import MAX_EARLY
from bflcd.core.effects import Effect, Send
from bflcd.core.events import Event
from bflcd.types import NodeId
from bflcd.wire.messages import Gossip
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World


def hostile_world(nodes: int = 6, committee: int = 4, places: int = 4, **params: Any) -> World:
    """A small community, all of whose nodes run."""
    genesis, identities = make_genesis(nodes=nodes, committee=committee, places=places, **params)
    world = World(genesis, identities)
    world.start_all()
    return world


class Recorder:
    """Keeps everything that the nodes of a world say from now on."""

    def __init__(self, world: World) -> None:
        self._said: dict[Gossip, None] = {}
        self._answer = world.answer
        world.answer = self._watching  # type: ignore[method-assign]

    def _watching(self, node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Send):
            self._said[effect.message] = None
        return self._answer(node, effect)

    @property
    def messages(self) -> tuple[Gossip, ...]:
        """In the order in which they were first said."""
        return tuple(self._said)


def held(machine: object) -> dict[str, int]:
    """Sizes of all containers inside an object of ours, by path: what must not grow with what a liar sends."""
    sizes: dict[str, int] = {}
    _count(machine, "", sizes, set())
    return sizes


def _count(value: object, path: str, sizes: dict[str, int], seen: set[int]) -> None:
    if id(value) in seen or isinstance(value, bytes | str | int | type | None):
        return
    seen.add(id(value))
    if isinstance(value, dict | set | frozenset | list | tuple) or type(value).__name__ in ("deque", "OrderedDict"):
        sizes[path] = max(sizes.get(path, 0), len(value))  # type: ignore[arg-type]
        inner = value.values() if isinstance(value, dict) else value
        for item in tuple(inner):  # type: ignore[arg-type]
            _count(item, f"{path}[]", sizes, seen)
        return
    if not type(value).__module__.startswith("bflcd."):
        return
    names = [slot for cls in type(value).__mro__ for slot in getattr(cls, "__slots__", ())]
    if is_dataclass(value):
        names += [field.name for field in fields(value)]
    names += list(getattr(value, "__dict__", ()))
    for name in dict.fromkeys(names):
        if hasattr(value, name):
            _count(getattr(value, name), f"{path}.{name}", sizes, seen)


def early_messages(core: Core) -> int:
    """Messages of the next round that a core keeps."""
    count = len(core._early)
    assert count <= MAX_EARLY
    return count
