"""Whom a perturbation hits: roles, shares and turns become indices of nodes."""

from dataclasses import dataclass, field
from random import Random

from tests.manifests.manifest import Who


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the community stands, as its foremost node tells."""

    nodes: int
    free: frozenset[int]
    """Nodes that nothing is done to now."""
    round: int = 0
    committee: tuple[int, ...] = ()
    leader: int | None = None
    observers: frozenset[int] = field(default_factory=frozenset)


def choose(who: Who, standing: Standing, rng: Random, *, number: int = 0, amount: int = 1) -> tuple[int, ...]:
    """The nodes that `who` names, or none while it names some that are not free. `number`: which time this is, for `next`."""
    if isinstance(who, bool):
        raise TypeError("a truth value names nobody")
    if isinstance(who, int):
        wanted = [who]
    elif isinstance(who, float):
        wanted = sorted(rng.sample(range(standing.nodes), max(1, round(who * standing.nodes))))
    elif isinstance(who, list):
        wanted = sorted(set(who))
    elif who == "next":
        wanted = [number % standing.nodes]
    elif who == "all":
        wanted = list(range(standing.nodes))
    else:
        pool = _of_role(who, standing)
        return tuple(pool[:1]) if who == "leader" else tuple(sorted(rng.sample(pool, amount))) if len(pool) >= amount else ()
    return tuple(wanted) if standing.free.issuperset(wanted) else ()


def _of_role(role: str, standing: Standing) -> list[int]:
    """Free nodes of a role."""
    committee = [node for node in standing.committee if node in standing.free]
    match role:
        case "leader":
            return [node for node in committee if node == standing.leader]
        case "member":
            return [node for node in committee if node != standing.leader]
        case "trainer":
            return sorted(standing.free - set(standing.committee) - standing.observers)
        case "observer":
            return sorted(standing.free & standing.observers)
        case _:
            return sorted(standing.free)
