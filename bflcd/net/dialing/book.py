"""Which address to dial when: pure, so that back-off can be tested with a clock of its own (design 8)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import IntEnum
from random import Random
from typing import Final

from bflcd.crypto.identity import node_id_of
from bflcd.ledger.quorum import faults
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

MAX_TELLERS: Final = 64
"""Members whose word for one address is remembered: more than f + 1 of any committee up to 190 seats."""


FIRST_DOUBT: Final = Millis(60_000)
MAX_DOUBT: Final = Millis(600_000)
"""How long words about a node count for nothing after somebody else answered at the place that they named, at first and at most.

Others can name a place where no peer is, again and again; what answers there then hears from this node once in a while only.
"""

_UNSPECIFIED: Final = ("/ip4/0.0.0.0/", "/ip6/::/")


class Source(IntEnum):
    """Who says that a node is there; the higher word wins."""

    HEARSAY = 0
    """Some peer says so."""
    OWN_WORD = 1
    """The node itself says so."""
    REACHED = 2
    """It has answered there, since this node started."""
    CONFIGURED = 3
    """The operator says so; never forgotten."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Dial this next; `trusted`: the operator named the address, so it may lead anywhere."""

    node: NodeId
    address: str
    trusted: bool


@dataclass(slots=True)
class _Place:
    """One address of a node: the best word for it, and which members have told of it."""

    source: Source
    tellers: set[NodeId] = field(default_factory=set)

    def worth(self) -> tuple[Source, int]:
        return self.source, len(self.tellers)

    def is_proven(self) -> bool:
        return self.source >= Source.REACHED


@dataclass(slots=True)
class _Target:
    places: dict[str, _Place] = field(default_factory=dict)
    failures: int = 0
    next_try: Millis = Millis(0)
    turn: int = 0
    last_error: str = ""
    doubts: int = 0
    """How often somebody else answered where the node was said to be."""
    doubted_until: Millis = Millis(0)

    def best(self) -> Source:
        return max(place.source for place in self.places.values())

    def ordered(self) -> list[str]:
        return sorted(self.places, key=lambda address: -self.places[address].source)

    def dialable(self, now: Millis, vouchers: int) -> list[str]:
        """What may be dialled now, the best first: words count while they are not doubted, hearsay from so many members on."""
        return [address for address in self.ordered() if self._may_dial(self.places[address], now, vouchers)]

    def lowest(self) -> _Place:
        return min(self.places.values(), key=_Place.worth)

    def forget_lowest(self) -> None:
        del self.places[min(self.places, key=lambda address: self.places[address].worth())]

    def _may_dial(self, place: _Place, now: Millis, vouchers: int) -> bool:
        if place.is_proven():
            return True
        return now >= self.doubted_until and (place.source > Source.HEARSAY or len(place.tellers) >= vouchers)


def owner_of(address: str) -> NodeId:
    """Who is at an address: its tail /p2p/ID. Raises ValueError."""
    head, mark, peer_id = address.rpartition("/p2p/")
    if not (head and mark):
        raise ValueError(f"{address!r} does not end in /p2p/ID: nobody could be authenticated there")
    return node_id_of(peer_id)


def at_seen_host(address: str, seen: str, *, always: bool = False) -> str:
    """An announced address; where its host is unspecified (a node that listens everywhere), the host where we see the peer.

    `always`: whatever its host is. Raises ValueError if one of them can't be read.
    """
    if not (always or address.startswith(_UNSPECIFIED)):
        return address
    announced = parse(address)
    return str(replace(parse(seen), port=announced.port, peer=announced.peer))


