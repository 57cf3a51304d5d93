"""Who has what, who owes what and who earned what; paying."""

import asyncio
import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from bflc_cli.client import Api, connect, find_daemon
from bflc_cli.governance.alliance import sign
from bflc_cli.governance.recover import whole_id
from bflc_cli.session import CommandError, Session, finite
from bflc_cli.tables import facts, table
from bflc_cli.text import round_of, short
from bflcd.api.schema.chain import MAX_HISTORY
from bflcd.api.schema.money import EarningsRow, LedgerMember, LedgerView
from bflcd.api.schema.status import Status
from bflcd.files import check_place, named, write_whole
from bflcd.limits import LARGEST_NUMBER
from bflcd.pictures import check_picture, write_picture

MAX_MODELS: Final = 1_000_000
"""Models whose rewards one command reads."""

MOST_LINES: Final = 10
"""Members that a plot gives a line of their own; the others are one together."""

SUMS: Final = ("pay", "taken", "given", "fees", "deposits")
"""Amounts of a row of earnings, by their names in the API."""

CSV_COLUMNS: Final = ("round", "time", "node_id", "packed", *SUMS)


def ledger(ctx: typer.Context) -> None:
    """All units: supply, pool, burnt, and what each member has and owes."""
    session: Session = ctx.obj
    view = _read(session)
    session.emit(view, lambda: session.show(ledger_view(view)))


def balance(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="[NODE]", help="A member's id or its beginning; without it this node.")] = "",
) -> None:
    """What a member has, and what it owes."""
    session: Session = ctx.obj
    view = _read(session)
    if node:
        wanted = whole_id(node, [one.node_id for one in view.members], "NODE")
        found = next(one for one in view.members if one.node_id == wanted)
    else:
        mine = [one for one in view.members if one.me]
        if not mine:
            raise CommandError("this node has no account yet", code="no_account", hint="a manager admits it; or name a member")
        found = mine[0]
    session.emit(found, lambda: session.show(balance_view(found, view.round)))


def pay(
    ctx: typer.Context,
    *,
    node: Annotated[
        str,
        typer.Option("--for", metavar="NODE", help="For whom: a member's id or its beginning; default: this node."),
    ] = "",
    most: Annotated[
        int, typer.Option("--most", min=0, max=LARGEST_NUMBER, help="Sign nothing that costs more units; 0: whatever it costs.")
    ] = 0,
    patience: Annotated[
        float, typer.Option("--wait-for", min=0, max=86_400, callback=finite, help="Seconds to wait for the block.")
    ] = 60,
) -> None:
    """Pay a member's next period from this node's balance, with what it owes of entry fee and deposit."""
    sign(ctx, {"kind": "pay", "node": node, "amount": most}, patience)


