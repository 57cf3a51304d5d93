"""The node itself: where it stands, whom it is connected to, that it stops."""

from enum import StrEnum

from msgspec import field

from bflcd.api.schema.answer import Answer


class Role(StrEnum):
    """What the node is in the running round."""

    TRAINER = "trainer"
    COMMITTEE = "committee"
    OBSERVER = "observer"
    SYNCING = "syncing"


class Activity(StrEnum):
    """What the node does now."""

    WAITING_FOR_GENESIS = "waiting for the genesis"
    STARTING = "starting"
    SYNCING = "syncing"
    PAYMENT_DUE = "payment due"
    FETCHING_MODEL = "fetching the model"
    TRAINING = "training"
    TRAINING_FAILS = "training fails"
    WAITING_FOR_CERTIFICATE = "waiting for certificate"
    COLLECTING = "collecting"
    SCORING = "scoring"
    SCORING_FAILS = "scoring fails"
    WAITING_FOR_CARDS = "waiting for cards"
    PROPOSING = "proposing"
    CHECKING = "checking"
    PREPARING = "preparing"
    COMMITTING = "committing"
    VIEW_CHANGE = "view change"
    DECIDED = "decided"
    FETCHING_SEGMENT = "fetching the segment"
    IDLE = "idle"


class TrainingWord(StrEnum):
    """What a node tells its peers of whether it trains: that it does, or where the fault lies."""

    TRAINS = "trains"
    OBSERVES = "observes"
    DATA = "data"
    TASK = "task"
    DEVICE = "device"
    MEMORY = "memory"
    STORAGE = "storage"
    WORKER = "worker"
    BEHIND = "behind"
    BUDGET = "privacy budget"


class Status(Answer, frozen=True, kw_only=True):
    """Where this node stands. Before it knows the genesis, texts about the chain are empty and numbers 0."""

    version: str
    chain_id: str
    name: str
    """The community's name, from its genesis."""
    node_id: str
    peer_id: str
    role: Role
    """A member of the committee that trains too is `committee`; `syncing` also before the genesis is known."""
    task: str
    """Name of what is trained, from the genesis."""
    syncing: bool
    """Rounds that others have closed are being taken over, or the genesis is not known; no part is taken in rounds meanwhile."""
    height: int
    """Height of the newest committed model block."""
    round: int
    """Round of the newest committed model: the one that is running."""
    last_round: int
    """The community stops at the model of this round; 0 goes on for ever."""
    done: bool
    """`last_round` is reached."""
    view: int
    """View of the running round; 0 on a node without a seat, which takes no part in views."""
    phase: Activity
    head_hash: str
    """Hash of the header of the newest committed model block."""
    model_hash: str
    """Root of that block's payload."""
    state_hash: str
    """Hash of the ledger after that block."""
    trusted_head: str
    """`ROUND:HASH` of that block's header, as `bflcd start --trusted-head` takes it: what another node may be told to trust."""
    epoch: int
    """Epoch of the running round."""
    committee: list[str]
    """Seats of the running round in seat order."""
    leader: str
    """Leader of `view`."""
    committee_size: int
    """M of the genesis."""
    places: int
    """k: update blocks of a round; the model of round t stands at height t * (k + 1)."""
    members: int
    """Accounts in the ledger."""
    peers: int
    """Open connections to members; 0 before the genesis is known."""
    store_mode: str
    """archive or pruned."""
    keep: int
    """Rounds whose payloads are kept; 0 in an archive."""
    prune_height: int | None = None
    """Lowest height from which on every model is held; none if no model below the newest is lacking, and just after the start."""
    oldest_payload_round: int
    """First round from which on every payload is held, updates too; of these a node without a seat has only its own."""
    size_on_disk: int
    """Bytes of the store, read every few seconds."""
    last_commit_age: float | None = None
    """Seconds since this node stored the newest certificate, after a restart since its block's time; none before the first."""
    accuracy: float | None = None
    """0 to 1: median of the base accuracies on the cards of the newest committed round that has any; see `held_out`."""
    accuracy_round: int | None = None
    """The model that `accuracy` was measured on."""
    worst_accuracy: float | None = None
    """As `accuracy`, the lowest on any of those cards: the word of one judge, which one liar can make up."""
    worst_at: list[str] = field(default_factory=list)
    """Whose cards say `worst_accuracy`."""
    held_out: float = 0.0
    """0 to 1: of its rows, how many each member keeps from training to judge on; 0: `accuracy` is that of rows trained on."""
    test_accuracy: float | None = None
    """0 to 1: of the last model on the task's test data, where this node measured it once the community was done."""
    warnings: list[str] = field(default_factory=list)
    """What is wrong now, and alarms since the start."""
    changed: dict[str, int] = field(default_factory=dict)
    """Parameters that managers have set otherwise than the genesis, by name."""
    waiting_for: str = ""
    """Who is missing when nothing moves; empty when all is well."""
    uptime: float = 0.0
    """Seconds since the node began; after blocks were taken back it begins again."""
    listen: list[str] = field(default_factory=list)
    """Multiaddrs ending in /p2p/ID."""
    api: str = ""
    """URL of this API."""
    pid: int = 0
    memory_rss: int = 0
    """Bytes, without the worker's process."""
    device: str = ""
    """Where training and scoring run: cpu or cuda; empty before the worker has said so."""
    training: TrainingWord | None = None
    """What this node tells its peers of whether it trains; none before the genesis is known."""
    not_training: list[str] = field(default_factory=list)
    """Connected members that say that they do not train: nobody waits for their offers; `peers` has why."""
    work_failures: int = 0
    """Failures in a row of training, judging or measuring here, of what fails longest; 0 while all goes well."""
    lag: float = 0.0
    """Seconds by which the node is late: its event loop, its network's thread or the oldest message, whichever is worst."""
    overloaded: bool = False
    """Whether it leaves to others what they can answer or say again, because it is late."""


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
    clock_ahead_ms: int | None = None
    """By how much its clock is ahead of ours, less than 0 behind; none before its first answer."""
    training: TrainingWord | None = None
    """What it says of whether it trains; its offer is waited for only while it does. None before its first answer."""


class Health(Answer, frozen=True, kw_only=True):
    """All that is told without the token: ok or syncing."""

    health: str


class StopView(Answer, frozen=True, kw_only=True):
    """The daemon has heard it and ends."""

    stopping: bool
    pid: int