def vouchers_needed(tellers: int, seats: int) -> int:
    """How many members must tell of an address before it is dialled: f + 1, so that one of them is honest.

    f is what a committee of so many `seats` bears, or as many as have ever told this node of addresses, whichever is less: who
    has just come knows one peer, whom its operator named, and has to begin somewhere.
    """
    return faults(max(1, min(tellers, seats) if seats else tellers)) + 1


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

    def add(self, address: str, source: Source, *, node: NodeId | None = None, teller: NodeId | None = None) -> NodeId | None:
        """Learn an address; returns whose it is, or None if it is our own or its place is taken by better ones.

        `teller`: which member says so, where it is hearsay.

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
        place = target.places.setdefault(address, _Place(source))
        place.source = max(source, place.source)
        if teller is not None and len(place.tellers) < MAX_TELLERS:
            place.tellers.add(teller)
        while len(target.places) > MAX_ADDRESSES_PER_NODE and target.lowest().source < Source.CONFIGURED:
            # Of equals the oldest goes: a node that moved is found at its new place. Hearsay never displaces better words.
            target.forget_lowest()
        return owner

    def rename(self, before: NodeId, now: NodeId) -> None:
        """Who was `before` is `now`: it is looked for as that where our operator says that it is; it says the rest itself."""
        target = self._targets.pop(before, _Target())
        for address, place in target.places.items():
            if place.source is Source.CONFIGURED:
                self.add(str(parse(address).with_peer(now)), place.source)

    def due(
        self,
        now: Millis,
        *,
        busy: Collection[NodeId],
        connected: int,
        vouchers: int,
        preferred: Collection[NodeId],
        is_member: Callable[[NodeId], bool],
    ) -> tuple[Attempt, ...]:
        """What to dial now: all that is due in a small community, else the preferred and as many as the degree lacks.

        `busy`: nodes that are connected, being dialled or banned; `connected`: members that are connected or being dialled;
        `vouchers`: how many members must have told of an address that is hearsay. Who is no member is dialled only where the
        operator said so: a node that has yet to learn who the members are begins there.
        """
        ready = [
            node
            for node, target in self._targets.items()
            if node not in busy and target.next_try <= now and (target.best() is Source.CONFIGURED or is_member(node))
            if target.dialable(now, vouchers)
        ]
        if len(self._targets) > DENSE_PEERS:
            wanted = [node for node in ready if node in preferred]
            others = [node for node in ready if node not in preferred]
            lacking = max(0, TARGET_DEGREE - connected - len(wanted))
            ready = wanted + self._rng.sample(others, min(lacking, len(others)))
        return tuple(self._attempt(node, now, vouchers) for node in ready)

    def all_among(self, busy: Collection[NodeId]) -> bool:
        """Whether nobody is known but these: then there is nobody to dial."""
        return all(node in busy for node in self._targets)

    def failed(self, node: NodeId, error: str, now: Millis) -> None:
        """A dial, or the hello after it, failed: wait longer."""
        target = self._targets.get(node)
        if target is not None:
            target.failures += 1
            target.last_error = error
            target.next_try = Millis(now + backoff(target.failures, self._rng))

    def answered_by_another(self, node: NodeId, address: str, now: Millis) -> None:
        """Whoever listens at an address is not this node, or no peer at all: mere words about where it is count less now."""
        target = self._targets.get(node)
        if target is not None and address in target.places and not target.places[address].is_proven():
            if now - target.doubted_until > MAX_DOUBT:
                target.doubts = 0
            target.doubted_until = Millis(now + min(FIRST_DOUBT * 2 ** min(target.doubts, 16), MAX_DOUBT))
            target.doubts += 1

    def confirm(self, node: NodeId, address: str) -> None:
        """The node has answered at this address: it is worth more than hearsay from now on."""
        target = self._targets.get(node)
        if target is not None and address in target.places:
            target.places[address].source = max(target.places[address].source, Source.REACHED)

    def steady(self, node: NodeId) -> None:
        """A connection to the node lasted: its loss is answered by dialling at once."""
        target = self._targets.get(node)
        if target is not None:
            target.failures, target.last_error, target.next_try = 0, "", Millis(0)

    def known(self, *, at_least: Source) -> tuple[tuple[NodeId, str], ...]:
        """Each node's best address that is worth at least this much, and is not in doubt."""
        worth = {node: max(at_least, Source.REACHED) if target.doubts else at_least for node, target in self._targets.items()}
        return tuple((node, target.ordered()[0]) for node, target in self._targets.items() if target.best() >= worth[node])

    def troubles(self) -> tuple[str, ...]:
        """One line for each node that could not be reached: its address, and the step and reason of the last failure."""
        return tuple(f"{target.last_error} ({target.failures} tries)" for target in self._targets.values() if target.last_error)

    def __len__(self) -> int:
        return len(self._targets)

    def __contains__(self, node: NodeId) -> bool:
        return node in self._targets

    def _attempt(self, node: NodeId, now: Millis, vouchers: int) -> Attempt:
        target = self._targets[node]
        addresses = target.dialable(now, vouchers)
        target.turn += 1
        address = addresses[(target.turn - 1) % len(addresses)]
        return Attempt(node, address, target.places[address].source is Source.CONFIGURED)

    def _evict(self, source: Source) -> bool:
        """Make room for a newcomer by forgetting whom we failed most to reach, if that is worth no more than it."""
        node = max(self._targets, key=lambda item: (-self._targets[item].best(), self._targets[item].failures))
        target = self._targets[node]
        if target.best() > source or (target.best() == source and not target.failures):
            return False
        del self._targets[node]
        return True
