"""What the node counts, for Prometheus: a registry of its own, fed by the runtime, completed from the status when it is read."""

import asyncio
import os
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bflcd.api.schema.status import Status
from bflcd.core.node_events import EventKind
from bflcd.errors import Rejection

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what `Metrics.render` returns."""

ROUND_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""Buckets from a loopback testnet to large models over slow lines."""

DECISION_SECONDS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Buckets from one gossip hop to several view changes."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """Counters and histograms of one node. Every label takes a bounded set of values, so that a peer can't grow the registry."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.commits: Final = self._counter("bflc_commits", "Segments committed by this node since it started")
        self.rounds_empty: Final = self._counter("bflc_rounds_empty", "Committed rounds without a packed update")
        self.view_changes: Final = self._counter("bflc_view_changes", "Views above 0 entered")
        self.worker_restarts: Final = self._counter("bflc_worker_restarts", "Times that the compute worker was started again")
        self.validations: Final = self._counter("bflc_validations", "Updates judged by this node as a member of the committee")
        self.round_seconds: Final = self._histogram("bflc_round_seconds", "From one model to the next", ROUND_SECONDS)
        self.decision_seconds: Final = self._histogram(
            "bflc_decision_seconds", "From q cards held to the certificate stored", DECISION_SECONDS
        )
        self.bytes: Final = self._counter("bflc_bytes", "Bytes of pushes, gossip, payloads", ("direction", "channel"))
        self.messages: Final = self._counter(
            "bflc_messages",
            "Messages of a round sent and taken in: pushed to one peer, or gossiped to all",
            ("direction", "kind", "way", "said"),
        )
        self.refusals: Final = self._counter("bflc_refusals", "What peers sent and this node refused", ("rejection",))
        self.shed: Final = self._counter("bflc_shed", "Messages and requests left because the node was overloaded", ("kind",))
        self._totals = (0, 0, 0)
        self._gauges: Final = {name: self._gauge(f"bflc_{name}", text) for name, text in _GAUGES.items()}
        self._info: Final = Gauge("bflc_info", "Always 1", ("version", "chain_id", "node_id"), registry=self.registry)
        self.events: Final = self._counter("bflc_events", "What happened here, by type as in the event stream", ("type",))
        for rejection in Rejection:
            self.refusals.labels(rejection.value)
        for kind in EventKind:
            self.events.labels(kind.value)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)

    def committed(self, packed: int, seconds: float) -> None:
        """Count a committed round with `packed` updates that took `seconds`."""
        self.commits.inc()
        self.round_seconds.observe(seconds)
        if packed == 0:
            self.rounds_empty.inc()

    def refused(self, rejection: Rejection) -> None:
        """Count a refusal."""
        self.refusals.labels(rejection.value).inc()

    def shed_one(self, kind: str) -> None:
        """Count what was left. `kind` must be the name of a class of ours."""
        self.shed.labels(kind).inc()

    def event(self, kind: EventKind) -> None:
        """Count something that happened."""
        self.events.labels(kind.value).inc()

    def message(self, *, outgoing: bool, kind: str, way: str, size: int, again: bool) -> None:
        """Count a message and its bytes. `kind` and `way` must be names of ours, never the peer's text."""
        direction = "out" if outgoing else "in"
        self.messages.labels(direction, kind, way, "again" if again else "first").inc()
        self.bytes.labels(direction, way).inc(size)

    def totals(self, *, received: int, sent: int, worker_starts: int) -> None:
        """Take over what others count since the start: bytes of payloads, and worker processes."""
        before, self._totals = self._totals, (received, sent, max(0, worker_starts - 1))
        rises = [now - then for now, then in zip(self._totals, before, strict=True)]
        self.bytes.labels("in", "payload").inc(rises[0])
        self.bytes.labels("out", "payload").inc(rises[1])
        self.worker_restarts.inc(rises[2])

    def render(self, status: Status) -> bytes:
        """The exposition text, with the gauges taken from `status` and the process."""
        values = {
            "round": status.round,
            "height": status.height,
            "view": status.view,
            "epoch": status.epoch,
            "peers": status.peers,
            "members": status.members,
            "syncing": status.syncing,
            "accuracy": status.accuracy,
            "accuracy_worst": status.worst_accuracy,
            "last_commit_age_seconds": status.uptime if status.last_commit_age is None else status.last_commit_age,
            "store_bytes": status.size_on_disk,
            "warnings": len(status.warnings),
            "work_failures": status.work_failures,
            "lag_seconds": status.lag,
            "overloaded": status.overloaded,
            "uptime_seconds": status.uptime,
            "memory_rss_bytes": resident_bytes(),
            "open_fds": open_descriptors(),
            "tasks": len(asyncio.all_tasks()),
        }
        for name, value in values.items():
            self._gauges[name].set(float("nan") if value is None else value)
        self._info.labels(status.version, status.chain_id, status.node_id).set(1)
        return generate_latest(self.registry)


_GAUGES: Final = {
    "round": "Round of the newest committed model",
    "height": "Height of the newest committed model block",
    "view": "View of the running round",
    "epoch": "Epoch in force",
    "peers": "Open connections to members",
    "members": "Members of the alliance",
    "syncing": "1 while the node catches up",
    "accuracy": "Median base accuracy on the newest cards, 0 to 1",
    "accuracy_worst": "Lowest base accuracy on the newest cards, the word of one judge, 0 to 1",
    "last_commit_age_seconds": "Since the newest certificate, after a restart since its time; before any, since the start",
    "store_bytes": "Size of the store on disk",
    "warnings": "Warnings that status shows",
    "work_failures": "Failures in a row of this node's own work: training, judging or measuring, whichever fails longest",
    "lag_seconds": "How late the node is, smoothed: its event loop, its network's thread or the oldest message",
    "overloaded": "1 while it leaves to others what they can answer or say again",
    "uptime_seconds": "Since the daemon started",
    "memory_rss_bytes": "Resident memory of the daemon, without its worker",
    "open_fds": "Open file descriptors",
    "tasks": "asyncio tasks",
}


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system doesn't say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def open_descriptors() -> int:
    """Open file descriptors of this process; 0 where the system doesn't say."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0
