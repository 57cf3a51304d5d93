"""`testnet up` and `testnet status`: a whole community of daemons on this machine."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.live import Live
from rich.text import Text

from bflc_cli.community import Community, accuracy_view, live_view, plain_line, status_table
from bflc_cli.fleet import Fleet, Stopped, read_overview, signals_stop
from bflc_cli.session import CommandError, Session, finite
from bflc_cli.tables import table
from bflc_cli.text import duration, share, short, size
from bflcd.api.schema.status import Status
from bflcd.errors import MachineError, OperatorError
from bflcd.files import named
from bflcd.pictures import check_picture, write_picture
from bflcd.setup.overview import Overview

if TYPE_CHECKING:
    from bflcd.inspect.chain_check import VerifyReport

POLL_SECONDS: Final = 0.4
"""Between two looks at all nodes."""

Directory = Annotated[Path, typer.Argument(help="What `bflcd testnet` made.", show_default=False)]


@dataclass(slots=True)
class Run:
    """What one `testnet up` has come to. `problems` are why it is not a success."""

    session: Session
    community: Community
    fleet: Fleet
    problems: list[str] = field(default_factory=list)
    code: str = "failed"
    interrupted: bool = False
    concluded: bool = False
    seconds: float = 0.0
    finals: dict[str, Status] = field(default_factory=dict)
    reports: dict[str, "VerifyReport"] = field(default_factory=dict)
    test_accuracy: float | None = None
    printed: int = 0

    def problem(self, text: str, code: str = "failed") -> None:
        """Note why this is no success, and tell it at once."""
        if not self.problems:
            self.code = code
        self.problems.append(text)
        self.session.err.print(Text(text, style="red"))


def up(
    ctx: typer.Context,
    *,
    directory: Directory,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, callback=finite, help="Seconds until it counts as failed; 0: never.")
    ] = 0,
    stagger: Annotated[float, typer.Option("--stagger", min=0, max=60, callback=finite, help="Seconds between two starts.")] = 0,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Go on after the last round until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option("--verify/--no-verify", help="Verify every node's chain at the end.")] = True,
    plot: Annotated[
        Path | None, typer.Option("--plot", parser=named, metavar="FILE", help="Write the accuracy curve to this PNG file.")
    ] = None,
) -> None:
    """Start the daemons of a testnet, show their progress to the last round, check that they agree, stop them."""
    session: Session = ctx.obj
    overview = _check(directory, plot)
    run = Run(session, Community(overview, directory), Fleet(directory, overview))
    with signals_stop():
        try:
            with run.fleet:
                _start(run, stagger)
                _follow(run, timeout)
                _collect(run)
                if keep_running and not run.problems:
                    _conclude(run, plot, check=check)
                    session.err.print("the daemons go on until Ctrl-C")
                    _keep(run)
        except Stopped as order:
            session.err.print(f"{order}: all daemons were stopped")
            if run.concluded:
                return
            raise CommandError("interrupted before the last round", code="interrupted") from None
        finally:
            run.community.close()
    if run.fleet.killed:
        session.err.print(Text(f"killed after 5 s: {', '.join(run.fleet.killed)}", style="yellow"))
    _conclude(run, plot, check=check and not run.interrupted)


def _check(directory: Path, plot: Path | None) -> Overview:
    """What can be refused before anything is started."""
    overview = read_overview(directory)
    if overview.mode != "loopback":
        raise CommandError(
            f"{directory} is made for containers",
            code="wrong_mode",
            hint=f"docker-compose -f {quote(f'{directory}/compose.yaml')} up",
        )
    check_picture(plot)
    return overview


def _start(run: Run, stagger: float) -> None:
    for index, daemon in enumerate(run.fleet.daemons):
        if index and stagger:
            time.sleep(stagger)
        run.fleet.start(daemon)


def _follow(run: Run, timeout: float) -> None:
    """Watch until every daemon that runs has reached the last round; a community without one until a signal."""
    try:
        _watch(run, timeout)
    except Stopped:
        if run.community.overview.last_round:
            raise
        run.interrupted = True
    run.seconds = time.monotonic() - run.community.started


def _watch(run: Run, timeout: float) -> None:
    deadline = time.monotonic() + timeout if timeout else None
    with _screen(run) as draw:
        while True:
            run.community.refresh()
            draw()
            for daemon in run.fleet.ended():
                run.problem(f"{daemon.entry.name} ended: {daemon.ending}", "daemon_died")
                for line in daemon.last_lines():
                    run.session.err.print(Text(f"  {line}"))
            alive = {daemon.entry.name for daemon in run.fleet.daemons if daemon.running}
            if not alive:
                run.problem("no daemon is left", "daemon_died")
                break
            if all(n.status is not None and n.status.done and n.silent is None for n in run.community.nodes if n.name in alive):
                break
            if deadline is not None and time.monotonic() >= deadline:
                run.problem(f"not done after {timeout:g} s: {_laggards(run)}", "timeout")
                break
            time.sleep(POLL_SECONDS)


def _laggards(run: Run) -> str:
    """Who is not done, and what the slowest says that it waits for."""
    late = [node for node in run.community.nodes if node.status is None or not node.status.done]
    late.sort(key=lambda node: node.status.round if node.status else -1)
    places = ", ".join(f"{node.name} at round {node.status.round if node.status else '-'}" for node in late[:8])
    waits = next((node.status.waiting_for for node in late if node.status is not None and node.status.waiting_for), "")
    return places + (f"; waiting for {waits}" if waits else "")


@contextmanager
def _screen(run: Run) -> Iterator[Any]:
    """A function that shows how it stands: a live picture on a terminal, a line a round elsewhere. Both on stderr."""
    console = run.session.err
    if not console.is_terminal:

        def lines() -> None:
            for row in run.community.rows[run.printed :]:
                console.print(plain_line(run.community, row))
            run.printed = len(run.community.rows)

        yield lines
        return
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        yield lambda: live.update(live_view(run.community, console), refresh=True)


def _collect(run: Run) -> None:
    """The last word of every node, and whether they agree."""
    run.community.refresh()
    run.finals = {node.name: node.status for node in run.community.answering() if node.status is not None}
    heads = {(status.head_hash, status.state_hash, status.model_hash) for status in run.finals.values() if status.done}
    if len(heads) > 1:
        run.problem(f"the nodes hold {len(heads)} different heads", "disagree")


def _keep(run: Run) -> None:
    while True:
        for daemon in run.fleet.ended():
            run.problem(f"{daemon.entry.name} ended: {daemon.ending}", "daemon_died")
        time.sleep(POLL_SECONDS)


def _verify_all(run: Run) -> None:
    """Walk every node's chain, then measure the one model that all of them hold."""
    from bflc_cli.offline import measure_model, verify_datadir  # noqa: PLC0415 - numpy and the store
    from bflcd.errors import BflcError  # noqa: PLC0415

    with run.session.err.status("verifying") as shown:
        for daemon in run.fleet.daemons:
            name = daemon.entry.name
            shown.update(f"verifying {name}")
            try:
                report = asyncio.run(verify_datadir(daemon.datadir, deep=False, on_progress=lambda _: None))
            except BflcError as error:
                run.problem(f"{name} can't be verified: {error}", "verify_failed")
                continue
            run.reports[name] = report
            final = run.finals.get(name)
            for finding in report.findings[:4]:
                run.problem(f"{name}: {finding.where}: {finding.text}", "verify_failed")
            if final is not None and final.done and (report.head_hash, report.state_hash) != (final.head_hash, final.state_hash):
                run.problem(f"{name} holds another head than it said", "verify_failed")
        holders = [d for d in run.fleet.daemons if (found := run.reports.get(d.entry.name)) is not None and found.model_held]
        if not holders:
            run.problem("no node holds the newest model", "verify_failed")
        elif not run.problems:
            shown.update("measuring the model on test data")
            try:
                run.test_accuracy = asyncio.run(measure_model(holders[0].datadir, run.reports[holders[0].entry.name].model_hash))
            except BflcError as error:
                run.problem(f"the model can't be measured: {error}", "measure_failed")


