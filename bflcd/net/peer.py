"""What the peer manager needs and shows: settings, a peer as others see it, callbacks, the narrow protocols it stands on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from bflcd.net.protocol import ConnectionInfo, HostCheck, PeerEventHandler, anywhere
from bflcd.types import Height, NodeId, Round
from bflcd.wire.requests import Status
from bflcd.wire.training import Training


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Times in seconds. The defaults let a dozen daemons share two busy cores without losing each other."""

    heartbeat_period: float = 5.0
    heartbeat_deadline: float = 15.0
    """A peer that has answered nothing for so long is disconnected; it may be stopped, which its kernel doesn't tell us."""
    retry_period: float = 1.0
    """After a heartbeat that failed before its deadline."""
    dial_deadline: float = 10.0
    tick: float = 0.25
    """How often it is checked whom to dial."""
    rest: float = 1.0
    """The same while everybody known is connected."""
    exchange_period: float = 60.0
    """How often each peer is asked for the addresses that it knows."""
    alone_after: float = 10.0
    alone_period: float = 30.0
    """How often being alone is logged."""
    stranger_time: float = 30.0
    """How long a stranger may stay: enough to fetch the genesis and to apply."""
    max_strangers: int = 8
    max_peers: int = 128
    close_peers: int = 12
    """So many are asked as often as it says above. Of more, all but the committee are asked less often: the work of a node
    does not grow with them."""
    most_seldom: float = 6.0
    """Times by which these pauses grow at most."""

    def among(self, peers: int) -> "PeerSettings":
        """The settings for one of so many peers."""
        seldom = min(peers / self.close_peers, self.most_seldom)
        if seldom <= 1:
            return self
        return replace(self, heartbeat_period=seldom * self.heartbeat_period, exchange_period=seldom * self.exchange_period)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One connected peer, for people and for catch-up. `latency_ms` and `version` are unknown before its first status."""

    node: NodeId
    address: str
    inbound: bool
    member: bool
    latency_ms: float | None
    round: Round
    height: Height
    score: float
    version: str
    last_seen_ms: int
    """Milliseconds since it last answered or asked anything."""
    clock_ahead_ms: int | None = None
    """Its clock's lead over ours; nothing of the protocol asks for it."""
    training: Training | None = None
    """What it says of whether it trains."""


@dataclass(frozen=True, slots=True)
class PeerCallbacks:
    """Told of what happens to members, and to peers that we dialled (a node that is behind may not know all members yet).

    None of them may block. `up` once the first status is there, `status` with each one, `down` only after `up`.
    """

    up: Callable[[NodeId, Status], None]
    down: Callable[[NodeId], None]
    status: Callable[[NodeId, Status], None]


class AddressBook(Protocol):
    """The part of the store that remembers addresses over a restart."""

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """As the store's `AddressBook.addresses`."""
        ...

    async def remember_address(self, node: NodeId, address: str) -> None:
        """As the store's `AddressBook.remember_address`."""
        ...


class AddressRule(Protocol):
    """Where to connect on the word of others. Each says why not, or nothing; ValueError for what is no address."""

    def own_word(self, text: str, seen: str) -> str:
        """As `DialRule.own_word`."""
        ...

    def hearsay(self, text: str) -> str:
        """As `DialRule.hearsay`."""
        ...

    def kept(self, text: str) -> str:
        """As `DialRule.kept`."""
        ...

    def connecting(self, host: str, port: int) -> str:
        """As `DialRule.connecting`."""
        ...


class PeerTransport(Protocol):
    """The part of a transport that makes connections."""

    @property
    def node_id(self) -> NodeId:
        """As `Transport.node_id`."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """As `Transport.addresses`."""
        ...

    async def dial(self, address: str, deadline: float, *, check: HostCheck = anywhere) -> NodeId:
        """As `Transport.dial`."""
        ...

    async def disconnect(self, peer: NodeId) -> None:
        """As `Transport.disconnect`."""
        ...

    def connections(self) -> tuple[ConnectionInfo, ...]:
        """As `Transport.connections`."""
        ...

    def on_peer_event(self, handler: PeerEventHandler) -> None:
        """As `Transport.on_peer_event`."""
        ...
