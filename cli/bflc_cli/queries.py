"""Commands that ask the daemon one thing and show the answer."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import RenderableType

from bflc_cli.client import connect, find_daemon
from bflc_cli.session import Session
from bflc_cli.tables import committee_view, history_csv, history_view, members_view, peers_view, round_view, status_view
from bflcd.api.schema.chain import MAX_HISTORY, HistoryRow
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Peer, Status
from bflcd.errors import UsageError
from bflcd.limits import LARGEST_NUMBER


def _show(ctx: typer.Context, path: str, kind: Any, view: Callable[[Any], RenderableType], **params: int | None) -> None:
    session: Session = ctx.obj
    with connect(session) as api:
        data = api.get(path, **params)
    session.emit(data, lambda: session.show(view(msgspec.convert(data, kind))))


def status(ctx: typer.Context) -> None:
    """Where the node stands: round, head, role, peers, accuracy, warnings."""
    _show(ctx, "/v1/status", Status, status_view)


def peers(ctx: typer.Context) -> None:
    """Open connections."""
    _show(ctx, "/v1/peers", list[Peer], peers_view)


def round_(ctx: typer.Context) -> None:
    """The running round: offers, score cards, votes, who is missing."""
    _show(ctx, "/v1/round", RoundView, round_view)


def committee(ctx: typer.Context) -> None:
    """Who holds a seat in the running round."""
    _show(ctx, "/v1/committee", CommitteeView, committee_view)


def members(ctx: typer.Context) -> None:
    """All members of the alliance with their accounts."""
    _show(ctx, "/v1/members", list[MemberView], members_view)


def history(
    ctx: typer.Context,
    *,
    first: Annotated[
        int | None, typer.Option("--from", min=1, max=LARGEST_NUMBER, help="Round of the first row; default: the newest rows.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_HISTORY, help="Rows.")] = 20,
    as_csv: Annotated[bool, typer.Option("--csv", help="A line of names, then a line of plain numbers a model.")] = False,
) -> None:
    """Committed models: accuracy, packed updates, who decided; also of a stopped node. --csv for curves."""
    session: Session = ctx.obj
    if as_csv and session.json:
        raise UsageError("--csv and --json contradict each other", hint="give one of them")
    api = find_daemon(session)
    if api is None:
        rows = asyncio.run(_read_history(session.need_datadir(), first, count))
    else:
        with api:
            rows = api.read("/v1/history", list[HistoryRow], first=first, count=count)
    if as_csv:
        sys.stdout.write(history_csv(rows))
    else:
        session.emit(rows, lambda: session.show(history_view(rows)))


async def _read_history(datadir: Path, first: int | None, count: int) -> list[HistoryRow]:
    """Of a stopped node, from its store."""
    from bflc_cli.offline import read_history  # noqa: PLC0415 - the store is opened only here

    return await read_history(datadir, first, count)


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("status")(status)
    app.command("peers")(peers)
    app.command("round")(round_)
    app.command("committee")(committee)
    app.command("members")(members)
    app.command("history")(history)
