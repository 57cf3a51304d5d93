"""`top`: the running round on one screen, redrawn a few times a second."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bflc_cli.client import Api, connect
from bflc_cli.curve import curve
from bflc_cli.session import CommandError, Session, finite
from bflc_cli.tables import facts, table, warning_lines
from bflc_cli.text import duration, nats, share, short, size
from bflcd.api.schema.chain import HistoryRow
from bflcd.api.schema.members import CommitteeView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Peer, Status
from bflcd.errors import UsageError
from bflcd.limits import visible

HISTORY_ROWS: Final = 400
"""Rounds in the curve."""

CURVE_ROWS: Final = 8
CURVE_COLUMNS: Final = 100

MAX_ROWS: Final = 16
"""Nodes listed before the rest becomes a count."""


@dataclass(slots=True)
class Frame:
    """What one screen shows."""

    status: Status
    round: RoundView
    committee: CommitteeView
    peers: list[Peer]
    history: list[HistoryRow] = field(default_factory=list)


def fetch(api: Api, known: list[HistoryRow]) -> Frame:
    """Ask for everything; history only from the last row that is known. Raises CommandError."""
    status = api.read("/v1/status", Status)
    rows = list(known)
    if not rows or rows[-1].round < status.round:
        first = rows[-1].round + 1 if rows else max(1, status.round - HISTORY_ROWS + 1)
        rows += api.read("/v1/history", list[HistoryRow], first=first, count=HISTORY_ROWS)
    return Frame(
        status,
        api.read("/v1/round", RoundView),
        api.read("/v1/committee", CommitteeView),
        api.read("/v1/peers", list[Peer]),
        rows[-HISTORY_ROWS:],
    )


def render(frame: Frame, console: Console) -> RenderableType:
    """The screen for a console of any size."""
    status, view = frame.status, frame.round
    head = Text.assemble(
        (visible(f"{status.name} "), "bold"),
        f"chain {short(status.chain_id)}  node {short(status.node_id)} ",
        (status.role, "cyan"),
        f"  {status.peers} peers  {size(status.size_on_disk)}  {size(status.memory_rss)}  up {duration(status.uptime)}",
    )
    parts: list[RenderableType] = [head, _round_line(status, view)]
    if view.waiting_for:
        parts.append(Text(visible(f"waiting for {view.waiting_for}"), style="yellow"))
    parts += warning_lines(status.warnings)
    parts += [Text(), _columns(frame)]
    drawn = _accuracy(frame, console)
    if drawn is not None:
        parts += [Text(), drawn]
    return Group(*parts)


def _round_line(status: Status, view: RoundView) -> RenderableType:
    of = f" of {status.last_round}" if status.last_round else ""
    text = Text.assemble(
        ("round ", "bold"),
        f"{view.round}{of}  view {view.view}  ",
        ("done" if status.done else view.phase, "green"),
        f"  {duration(view.started_ms_ago / 1000)}  leader {short(view.leader)}",
        f"  last commit {duration(status.last_commit_age)} ago",
    )
    if not status.last_round:
        return text
    line = Table.grid(padding=(0, 2))
    line.add_row(text, ProgressBar(total=status.last_round, completed=min(status.round, status.last_round), width=24))
    return line


def _columns(frame: Frame) -> RenderableType:
    grid = Table.grid(padding=(0, 4))
    grid.add_row(_committee(frame), _offers(frame))
    return grid


def _committee(frame: Frame) -> RenderableType:
    view = frame.round
    carded = {card.member for card in view.cards}
    votes = (("P", set(view.votes.prepare)), ("C", set(view.votes.commit)), ("V", set(view.votes.view_change)))
    rows = [
        (
            short(seat.node_id) + (" *" if seat.me else ""),
            "leader" if seat.node_id == view.leader else "" if seat.present else "absent",
            "card" if seat.node_id in carded else "-",
            "".join(letter if seat.node_id in voters else "." for letter, voters in votes),
        )
        for seat in frame.committee.members[:MAX_ROWS]
    ]
    return table(("committee", "", "card", "votes"), rows)


def _offers(frame: Frame) -> RenderableType:
    decided = {row.uploader: row for row in frame.round.last_decision}
    offers = {offer.uploader: offer for offer in frame.round.offers}
    names = sorted({*offers, *decided} - set(frame.status.committee))
    rows = []
    for name in names[:MAX_ROWS]:
        offer, row = offers.get(name), decided.get(name)
        state = "-" if offer is None else "scored" if offer.scored else "held" if offer.have else "offered"
        before = "" if row is None else f"{nats(row.score)} {'packed' if row.packed else row.reason}"
        rows.append((short(name), state, before))
    if len(names) > MAX_ROWS:
        rows.append((f"{len(names) - MAX_ROWS} more", "", ""))
    if not rows:
        return facts([("trainers", "no offer yet")])
    return table(("trainer", "offer", "last score"), rows)


def _accuracy(frame: Frame, console: Console) -> RenderableType | None:
    points = [(float(row.round - 1), row.accuracy) for row in frame.history if row.accuracy is not None]
    if len(points) < 2:
        return None
    drawn = curve(points, width=min(console.width, CURVE_COLUMNS), height=CURVE_ROWS, unicode=console.encoding.startswith("utf"))
    title = Text.assemble(("accuracy on the members' rows: ", "bold"), f"{share(points[-1][1])} (model {points[-1][0]:.0f})")
    return Group(title, Text(drawn, style="cyan"))


def top(
    ctx: typer.Context,
    *,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, max=60, callback=finite, help="Seconds between two pictures.")
    ] = 0.5,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end; so too where stdout is no terminal.")] = False,
) -> None:
    """Watch the round: committee, offers, cards, votes, accuracy. q quits."""
    session: Session = ctx.obj
    if session.json:
        raise UsageError("top is for people", hint="use status, round or events with --json")
    if once or not session.out.is_terminal:
        with connect(session) as api:
            session.show(render(fetch(api, []), session.out))
        return
    try:
        _watch(session, interval)
    except KeyboardInterrupt:
        return


def _watch(session: Session, interval: float) -> None:
    api, history, pause = connect(session), list[HistoryRow](), 0.0
    with _keys() as pressed, Live(console=session.out, screen=True, auto_refresh=False) as live:
        try:
            while not pressed(pause):
                pause = interval
                try:
                    frame = fetch(api, history)
                    history = frame.history
                    live.update(render(frame, session.out), refresh=True)
                except CommandError as error:
                    live.update(Text(f"{error}\nwaiting for the daemon; q quits", style="yellow"), refresh=True)
                    api = _again(session, api)
        finally:
            api.close()


def _again(session: Session, api: Api) -> Api:
    """A new connection where the daemon has started again (its token is new), else the old one."""
    try:
        found = connect(session)
    except CommandError:
        return api
    api.close()
    return found


@contextmanager
def _keys() -> Iterator["Pressed"]:
    """Read single keys while the screen is ours; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield Pressed(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Pressed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@dataclass(frozen=True, slots=True)
class Pressed:
    """Waits for a key; without a terminal it only waits."""

    descriptor: int | None

    def __call__(self, seconds: float) -> bool:
        """Whether q was pressed within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            if self.descriptor is None:
                time.sleep(left)
                return False
            if not select.select([self.descriptor], [], [], left)[0]:
                return False
            if b"q" in os.read(self.descriptor, 64).lower():
                return True


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("top")(top)
