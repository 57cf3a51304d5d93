"""What the interpreter of the core's effects asks of the world: the daemon has the real thing, the simulated world its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from bflcd.core.effects import Blame, Commit, Effect, Notice
from bflcd.core.events import Event, Instant
from bflcd.core.records import Record
from bflcd.core.signing_guard import Mark
from bflcd.core.trust.judging_account import Told
from bflcd.learn.aggregate import WeightedUpdate
from bflcd.learn.protocol import ScoreJob, ScoreResult, TrainJob, TrainResult
from bflcd.ledger.state import State
from bflcd.params import BlobRef
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment
from bflcd.wire.messages import Gossip


class Machine(Protocol):
    """The core: events and time in, effects out."""

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take an event."""
        ...

    def tick(self, now: Instant) -> list[Effect]:
        """Let time pass."""
        ...

    def deadline(self, now: Instant) -> Millis | None:
        """When `tick` wants to run, at the latest."""
        ...


class Clock(Protocol):
    """Both clocks."""

    def __call__(self) -> Instant:
        """Now."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event that waits for the core; `settled` is called once its effects are carried out."""

    event: Event
    settled: Callable[[], None] | None = None


class Inbox(Protocol):
    """Events on their way to the core, in order, bounded."""

    async def put(self, event: Event) -> None:
        """Queue an event; waits while there is no room."""
        ...

    async def settle(self, event: Event) -> None:
        """Queue an event and wait until its effects are carried out."""
        ...

    def take(self) -> Delivered | None:
        """The oldest event, if there is one."""
        ...

    async def wait(self, until: Millis | None) -> None:
        """Return when there is an event, or at `until`."""
        ...


class Marks(Protocol):
    """The mark file."""

    async def write(self, mark: Mark) -> None:
        """Make the mark durable."""
        ...


class RoundStore(Protocol):
    """The part of the store that a running round needs."""

    async def persist(self, records: Sequence[Record], relies_on: Iterable[Digest]) -> None:
        """As `BlockStore.persist`: the payloads `relies_on` are durable, then the records. MissingPayloadError."""
        ...

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """As `ChainStore.commit`."""
        ...

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """As `ChainStore.headers`."""
        ...

    async def put_blob(self, data: bytes) -> BlobRef:
        """As `BlockStore.put_blob`."""
        ...

    async def has_blob(self, root: Digest) -> bool:
        """As `PayloadReader.has_blob`."""
        ...

    async def blob(self, root: Digest) -> bytes | None:
        """As `PayloadReader.blob`."""
        ...

    async def drop_blob(self, root: Digest) -> None:
        """As `Upkeep.drop_blob`."""
        ...


class Pushed(Enum):
    """What became of a push."""

    TAKEN_IN = auto()
    NOT_NOW = auto()
    """The peer has no use for it now, and takes it later."""
    LOST = auto()
    """No answer came."""


class Network(Protocol):
    """Members, messages to them, questions to one of them."""

    def connected(self) -> tuple[NodeId, ...]:
        """Members that are connected now."""
        ...

    async def publish(self, message: Gossip) -> None:
        """Gossip a message to all."""
        ...

    def connection(self, peer: NodeId) -> int | None:
        """A number of the connection to a member, None without one; of each new one another: its owner may have started anew."""
        ...

    async def push(self, message: Gossip, peer: NodeId) -> Pushed:
        """Bring a message straight to a member."""
        ...


class Fetcher(Protocol):
    """Gets payloads from peers."""

    async def fetch(self, blob: BlobRef, holders: tuple[NodeId, ...], *, apart: str | None = None) -> None:
        """Get a blob into the store; `apart`: by its own holders, whoever else is asked for the same meanwhile. Raises
        RequestError if nobody gives it."""
        ...


class Numbers(Protocol):
    """What is computed from payloads."""

    async def train(self, job: TrainJob) -> TrainResult:
        """As `Compute.train`. Raises WorkerError."""
        ...

    async def score(self, job: ScoreJob) -> ScoreResult:
        """As `Compute.score`. Raises WorkerError."""
        ...

    async def aggregate(self, rule: str, model: bytes, updates: Sequence[WeightedUpdate], limit: int | None) -> bytes:
        """The next model's payload, exact."""
        ...

    def check(self, payload: bytes, label: str | None) -> None:
        """Hold a payload against the genesis specification. Raises PeerError(BAD_TENSOR)."""
        ...


class Spending(Protocol):
    """What this node's cards tell of its rows, counted."""

    async def count(self, told: Told) -> None:
        """Count it durably; when it returns, the card may leave. Counted twice it changes nothing."""
        ...


class Observer(Protocol):
    """Who is told of what happens: logs, event bus, metrics, peer scores. None of it may block."""

    def notice(self, notice: Notice) -> None:
        """Something worth knowing happened."""
        ...

    def blame(self, blame: Blame) -> None:
        """A node did what is refused."""
        ...

    def committed(self, commit: Commit) -> None:
        """A segment is durable."""
        ...

    def behind(self, round_: Round, peer: NodeId) -> None:
        """A peer is ahead of what we can follow."""
        ...
