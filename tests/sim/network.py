"""The network between simulated nodes: delay, loss, duplicates, links that are closed one way or both."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

Link = tuple[int, int]
"""(from, to), by the nodes' numbers."""


@dataclass(slots=True)
class Network:
    """What happens to messages now; a profile changes it as time goes on."""

    nodes: int
    rng: Random
    delay: tuple[int, int] = (2, 30)
    loss: float = 0.0
    duplicates: float = 0.0
    straggler: float = 0.0
    """Share of messages that take up to `straggle` milliseconds: reordering beyond all bounds."""
    straggle: int = 4_000
    relay: bool = True
    """Gossip finds its way around a closed link."""
    closed: set[Link] = field(default_factory=set)
    apart: set[int] = field(default_factory=set)
    """Nodes that reach nobody, also after the heal."""
    swallow: Callable[[int, Any], bool] | None = None
    """Messages to a node that are lost."""

    def heal(self) -> None:
        """Every link open, nothing lost."""
        self.delay, self.loss, self.duplicates, self.straggler = (2, 30), 0.0, 0.0, 0.0
        self.closed = set()

    def divide(self, groups: list[list[int]]) -> None:
        """Close every link between two groups; who stands in none is alone."""
        of = {node: number for number, group in enumerate(groups) for node in group}
        everyone = range(self.nodes)
        self.closed = {(a, b) for a in everyone for b in everyone if a != b and (of.get(a, -1 - a) != of.get(b, -1 - b))}

    def open(self, a: int, b: int) -> bool:
        return (a, b) not in self.closed and a not in self.apart and b not in self.apart

    def connected(self, a: int, b: int) -> bool:
        """Whether a stream between the two works."""
        return self.open(a, b) and (b, a) not in self.closed

    def transit(self, a: int, b: int) -> int | None:
        """Milliseconds that a message takes, or None if it is lost."""
        if not self.open(a, b) or (self.loss and self.rng.random() < self.loss):
            return None
        if self.straggler and self.rng.random() < self.straggler:
            return self.rng.randint(0, self.straggle)
        return self.rng.randint(*self.delay)

    def around(self, a: int, b: int, running: list[int]) -> tuple[int, int] | None:
        """A node through which gossip gets from `a` to `b`, and how long it takes."""
        if not self.relay:
            return None
        between = [c for c in running if c not in (a, b) and self.open(a, c) and self.open(c, b)]
        if not between:
            return None
        through = self.rng.choice(between)
        legs = self.transit(a, through), self.transit(through, b)
        if legs[0] is None or legs[1] is None:
            return None
        return through, legs[0] + legs[1]