def _conclude(run: Run, plot: Path | None, *, check: bool) -> None:
    """The result: tables and curve, or JSON; raises CommandError if it is no success."""
    if check:
        _verify_all(run)
    run.concluded = True
    data = _result(run)
    if plot is not None:
        try:
            _write_plot(run.community, plot)
        except (OperatorError, MachineError) as error:  # all else that was found is told all the same
            run.problem(str(error), error.code)
    session = run.session
    if not session.json:
        _print_result(run)
    if run.problems:
        raise CommandError(
            "; ".join(run.problems[:4]), code=run.code, hint="see console.log and log/bflcd.log of the nodes", data=data
        )
    session.emit(data, lambda: None)


def _result(run: Run) -> dict[str, Any]:
    nodes = []
    for daemon in run.fleet.daemons:
        name = daemon.entry.name
        final, report = run.finals.get(name), run.reports.get(name)
        nodes.append(
            {
                "name": name,
                "node_id": daemon.entry.node_id,
                "height": final.height if final else None,
                "round": final.round if final else None,
                "head_hash": final.head_hash if final else None,
                "state_hash": final.state_hash if final else None,
                "size_on_disk": final.size_on_disk if final else None,
                "memory_rss": final.memory_rss if final else None,
                "verified": report.ok if report else None,
                "exit_code": daemon.code,
            }
        )
    rows = run.community.rows
    return {
        "chain_id": run.community.overview.chain_id,
        "agree": len(run.finals) == len(nodes) and len({final.head_hash for final in run.finals.values()}) == 1,
        "verified": bool(run.reports) and len(run.reports) == len(nodes) and all(report.ok for report in run.reports.values()),
        "rounds": rows[-1].round if rows else 0,
        "seconds": round(run.seconds, 3),
        "round_seconds": _round_seconds(run),
        "accuracy": run.community.accuracies[-1][1] if run.community.accuracies else None,
        "test_accuracy": run.test_accuracy,
        "nodes": nodes,
        "history": rows,
    }


