"""Which address to dial when: pure, so that back-off can be tested with a clock of its own (design 8)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import IntEnum
from random import Random
from typing import Final

from bflcd.crypto.identity import node_id_of
from bflcd.net.multiaddr import parse
from bflcd.types import Millis, NodeId, short

QUICK_TRIES: Final = 5
"""Failures that are retried at once: the daemons of a local community start together, none of them first."""

QUICK_DELAY: Final = Millis(250)
FIRST_DELAY: Final = Millis(500)
"""Delay after the quick tries; doubles with each failure."""

MAX_DELAY: Final = Millis(30_000)
"""Longest time between two tries, jitter included."""

JITTER: Final = 0.25
"""Delays vary by this share, so that a community that lost its network doesn't dial in step."""

DENSE_PEERS: Final = 12
"""Up to here everyone dials everyone; above, gossip needs only a few neighbours, and each more costs copies."""

TARGET_DEGREE: Final = 8
"""Peers that a node of a larger community dials up to; others dial it too, so it ends at 8 to 12 or so."""

MAX_TARGETS: Final = 2_048
"""Nodes whose addresses are kept."""

MAX_ADDRESSES_PER_NODE: Final = 4


_UNSPECIFIED: Final = ("/ip4/0.0.0.0/", "/ip6/::/")


class Source(IntEnum):
    """Who says that a node is there; the higher word wins."""

    HEARSAY = 0
    """Some peer says so."""
    OWN_WORD = 1
    """The node itself says so."""
    REACHED = 2
    """It answered there before."""
    CONFIGURED = 3
    """The operator says so; never forgotten."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Dial this next."""

    node: NodeId
    address: str


@dataclass(slots=True)
class _Target:
    addresses: dict[str, Source] = field(default_factory=dict)
    failures: int = 0
    next_try: Millis = Millis(0)
    turn: int = 0
    last_error: str = ""

    def best(self) -> Source:
        return max(self.addresses.values())

    def ordered(self) -> list[str]:
        return sorted(self.addresses, key=lambda address: -self.addresses[address])


def owner_of(address: str) -> NodeId:
    """Who is at an address: its tail /p2p/ID. Raises ValueError."""
    head, mark, peer_id = address.rpartition("/p2p/")
    if not (head and mark):
        raise ValueError(f"{address!r} does not end in /p2p/ID: nobody could be authenticated there")
    return node_id_of(peer_id)


def at_seen_host(address: str, seen: str) -> str:
    """An announced address; where its host is unspecified (a node that listens everywhere), the host where we see the peer.

    Raises ValueError if one of them can't be read.
    """
    if not address.startswith(_UNSPECIFIED):
        return address
    announced = parse(address)
    return str(replace(parse(seen), port=announced.port, peer=announced.peer))


def backoff(failures: int, rng: Random) -> Millis:
    """Milliseconds to wait after so many failures in a row."""
    doublings = min(failures - QUICK_TRIES - 1, 16)
    base = float(QUICK_DELAY) if doublings < 0 else float(FIRST_DELAY) * 2**doublings
    return Millis(int(min(base, MAX_DELAY / (1 + JITTER)) * rng.uniform(1 - JITTER, 1 + JITTER)))


class DialBook:
    """Known addresses by node, and when each node is to be tried again."""

    def __init__(self, own: NodeId, rng: Random) -> None:
        self._own = own
        self._rng = rng
        self._targets: dict[NodeId, _Target] = {}

    def add(self, address: str, source: Source, *, node: NodeId | None = None) -> NodeId | None:
        """Learn an address; returns whose it is, or None if it is our own or its place is taken by better ones.

        Raises ValueError if it names no node, or another than `node` where that is given. Whether it can be dialled is the
        transport's to say.
        """
        owner = owner_of(address)
        if node is not None and owner != node:
            raise ValueError(f"{address} is not an address of {short(node)}")
        if owner == self._own:
            return None
        target = self._targets.get(owner)
        if target is None:
            if len(self._targets) >= MAX_TARGETS and not self._evict(source):
                return None
            target = self._targets[owner] = _Target()
        target.addresses[address] = max(source, target.addresses.get(address, Source.HEARSAY))
        while len(target.addresses) > MAX_ADDRESSES_PER_NODE and min(target.addresses.values()) < Source.CONFIGURED:
            # Of equals the oldest goes: a node that moved is found at its new place. Hearsay never displaces better words.
            del target.addresses[min(target.addresses, key=lambda item: target.addresses[item])]
        return owner

    def due(
        self,
        now: Millis,
        *,
        busy: Collection[NodeId],
        connected: int,
        preferred: Collection[NodeId],
        is_member: Callable[[NodeId], bool],
    ) -> tuple[Attempt, ...]:
        """What to dial now: all that is due in a small community, else the preferred and as many as the degree lacks.

        `busy`: nodes that are connected, being dialled or banned; `connected`: members that are connected or being dialled. Who
        is no member is dialled only where the operator said so: a node that has yet to learn who the members are begins there.
        """
        ready = [
            node
            for node, target in self._targets.items()
            if node not in busy and target.next_try <= now and (target.best() is Source.CONFIGURED or is_member(node))
        ]
        if len(self._targets) > DENSE_PEERS:
            wanted = [node for node in ready if node in preferred]
            others = [node for node in ready if node not in preferred]
            lacking = max(0, TARGET_DEGREE - connected - len(wanted))
            ready = wanted + self._rng.sample(others, min(lacking, len(others)))
        return tuple(Attempt(node, self._next_address(node)) for node in ready)

    def failed(self, node: NodeId, error: str, now: Millis) -> None:
        """A dial, or the hello after it, failed: wait longer."""
        target = self._targets.get(node)
        if target is not None:
            target.failures += 1
            target.last_error = error
            target.next_try = Millis(now + backoff(target.failures, self._rng))

    def confirm(self, node: NodeId, address: str) -> None:
        """The node has answered at this address: it is worth more than hearsay from now on."""
        target = self._targets.get(node)
        if target is not None and address in target.addresses:
            target.addresses[address] = max(target.addresses[address], Source.REACHED)

    def steady(self, node: NodeId) -> None:
        """A connection to the node lasted: its loss is answered by dialling at once."""
        target = self._targets.get(node)
        if target is not None:
            target.failures, target.last_error, target.next_try = 0, "", Millis(0)

    def known(self, *, at_least: Source) -> tuple[tuple[NodeId, str], ...]:
        """Each node's best address that is worth at least this much."""
        return tuple((node, target.ordered()[0]) for node, target in self._targets.items() if target.best() >= at_least)

    def troubles(self) -> tuple[str, ...]:
        """One line for each node that could not be reached: its address, and the step and reason of the last failure."""
        return tuple(f"{target.last_error} ({target.failures} tries)" for target in self._targets.values() if target.last_error)

    def __len__(self) -> int:
        return len(self._targets)

    def _next_address(self, node: NodeId) -> str:
        target = self._targets[node]
        addresses = target.ordered()
        target.turn += 1
        return addresses[(target.turn - 1) % len(addresses)]

    def _evict(self, source: Source) -> bool:
        """Make room for a newcomer by forgetting whom we failed most to reach, if that is worth no more than it."""
        node = max(self._targets, key=lambda item: (-self._targets[item].best(), self._targets[item].failures))
        target = self._targets[node]
        if target.best() > source or (target.best() == source and not target.failures):
            return False
        del self._targets[node]
        return True