def rewards(
    ctx: typer.Context,
    *,
    first: Annotated[
        int | None, typer.Option("--from", min=1, max=LARGEST_NUMBER, help="Round of the first model; default: the newest ones.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_MODELS, help="Models.")] = 1000,
    table_file: Annotated[
        Path | None, typer.Option("--csv", parser=named, metavar="FILE", help="Write a line for each member and model.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", parser=named, metavar="FILE", help="Draw who earned what into this PNG file.")
    ] = None,
) -> None:
    """Who earned what, from what: packed updates, pay, transfers, fees; also of a stopped node."""
    session: Session = ctx.obj
    check_picture(plot)
    if table_file is not None:
        check_place(table_file)
    api = find_daemon(session)
    if api is None:
        rows = asyncio.run(_read_stopped(session.need_datadir(), first, count))
    else:
        with api:
            rows = _read_rows(api, first, count)
    if table_file is not None:
        write_whole(table_file, earnings_csv(rows).encode())
    if plot is not None:
        _draw(rows, plot)
    found = totals(rows)
    session.emit([asdict(one) for one in found], lambda: session.show(rewards_view(found)))


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (ledger, balance, pay, rewards):
        app.command()(command)


# -- reading ------------------------------------------------------------------------------------------------------------------


def _read(session: Session) -> LedgerView:
    with connect(session) as api:
        return api.read("/v1/ledger", LedgerView)


def _read_rows(api: Api, first: int | None, count: int) -> list[EarningsRow]:
    """In as many answers as it takes."""
    last = api.read("/v1/status", Status).round
    begin = max(1, last - count + 1) if first is None else first
    end = min(begin + count, last + 1)
    rows: list[EarningsRow] = []
    for start in range(begin, end, MAX_HISTORY):
        rows += api.read("/v1/earnings", list[EarningsRow], first=start, count=min(MAX_HISTORY, end - start))
    return rows


async def _read_stopped(datadir: Path, first: int | None, count: int) -> list[EarningsRow]:
    from bflc_cli.offline import read_earnings  # noqa: PLC0415 - the store is opened only here

    return await read_earnings(datadir, first, count)


# -- adding up ----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Earned:
    """One member over the models that were read. `packed`: how many of its updates were; `net`: what all of it adds up to."""

    node_id: str
    packed: int = 0
    pay: int = 0
    taken: int = 0
    given: int = 0
    fees: int = 0
    deposits: int = 0
    net: int = 0


def totals(rows: Iterable[EarningsRow]) -> list[Earned]:
    """By member, the best paid first."""
    found: dict[str, Earned] = {}
    for row in rows:
        one = found.setdefault(row.node_id, Earned(row.node_id))
        one.packed += row.packed
        for name in SUMS:
            setattr(one, name, getattr(one, name) + getattr(row, name))
        one.net += row.pay + row.taken - row.given - row.fees - row.deposits
    return sorted(found.values(), key=lambda one: (-one.pay, one.node_id))


# -- showing ------------------------------------------------------------------------------------------------------------------


def ledger_view(view: LedgerView) -> RenderableType:
    """Where all units are, then account by account."""
    terms = view.terms
    pairs = [
        ("supply", f"{view.supply} units in round {view.round}"),
        ("of which", f"balances {view.balances}, deposits {view.deposits}, pool {view.pool}, burnt {view.burnt}"),
        ("rewards", f"{100 * terms.reward_share:g}% of the pool after each aggregation"),
        ("fees", f"entry {terms.entry_fee}, {terms.period_fee} for each {terms.period_rounds} rounds"),
        ("deposit", f"{terms.deposit}, free {terms.deposit_rounds} rounds after who leaves"),
    ]
    rows = (
        (
            short(one.node_id) + (" *" if one.me else ""),
            str(one.balance),
            str(one.deposit),
            round_of(one.paid_round) if one.price else "-",
            str(one.owes) if one.owes else "",
            " ".join(filter(None, ("" if one.standing == "member" else one.standing, "left out" if one.left_out else ""))),
        )
        for one in view.members
    )
    return Group(facts(pairs), Text(), table(("node", ">balance", ">deposit", ">paid through", ">owes", ""), rows))


def balance_view(one: LedgerMember, round_: int) -> RenderableType:
    """One account."""
    paid = "never" if one.paid_round < 0 else f"through round {one.paid_round}"
    due = f"{paid}; its next period costs {one.price}" if one.price else "nothing is asked for"
    pairs = [
        ("node", f"{one.node_id}, {one.standing}"),
        ("balance", f"{one.balance} units in round {round_}"),
        ("deposit", str(one.deposit)),
        ("paid", due),
    ]
    if one.owes_text:
        pairs.append(("owes", one.owes_text + ("; it is left out until that is paid" if one.left_out else "")))
    return facts(pairs)


def rewards_view(found: list[Earned]) -> RenderableType:
    """One line a member."""
    if not found:
        return Text("nobody was packed, paid or gave anything")
    rows = ((short(one.node_id), str(one.packed), *(str(getattr(one, name)) for name in SUMS), str(one.net)) for one in found)
    return table(("node", ">packed", ">pay", ">given to it", ">given away", ">fees paid", ">deposits paid", ">net"), rows)


def earnings_csv(rows: Iterable[EarningsRow]) -> str:
    """A line of names, then one of plain numbers for each member and model."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        values = (getattr(row, name) for name in CSV_COLUMNS)
        writer.writerow([int(value) if isinstance(value, bool) else value for value in values])
    return text.getvalue()


def earned_lines(rows: Iterable[EarningsRow]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Pay from the first model on, as it grew: a line for each of the best paid, one for all others together."""
    paid = [row for row in rows if row.pay]
    best = [one.node_id for one in totals(paid)[:MOST_LINES]]
    others = "all others"
    names = [short(node) for node in best] + ([others] if {row.node_id for row in paid} - set(best) else [])
    lines: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for row in paid:
        line = lines[short(row.node_id) if row.node_id in best else others]
        line.append((row.round, row.pay + (line[-1][1] if line else 0)))
    return list(lines.items())


def _draw(rows: list[EarningsRow], path: Path) -> None:
    """Two pictures in a PNG, drawn without a display: pay as it grew, and what each member has gained and spent."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    grown, sums = figure.subplots(1, 2)
    for name, line in earned_lines(rows):
        grown.step([x for x, _ in line], [y for _, y in line], where="post", label=name)
    grown.set(xlabel="model", ylabel="units", title="paid for updates, in all")
    grown.xaxis.set_major_locator(MaxNLocator(integer=True))
    shown = totals(rows)[: 2 * MOST_LINES]
    places = list(range(len(shown)))
    for label, sign_, names in (("earned", 1, ("pay", "taken")), ("spent", -1, ("fees", "deposits", "given"))):
        left = [0] * len(shown)
        for name in names:
            widths = [sign_ * getattr(one, name) for one in shown]
            sums.barh(places, widths, left=left, label=f"{label}: {name}")
            left = [a + b for a, b in zip(left, widths, strict=True)]
    sums.set(xlabel="units", title="from what, and for what")
    sums.set_yticks(places, [short(one.node_id) for one in shown])
    sums.invert_yaxis()
    for axes in (grown, sums):
        axes.grid(visible=True, alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    write_picture(figure, path)
