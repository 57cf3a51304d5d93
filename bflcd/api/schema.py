"""What a node shows of itself: the answers of its API as typed structures, and the protocol that the API server depends on.

Identities and hashes are whole lowercase hexadecimal text; times are milliseconds of the Unix clock; shares are 0 to 1; scores
are micro-nats as on the chain. People see them shortened and in other units: that is the control command's business.
"""

from collections.abc import AsyncGenerator
from typing import Final, Protocol

import msgspec

MAX_HISTORY: Final = 1000
"""Rows of history in one answer."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers: immutable, built by name."""


class Status(Answer, frozen=True, kw_only=True):
    """Where this node stands (design 11)."""

    version: str
    chain_id: str
    name: str
    """The community's name, from its genesis."""
    node_id: str
    peer_id: str
    role: str
    """In this round: trainer, committee, observer or syncing."""
    task: str
    syncing: bool
    height: int
    """Height of the newest committed model block."""
    round: int
    """Round of the newest committed model: the one that is running."""
    last_round: int
    """The community stops at the model of this round; 0 goes on for ever."""
    done: bool
    """`last_round` is reached."""
    view: int
    phase: str
    """What the node does now: training, collecting, scoring, preparing, committing, waiting for certificate, syncing, idle."""
    head_hash: str
    model_hash: str
    state_hash: str
    epoch: int
    committee: list[str]
    """Seats of the running round in seat order."""
    leader: str
    """Leader of the current view."""
    committee_size: int
    """M of the genesis."""
    places: int
    """k: update blocks of a round; the model of round t stands at height t * (k + 1)."""
    members: int
    peers: int
    """Open connections to members."""
    store_mode: str
    """archive or pruned."""
    keep: int
    """Rounds whose payloads are kept; 0 in an archive."""
    prune_height: int
    """Last height whose payload is gone; -1 if none is."""
    oldest_payload_round: int
    size_on_disk: int
    """Bytes."""
    last_commit_age: float | None = None
    """Seconds since this node stored the newest certificate; none before the first."""
    accuracy: float | None = None
    """Median of the base accuracies on the cards of the newest committed round that has any."""
    accuracy_round: int | None = None
    """The model that `accuracy` was measured on."""
    test_accuracy: float | None = None
    """Of the newest model on the task's test data, where this node measured it."""
    warnings: list[str] = []
    waiting_for: str = ""
    """Who is missing when nothing moves; empty when all is well."""
    uptime: float = 0.0
    """Seconds."""
    listen: list[str] = []
    """Multiaddrs ending in /p2p/ID."""
    api: str = ""
    pid: int = 0
    memory_rss: int = 0
    """Bytes, without the worker's process."""
    device: str = ""
    """Where training and scoring run: cpu or cuda; empty before the worker has said so."""


class Peer(Answer, frozen=True, kw_only=True):
    """One connected member."""

    node_id: str
    peer_id: str
    address: str
    inbound: bool
    latency_ms: float | None
    round: int
    height: int
    score: float
    """Standing as the gossip counts it; a peer below the threshold is dropped."""
    version: str
    last_seen_ms: int
    """Milliseconds since its last answer."""


class OfferView(Answer, frozen=True, kw_only=True):
    """One offer of the running round."""

    uploader: str
    samples: int
    size: int
    """Bytes of the update."""
    have: bool
    """Its payload is held here."""
    scored: bool


class CardView(Answer, frozen=True, kw_only=True):
    """One score card of the running round."""

    member: str
    entries: int
    mine: bool


class VotesView(Answer, frozen=True, kw_only=True):
    """Who has voted in the current view of the running round."""

    prepare: list[str] = []
    commit: list[str] = []
    view_change: list[str] = []


class DecisionRow(Answer, frozen=True, kw_only=True):
    """What the last closed round decided about one offer."""

    uploader: str
    score: int | None
    """Micro-nats, or parts per million where the accuracy ranks."""
    gain: int | None
    """Median paired loss gain, micro-nats."""
    accuracy: float | None
    norm: float | None
    rate: int | None
    """Median KiB/s at which the committee pulled it; 0 where most did not measure it."""
    weight: int
    """Weight in the aggregate; 0 if not packed."""
    packed: bool
    reason: str
    """Why it is not packed: score, norm, support, place; empty if it is."""


