"""The node itself: where it stands, whom it is connected to, that it stops."""

from msgspec import field

from bflcd.api.schema.answer import Answer


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
    warnings: list[str] = field(default_factory=list)
    waiting_for: str = ""
    """Who is missing when nothing moves; empty when all is well."""
    uptime: float = 0.0
    """Seconds."""
    listen: list[str] = field(default_factory=list)
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


class Health(Answer, frozen=True, kw_only=True):
    """All that is told without the token: ok or syncing."""

    health: str


class StopView(Answer, frozen=True, kw_only=True):
    """The daemon has heard it and ends."""

    stopping: bool
    pid: int
