"""What the node's core asks of the runtime. Effects MUST be carried out in the order given; slow ones are answered by events."""

from dataclasses import dataclass

from bflcd.core.node_events import EventKind
from bflcd.core.records import Record
from bflcd.core.trust.judging_account import Told
from bflcd.errors import Rejection
from bflcd.ledger.state import State
from bflcd.params import BlobRef
from bflcd.types import Digest, NodeId, PartsPerMillion, Round
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.messages import Gossip


@dataclass(frozen=True, slots=True)
class Persist:
    """The runtime MUST make the payloads of `relies_on` durable, then the records (database, then mark file), before it carries
    out any later effect.

    `relies_on`: what this node says that it holds by what it is about to sign. The core names it, since it alone knows what a
    signature claims: an offer its update, a card the updates that it scores, a prepare the model and the updates of its
    segment, which are named with the segment's record; everything later rests on these. A payload is durable for no other
    reason (docs/adr/0015-durable-payloads.md). A commit relies on none: who has prepared has them, who catches up fetches them.
    `tells`: what the records say of this node's rows, if a score card is among them; the runtime MUST count that durably first.
    """

    records: tuple[Record, ...]
    relies_on: tuple[BlobRef, ...] = ()
    tells: Told | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """The runtime MUST send the message to the nodes in `to`, directly where it can, or gossip it if it can't or `to` is empty.

    It may be lost all the same; what matters is said again. `alone`: it is for those in `to` alone, and is never gossiped.
    """

    message: Gossip
    to: tuple[NodeId, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The runtime MUST store segment, certificate and state in one transaction before it carries out any later effect."""

    certified: CertifiedSegment
    state: State


@dataclass(frozen=True, slots=True)
class Train:
    """The runtime MUST train from the model and answer `Trained` or `WorkFailed`.

    `canary`: what is stored is `bflcd.learn.protocol.CANARY` times what was trained. `known` as in `Score`.
    """

    round: Round
    model: BlobRef
    seed: int
    canary: bool = False
    known: PartsPerMillion = PartsPerMillion(0)


@dataclass(frozen=True, slots=True)
class Score:
    """The runtime MUST score these stored updates (offer digest, blob) and answer `Scored` or `WorkFailed`.

    `limit`: how far from the model an update is judged at most, in the unit of cards; None: as far as it leads. `known`: what
    share of rows the model is right on, by the ledger.
    """

    round: Round
    model: BlobRef
    offers: tuple[tuple[Digest, BlobRef, str], ...]
    seed: int
    limit: int | None = None
    known: PartsPerMillion = PartsPerMillion(0)


@dataclass(frozen=True, slots=True)
class CancelWork:
    """The runtime MUST cancel training, scoring and fetches of rounds before `round`."""

    round: Round


@dataclass(frozen=True, slots=True)
class FetchBlob:
    """The runtime MUST fetch the blob from one of `holders` (preferred first; with `anyone`, then from any member) and answer
    `BlobFetched` or `BlobMissing`. With a `label` it is an update whose payload must meet the specification."""

    blob: BlobRef
    holders: tuple[NodeId, ...]
    round: Round
    label: str | None
    anyone: bool


@dataclass(frozen=True, slots=True)
class FetchEnvelopes:
    """The runtime MUST ask `source` for signed cards or offers and answer `EnvelopesFetched`, empty if it fails."""

    round: Round
    digests: tuple[Digest, ...]
    source: NodeId


@dataclass(frozen=True, slots=True)
class FetchOperations:
    """The runtime MUST ask `source` for operations by their ids and answer `OperationsFetched`, empty if it fails."""

    round: Round
    ids: tuple[Digest, ...]
    source: NodeId


@dataclass(frozen=True, slots=True)
class FindModel:
    """The runtime MUST answer `ModelFound` with the model that the committed header of round `of` names, from its own store."""

    round: Round
    of: Round


@dataclass(frozen=True, slots=True)
class FetchSegment:
    """The runtime MUST fetch the segment that closed the round before `round` and answer `SegmentFetched`; it retries by itself.

    `holders` are asked first."""

    round: Round
    holders: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The runtime MUST compute the next model from (weight, blob, label) of the packed updates, store it, answer `Aggregated`.

    `limit`: the largest norm of the step, below 0 for a first one, which half of its model's norm holds too, None without one.
    """

    key: Digest
    round: Round
    rule: str
    model: BlobRef
    updates: tuple[tuple[int, BlobRef, str], ...]
    limit: int | None


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The runtime MUST catch up: `peer` speaks of `round`, which we can't follow step by step."""

    round: Round
    peer: NodeId


@dataclass(frozen=True, slots=True)
class Blame:
    """The runtime MUST count this against the node's peer; CONFLICT means that it signed two things in one place."""

    node: NodeId | None
    """None if nobody can be held to it."""
    rejection: Rejection
    text: str


@dataclass(frozen=True, slots=True)
class Halt:
    """The runtime MUST stop the node with this message: whatever it did next could be wrong, and people have to decide."""

    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Notice:
    """The runtime MUST tell people of it, as its type's row of `bflcd.core.node_events` says; changes nothing."""

    type: EventKind
    text: str
    fields: tuple[tuple[str, str | int], ...] = ()


def notice(round_: Round, type_: EventKind, text: str, **fields: str | int) -> Notice:
    """A notice of a round."""
    return Notice(type_, text, (("round", round_), *fields.items()))


Effect = (
    Persist
    | Send
    | Commit
    | Train
    | Score
    | CancelWork
    | FetchBlob
    | FetchEnvelopes
    | FetchOperations
    | FindModel
    | FetchSegment
    | Aggregate
    | CatchUp
    | Blame
    | Halt
    | Notice
)
"""Everything that the core asks for."""
