"""A testnet seen from outside: what its nodes say of themselves, and the pictures of it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bflc_cli.client import Api
from bflc_cli.curve import curve
from bflc_cli.session import CommandError
from bflc_cli.tables import table
from bflc_cli.text import duration, share, short, size
from bflcd.api.schema.chain import HistoryRow
from bflcd.api.schema.status import Status
from bflcd.setup.overview import Overview

ASK_SECONDS: Final = 2.0
"""What one node may take to answer before it is shown as silent."""

HISTORY_STEP: Final = 500
"""Rows asked for at a time."""

MAX_ROWS: Final = 20
"""Nodes shown while they run; the slowest ones first if there are more."""


@dataclass(slots=True)
class Watched:
    """One node: the connection to it, and the last that it said. `silent` since when it did not answer."""

    name: str
    node_id: str
    datadir: Path
    api: Api | None = None
    status: Status | None = None
    silent: float | None = None
    note: str = "starting"

    def ask(self) -> None:
        """Refresh `status`; a node that does not answer keeps its last one."""
        try:
            if self.api is None:
                self.api = Api(self.datadir, ASK_SECONDS)
            self.status = self.api.read("/v1/status", Status)
            self.silent, self.note = None, ""
        except CommandError as error:
            self.close()
            if self.silent is None:
                self.silent = time.monotonic()
            self.note = ("starting" if self.status is None else "down") if error.code == "no_daemon" else "no answer"

    def close(self) -> None:
        """Forget the connection; a daemon that starts again has a new token."""
        if self.api is not None:
            self.api.close()
            self.api = None


@dataclass(slots=True)
class Community:
    """All nodes of a testnet, and the rounds that they have committed."""

    overview: Overview
    directory: Path
    nodes: list[Watched] = field(default_factory=list)
    rows: list[HistoryRow] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.nodes = [Watched(n.name, n.node_id, self.directory / n.datadir) for n in self.overview.nodes]

    def refresh(self) -> None:
        """Ask every node, and the one that is furthest for the rounds that are new."""
        for node in self.nodes:
            node.ask()
        known = self.rows[-1].round if self.rows else 0
        for node in sorted(self.answering(), key=lambda n: -n.status.round if n.status else 0)[:1]:
            assert node.status is not None
            if node.api is None or node.status.round <= known:
                continue
            try:
                self.rows += node.api.read("/v1/history", list[HistoryRow], first=known + 1, count=HISTORY_STEP)
            except CommandError:
                node.close()  # it is asked again at the next look

    def answering(self) -> list[Watched]:
        """Nodes that answered the last time."""
        return [node for node in self.nodes if node.status is not None and node.silent is None]

    def close(self) -> None:
        """Close all connections."""
        for node in self.nodes:
            node.close()

    def name_of(self, node_id: str) -> str:
        """A node's name in the testnet."""
        return next((node.name for node in self.nodes if node.node_id == node_id), short(node_id))

    @property
    def accuracies(self) -> list[tuple[float, float]]:
        """(model's round, accuracy on the members' rows) of all rounds that have one."""
        return [(float(row.round - 1), row.accuracy) for row in self.rows if row.accuracy is not None]

    @property
    def worst(self) -> list[tuple[float, float]]:
        """The same of the lowest word of a judge."""
        return [(float(row.round - 1), row.worst) for row in self.rows if row.worst is not None]


def live_view(community: Community, console: Console) -> RenderableType:
    """The picture of a running testnet."""
    overview, nodes = community.overview, community.nodes
    rounds = [node.status.round for node in nodes if node.status is not None]
    low, high = (min(rounds), max(rounds)) if len(rounds) == len(nodes) else (0, max(rounds, default=0))
    head = Text.assemble((f"{overview.name}  ", "bold"), f"chain {short(overview.chain_id)}  task {overview.task}  ")
    head.append(f"{len(community.answering())} of {len(nodes)} nodes  {duration(time.monotonic() - community.started)}")
    parts: list[RenderableType] = [head, _bar(overview.last_round, low, high)]
    if community.rows:
        row = community.rows[-1]
        committee = " ".join(community.name_of(id_) for id_ in row.committee[:8])
        parts.append(Text(f"model {row.round}: {row.packed}/{row.places} packed in {row.seconds:.1f} s, decided by {committee}"))
    parts.append(_node_table(community))
    drawn = accuracy_view(community, console, rows=7)
    if drawn is not None:
        parts.append(drawn)
    return Group(*parts)


def _bar(last: int, low: int, high: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    spread = "" if low == high else f" (the last node is at {low})"
    if last:
        grid.add_row(ProgressBar(total=last, completed=min(high, last), width=40), Text(f"round {high} of {last}{spread}"))
    else:
        grid.add_row(Text(f"round {high}{spread}"))
    return grid


def _node_table(community: Community) -> RenderableType:
    order = sorted(community.nodes, key=lambda node: node.status.round if node.status else -1)
    shown = community.nodes if len(order) <= MAX_ROWS else order[:MAX_ROWS]
    rows = []
    for node in shown:
        status = node.status
        if status is None:
            rows.append((node.name, node.note, "", "", "", ""))
            continue
        phase = node.note or ("done" if status.done else status.phase)
        waits = _named(community, status.waiting_for)
        rows.append(
            (node.name, phase, status.role, str(status.round), str(status.peers), waits or "; ".join(status.warnings)[:60])
        )
    return table(("node", "phase", "role", ">round", ">peers", "~waiting for"), rows)


def _named(community: Community, text: str) -> str:
    """Short ids in a text replaced by the testnet's names."""
    for node in community.nodes:
        text = text.replace(short(node.node_id), node.name)
    return text


def accuracy_view(community: Community, console: Console, *, rows: int) -> RenderableType | None:
    """The curve of the accuracy on the members' rows; None before there are two points."""
    points = community.accuracies
    drawn = curve(points, width=min(console.width, 100), height=rows, unicode=console.encoding.startswith("utf"))
    if not drawn:
        return None
    worst = f", {share(community.worst[-1][1])} where it is worst" if community.worst else ""
    title = f"accuracy on the members' rows, {share(points[-1][1])} at model {points[-1][0]:.0f}{worst}"
    return Group(Text(title, style="bold"), Text(drawn, style="cyan"))


def plain_line(community: Community, row: HistoryRow) -> str:
    """One committed round, for outputs that are no terminal."""
    of = f"/{community.overview.last_round}" if community.overview.last_round else ""
    committee = " ".join(community.name_of(id_) for id_ in row.committee[:8])
    return (
        f"model {row.round}{of}  accuracy before {share(row.accuracy)}  packed {row.packed}/{row.places}  "
        f"{row.seconds:.1f} s  view {row.view}  decided by {committee}"
    )


def status_table(nodes: Iterable[Watched]) -> RenderableType:
    """One line a node: where it stands and what it takes."""
    rows = []
    for node in nodes:
        status = node.status
        if status is None:
            rows.append((node.name, "down" if node.note == "starting" else node.note, "", "", "", "", "", ""))
            continue
        rows.append(
            (
                node.name,
                "done" if status.done else status.phase,
                str(status.height),
                str(status.round),
                short(status.head_hash),
                short(status.state_hash),
                size(status.size_on_disk),
                size(status.memory_rss),
            )
        )
    return table(("node", "phase", ">height", ">round", "head", "state", ">store", ">memory"), rows)
