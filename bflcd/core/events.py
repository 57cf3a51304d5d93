"""What goes into the node's core: messages, answers to its effects, and what was found at start."""

from dataclasses import dataclass

from bflcd.core.records import RoundRecords
from bflcd.learn.protocol import ScoreResult
from bflcd.params import BlobRef
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Gossip
from bflcd.wire.operation import Operation
from bflcd.wire.privacy import PrivacyClaim
from bflcd.wire.recovery import PreparedProof, Recovery


@dataclass(frozen=True, slots=True)
class Instant:
    """`mono`: milliseconds of a clock that never jumps, for timers; `wall`: Unix milliseconds, for block times only."""

    mono: Millis
    wall: Millis


@dataclass(frozen=True, slots=True)
class Started:
    """First event of a core: what the store holds of the running round."""

    records: RoundRecords


@dataclass(frozen=True, slots=True)
class Confirmed:
    """More than f other members have said where they stand, so an honest one among them has reached `round`, or 0 if none has."""

    round: Round


@dataclass(frozen=True, slots=True)
class IdleChanged:
    """Who says that it does not train now: all of them, each for itself alone, over a connection that proves who it is; and who
    says that it trains."""

    nodes: frozenset[NodeId]
    training: frozenset[NodeId] = frozenset()


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A gossip message, decoded but not verified, forwarded by `peer`."""

    message: Gossip
    peer: NodeId


@dataclass(frozen=True, slots=True)
class BlobFetched:
    """Answer to `FetchBlob`: the blob is complete here; an update's payload met the specification. It is durable once a record
    relies on it.

    `rate`: KiB/s at which an update was pulled, at least 1; 0 for one that was here already, and for a model.
    """

    root: Digest
    rate: int = 0


@dataclass(frozen=True, slots=True)
class BlobMissing:
    """Answer to the `FetchBlob` with this `label`: nobody gave it; `refused` if its content breaks the specification under that
    label, asking again is useless. What is offered under another label may be the same content, and good."""

    root: Digest
    label: str | None
    refused: bool
    text: str


@dataclass(frozen=True, slots=True)
class BlobLost:
    """A payload that was here is damaged on the disk and was dropped."""

    root: Digest


@dataclass(frozen=True, slots=True)
class Trained:
    """Answer to `Train`: the update is stored under `blob`. `claim`: what a trainer with privacy says in its offer."""

    round: Round
    blob: BlobRef
    samples: int
    loss: float
    claim: PrivacyClaim | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Answer to `Score`."""

    round: Round
    result: ScoreResult


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """Answer to `Train` or `Score`: the compute worker failed; it has been started again.

    `final`: nothing is trained on purpose, so nobody tries it again in this round, and its cause is told elsewhere.
    """

    round: Round
    training: bool
    text: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Aggregated:
    """Answer to `Aggregate`: the next model is stored under `model`; None: a packed update breaks the specification, as `text`
    says, so more than f judges lied."""

    key: Digest
    model: BlobRef | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class EnvelopesFetched:
    """Answer to `FetchEnvelopes`: what `source` gave, unverified; may be less than asked for."""

    round: Round
    envelopes: tuple[Envelope, ...]
    source: NodeId


@dataclass(frozen=True, slots=True)
class OperationsFetched:
    """Answer to `FetchOperations`: what `source` gave, unverified; may be less than asked for."""

    round: Round
    operations: tuple[Operation, ...]
    source: NodeId


@dataclass(frozen=True, slots=True)
class ModelFound:
    """Answer to `FindModel`: by this node's own headers `model` is the model of round `of`."""

    round: Round
    of: Round
    model: BlobRef


@dataclass(frozen=True, slots=True)
class RecoverySigned:
    """This manager's operator wants this recovery of the running round signed (design 6.8); `proof` is what it names prepared."""

    recovery: Recovery
    proof: PreparedProof | None


@dataclass(frozen=True, slots=True)
class OperationSaid:
    """An operation that this node stands for: signed here at its operator's word, or an application that was handed to it."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class SegmentFetched:
    """Answer to `FetchSegment`, or a step of catching up: nothing of it is verified yet."""

    certified: CertifiedSegment
    source: NodeId


@dataclass(frozen=True, slots=True)
class SyncChanged:
    """Catching up has begun or ended; the core takes no part in rounds meanwhile."""

    active: bool


Event = (
    Started
    | Confirmed
    | IdleChanged
    | MessageReceived
    | BlobFetched
    | BlobMissing
    | BlobLost
    | Trained
    | Scored
    | WorkFailed
    | Aggregated
    | EnvelopesFetched
    | OperationsFetched
    | ModelFound
    | RecoverySigned
    | OperationSaid
    | SegmentFetched
    | SyncChanged
)
"""Everything that the core takes, besides the passing of time."""