def _print_result(run: Run) -> None:
    session = run.session
    rows = []
    for daemon in run.fleet.daemons:
        final, report = run.finals.get(daemon.entry.name), run.reports.get(daemon.entry.name)
        checked = "-" if report is None else "verified" if report.ok else "DAMAGED"
        if final is None:
            rows.append((daemon.entry.name, "-", "-", "-", "-", "-", "-", checked))
            continue
        ids = (short(final.head_hash), short(final.state_hash))
        rows.append(
            (
                daemon.entry.name,
                str(final.height),
                str(final.round),
                *ids,
                size(final.size_on_disk),
                size(final.memory_rss),
                checked,
            )
        )
    session.show(table(("node", ">height", ">round", "head", "state", ">store", ">memory", "chain"), rows))
    drawn = accuracy_view(run.community, session.out, rows=12)
    if drawn is not None:
        session.show(drawn)
    count = run.community.rows[-1].round if run.community.rows else 0
    each = f", a round takes {_round_seconds(run):.2f} s (median)" if count > 1 else ""
    session.show(Text(f"{count} rounds in {duration(run.seconds)} with the start{each}"))
    if run.test_accuracy is not None:
        session.show(Text(f"test accuracy {share(run.test_accuracy)}", style="bold"))
    if not run.problems and run.finals and not run.interrupted:
        checked = ", every chain verified" if run.reports else ""
        session.show(Text(f"all {len(run.finals)} nodes agree{checked}", style="green"))
        session.show(Text(f"head {next(iter(run.finals.values())).head_hash}"))


def _round_seconds(run: Run) -> float | None:
    """Median time of a round; the first is counted from the genesis and says nothing."""
    later = [row.seconds for row in run.community.rows if row.round > 1]
    return statistics.median(later) if later else None


def _write_plot(community: Community, path: Path) -> None:
    """The curve, and that of the judge whose rows are worst, as a PNG drawn without a display."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(7, 4), layout="constrained")
    title = f"{community.overview.name}: {community.overview.task}"
    axes = figure.add_subplot(xlabel="model", ylabel="accuracy on the members' rows", title=title)
    for name, points in (("median of the judges", community.accuracies), ("worst of them", community.worst)):
        axes.plot([x for x, _ in points], [y for _, y in points], label=name)
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    write_picture(figure, path)


def status(ctx: typer.Context, *, directory: Directory) -> None:
    """One line for each node of a testnet: where it stands, and whether it runs at all."""
    session: Session = ctx.obj
    community = Community(read_overview(directory), directory)
    try:
        community.refresh()
    finally:
        community.close()
    data = {node.name: node.status for node in community.nodes}
    session.emit({"nodes": data, "running": len(community.answering())}, lambda: session.show(status_table(community.nodes)))


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    testnet = typer.Typer(help="A community of daemons on this machine.", no_args_is_help=True, rich_markup_mode=None)
    testnet.command("up")(up)
    testnet.command("status")(status)
    app.add_typer(testnet, name="testnet")