class RoundView(Answer, frozen=True, kw_only=True):
    """The running round from the inside."""

    round: int
    view: int
    phase: str
    leader: str
    started_ms_ago: int
    deadline_ms: int | None
    """Milliseconds until the collection of this round ends at the latest; none when it has ended."""
    offers: list[OfferView]
    cards: list[CardView]
    votes: VotesView
    missing: list[str]
    """Nodes that something is awaited from."""
    waiting_for: str
    last_decision: list[DecisionRow]


class CommitteeMember(Answer, frozen=True, kw_only=True):
    """One seat of the running round."""

    node_id: str
    seat: int
    leader: bool
    present: bool
    balance: int
    me: bool


class CommitteeView(Answer, frozen=True, kw_only=True):
    """The committee of the running round, in seat order."""

    round: int
    epoch: int
    quorum: int
    faults: int
    """f: how many members may be Byzantine."""
    degraded: bool
    """A seat went past the packed uploaders."""
    members: list[CommitteeMember]


class MemberView(Answer, frozen=True, kw_only=True):
    """One member of the alliance, from the ledger."""

    node_id: str
    balance: int
    packed_round: int
    """Last round in which an update of its was packed; -1 if never."""
    packed_score: int
    seat_round: int
    """Last round in which it held a seat; -1 if never."""
    availability: float
    """Share of the rounds in which it was seen, the last ones weighing most."""
    present: bool
    manager: bool
    me: bool
    standing: str = "member"
    """member; punished: it was proved to have lied, and neither trains nor judges any more; retired: managers declared it gone,
    and it gets no seat until it is seen again."""


class HistoryRow(Answer, frozen=True, kw_only=True):
    """One committed model and the round that made it."""

    round: int
    """Of the model block: it closes round - 1."""
    height: int
    time: int
    packed: int
    places: int
    accuracy: float | None
    """Of the parent model, the base of the cards that closed the round: median."""
    loss: float | None
    """As `accuracy`, in nats."""
    committee: list[str]
    """Who decided it."""
    degraded: bool
    rewards: int
    """Total paid out."""
    view: int
    """View in which it was decided."""
    seconds: float
    """Since the model before."""
    hash: str


class PruneRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/prune: exactly one of `keep` (rounds) and `to` (height)."""

    keep: int | None = None
    to: int | None = None
    dry_run: bool = False


class PruneView(Answer, frozen=True, kw_only=True):
    """What a prune did, or would do."""

    dry_run: bool
    keep: int
    height: int
    """Last height whose payload is gone; -1 if none is."""
    round: int
    """First round from which on every payload is held."""
    blobs: int
    payload_bytes: int
    freed: int
    """Bytes returned to the disk."""


class RecoverySeat(Answer, frozen=True, kw_only=True):
    """One seat of the running round, as far as this node can tell whether it can still vote."""

    node_id: str
    connected: bool
    heard: bool
    """It has said something in this round, which may be older than its death."""
    awaited: bool
    """Its vote is missing in the running view."""
    signed: bool
    """It is a manager that has signed a recovery of this round, and votes no more in this epoch."""
    me: bool


class PreparedView(Answer, frozen=True, kw_only=True):
    """A segment of which a prepared proof exists: a recovery that names it decides exactly this."""

    digest: str
    epoch: int
    view: int
    holder: str = ""
    """Who gave it; empty if a recovery brought it."""


class RecoveryRow(Answer, frozen=True, kw_only=True):
    """One recovery of the running round."""

    id: str
    epoch: int
    committee: list[str]
    retired: list[str]
    prepared: PreparedView | None
    signed_by: list[str]
    objection: str = ""
    """Why this node would not join it; empty if nothing speaks against it."""


class Unanswered(Answer, frozen=True, kw_only=True):
    """A member that was asked what it has prepared, or can't be asked."""

    node_id: str
    reason: str


class RecoveryView(Answer, frozen=True, kw_only=True):
    """Whether the running round can go on, what a manager would sign if it can't, and what that means."""

    round: int
    epoch: int
    stalled_ms: int
    """Since the round was opened here."""
    managers: list[str]
    needed: int
    """Signatures of managers."""
    i_am_manager: bool
    can_still_decide: bool
    quorum: int
    committee: list[RecoverySeat]
    silent: list[str]
    """Seats without a connection to this node."""
    action: str
    """What signing would do: new, join (what others have signed), wait (this manager has signed)."""
    proposal: RecoveryRow
    """What would be, or was, signed."""
    pending: list[RecoveryRow]
    prepared: PreparedView | None
    answered: list[str]
    unanswered: list[Unanswered]
    warnings: list[str]
    refusal: str = ""
    """Why it would not be signed; empty if it would."""
    hint: str = ""
    code: str = ""
    """Of the refusal."""
    lines: list[str]
    """All of it for people."""
    signed: bool = False
    """This request has signed the proposal."""
    adopted: bool = False
    """A quorum of managers has signed it: the round goes on in its epoch."""


class RecoveryRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/recovery; whole ids. `join`: id of a pending recovery; `expect`: id of the one that was shown.

    `dry_run` only looks; `force` signs also where a quorum may still come together.
    """

    committee: list[str] | None = None
    retired: list[str] | None = None
    join: str | None = None
    new: bool = False
    expect: str | None = None
    force: bool = False
    dry_run: bool = False


class StopView(Answer, frozen=True, kw_only=True):
    """The daemon has heard it and ends."""

    stopping: bool
    pid: int


class ModelView(Answer, frozen=True, kw_only=True):
    """What a model's payload is; travels beside its bytes."""

    round: int
    height: int
    root: str
    size: int
    block_hash: str
    accuracy: float | None = None


class LogView(Answer, frozen=True, kw_only=True):
    """The newest lines of the log; `last` is the number of the last one, to go on from."""

    last: int
    lines: list[str]


class Event(Answer, frozen=True, kw_only=True):
    """Something that happened; `seq` rises by one. The type `gap` stands for events that were dropped."""

    seq: int
    time: int
    type: str
    round: int
    text: str
    fields: dict[str, str | int | float | bool | None] = {}


class Health(Answer, frozen=True, kw_only=True):
    """All that is told without the token: ok or syncing."""

    health: str


class NodeView(Protocol):
    """What the API server needs of a node. All of it is called in the event loop's thread; what is not `async` must be quick.

    Refusals are raised as OperatorError, whose code and hint reach the user; MachineError says that the disk failed.
    """

    def status(self) -> Status:
        """Where the node stands."""
        ...

    def peers(self) -> list[Peer]:
        """Open connections."""
        ...

    def round(self) -> RoundView:
        """The running round."""
        ...

    def committee(self) -> CommitteeView:
        """The committee of the running round."""
        ...

    def members(self) -> list[MemberView]:
        """All members, sorted by id."""
        ...

    async def history(self, first: int, count: int) -> list[HistoryRow]:
        """Models of rounds first, first + 1, ..., at most `count`; fewer at the head."""
        ...

    async def prune(self, keep: int, dry_run: bool) -> PruneView:
        """Drop payloads but those of the last `keep` rounds (>= 1)."""
        ...

    async def recover(self, request: RecoveryRequest) -> RecoveryView:
        """Plan a recovery of the running round, and sign it unless it is a dry run. A refusal is an OperatorError."""
        ...

    async def model(self, round_: int | None) -> tuple[bytes, ModelView]:
        """A model's safetensors bytes; None means the newest. OperatorError(code="not_found" or "pruned") if it is not held."""
        ...

    def request_stop(self) -> StopView:
        """Begin a clean stop and return at once."""
        ...

    def events(self, after_seq: int | None) -> AsyncGenerator[Event, None]:
        """Events after `after_seq`, then new ones until the node stops; None means only new ones. `EventBus.stream` is one."""
        ...

    def logs(self, lines: int, after: int) -> LogView:
        """At most `lines` of the newest log lines whose number is above `after`."""
        ...
