"""`lab`: simulations of whole communities in one process. torch and the laboratory are imported when a command needs them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bflc_cli.fleet import read_overview
from bflc_cli.lab_progress import Shown, progress_bar
from bflc_cli.session import CommandError, Session, finite, one_of
from bflc_cli.tables import facts, table
from bflc_cli.text import duration, share
from bflcd.errors import UsageError
from bflcd.files import make_folder
from bflcd.learn.attacks import ATTACKS
from bflcd.limits import LARGEST_NUMBER
from bflcd.setup.overview import FILE_NAME as OVERVIEW_FILE

if TYPE_CHECKING:
    from bflcd.lab.grid import Grid, Results
    from bflcd.lab.report import Report
    from bflcd.lab.scale import Plan
    from bflcd.lab.simulation import Machine

share_option = partial(typer.Option, callback=finite)

lab_app = typer.Typer(
    name="lab",
    help="Simulate hundreds of devices: the paper's experiments and your own. These options may stand behind the command.",
    no_args_is_help=True,
)

SHARED: Final = (
    "--data", "--scale", "--seeds", "--first-seed", "--rounds", "--devices", "--model", "--device", "--precision", "--stack",
    "--threads", "--jobs", "--ray", "--output",
)  # fmt: skip
"""Options of `lab` itself; each takes a value."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The options of `lab`, and the session."""

    session: Session
    data: Path | None
    scale: str
    seeds: tuple[int, ...]
    rounds: int | None
    devices: int | None
    model: str | None
    device: str
    precision: str
    stack: int
    threads: int
    jobs: int
    ray: str | None
    output: Path

    def plan(self) -> "Plan":
        """What all simulations of one command share. Raises UsageError, OperatorError (data)."""
        from bflcd.lab.scale import ScaleName, make_plan  # noqa: PLC0415 - torch

        scale = one_of("--scale", self.scale, tuple(ScaleName))
        return make_plan(ScaleName(scale), self.seeds, data=self.data, model=self.model, rounds=self.rounds, devices=self.devices)

    def machine(self) -> "Machine":
        """Where it is computed. Raises UsageError."""
        from bflcd.lab.engine.base import PRECISIONS  # noqa: PLC0415 - torch
        from bflcd.lab.simulation import Machine  # noqa: PLC0415
        from bflcd.learn.device import DEVICES  # noqa: PLC0415

        device = one_of("--device", self.device, DEVICES)
        return Machine(device, one_of("--precision", self.precision, tuple(PRECISIONS)), self.stack, self.threads)


@lab_app.callback()
def lab(
    ctx: typer.Context,
    *,
    data: Annotated[Path | None, typer.Option("--data", help="File with the data (EMNIST, LEAF, .npz); without: digits.")] = None,
    scale: Annotated[
        str, typer.Option("--scale", help="small: 100 devices, minutes. medium: 300, hours. full: 900, a GPU.")
    ] = "small",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Seeds of every cell of an experiment.")] = 3,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, max=LARGEST_NUMBER, help="The first of them.")] = 0,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=LARGEST_NUMBER, help="Rounds, instead of the scale's.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option("--devices", min=2, max=LARGEST_NUMBER, help="Devices, instead of the scale's.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="cnn, light or alexnet, instead of the scale's.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where to compute: auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="Of products: float32, tf32 (a GPU's) or bf16.")] = "float32",
    stack: Annotated[int, typer.Option("--stack", min=1, max=4096, help="Devices trained at once on a GPU.")] = 256,
    threads: Annotated[int, typer.Option("--threads", min=0, max=1024, help="Threads on a CPU, in all; 0: one a core.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=0, max=1024, help="Simulations side by side; 0: to use all threads.")] = 0,
    ray: Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help="Hand simulations to a Ray cluster.")] = None,
    output: Annotated[
        Path, typer.Option("--output", help="Folder of the results; what is finished there is not run again.")
    ] = Path("lab"),
) -> None:
    """Take the options that the experiments share."""
    Path.cwd()  # where it is gone, torch's libraries end the process without a word of ours
    ctx.obj = Bench(
        ctx.obj,
        data,
        scale,
        tuple(range(first_seed, first_seed + seeds)),
        rounds,
        devices,
        model,
        device,
        precision,
        stack,
        threads,
        jobs,
        ray,
        output,
    )


@lab_app.command()
def table1(
    ctx: typer.Context,
    *,
    active: Annotated[list[float] | None, share_option("--active", help="A share of active devices; repeat for more.")] = None,
) -> None:
    """Table I: BFLC, Basic FL and stand-alone training over the share of active devices."""
    from bflcd.lab.experiments.table1 import ACTIVE, table1_grid, table1_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    _experiment(bench, "table1", table1_grid(bench.plan(), tuple(active or ACTIVE)), table1_report)


@lab_app.command()
def fig3(
    ctx: typer.Context,
    *,
    p: Annotated[float | None, share_option("--p", help="The committee's share of the devices: one point only.")] = None,
    q: Annotated[float | None, share_option("--q", help="The liars' share of the devices: one point only.")] = None,
    community: Annotated[int, typer.Option("--of", min=1, max=100_000, help="A, the devices of the community.")] = 1000,
    elections: Annotated[int, typer.Option("--elections", min=1, max=100_000, help="Simulated elections of a point.")] = 200,
) -> None:
    """Fig. 3: how likely liars hold more than half, or more than a third, of the seats; exactly, and by the ledger's election."""
    from bflcd.lab.experiments.fig3 import POINTS, fig3_report, point  # noqa: PLC0415 - torch
    from bflcd.lab.report import need_matplotlib  # noqa: PLC0415

    bench: Bench = ctx.obj
    if (p is None) != (q is None):
        raise UsageError("--p and --q belong together", hint="give both for one point, neither for the whole figure")
    if p is not None and q is not None:
        found = point(community, p, q)
        rows = [
            ("seats", f"{found['seats']} of {found['devices']} devices, {found['liars']} of them lie"),
            ("more than half", f"{found['probability']:.6g}"),
            ("more than f", f"{found['beyond_faults']:.6g}"),
        ]
        bench.session.emit(found, lambda: bench.session.show(facts(rows)))
        return
    need_matplotlib(bench.output)
    folder, begun = make_folder(bench.output / "fig3"), time.monotonic()
    with progress_bar(bench.session) as bar:
        task = bar.add_task("elections", total=POINTS, rate="", note="")
        report = fig3_report(bench.seeds[0], devices=community, elections=elections, progress=lambda: bar.advance(task))
    conclude(bench.session, report, folder, time.monotonic() - begun, 0)


@lab_app.command()
def fig4(
    ctx: typer.Context,
    *,
    attack: Annotated[list[str] | None, typer.Option("--attack", help="An attack (`lab attacks`); else noise. Repeat.")] = None,
    liars: Annotated[list[float] | None, share_option("--liars", help="A share of liars; repeat for more.")] = None,
) -> None:
    """Fig. 4: accuracy under attack over the share of liars, of BFLC and of rules that a server could use."""
    from bflcd.lab.experiments.fig4 import ATTACKS_SHOWN, SHARES, fig4_grid, fig4_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    grid = fig4_grid(bench.plan(), tuple(attack or ATTACKS_SHOWN), tuple(sorted({0.0, *(liars or SHARES)})))
    _experiment(bench, "fig4", grid, fig4_report)


@lab_app.command("consensus-cost")
def consensus_cost(
    ctx: typer.Context,
    *,
    nodes: Annotated[list[int] | None, typer.Option("--nodes", min=5, max=64, help="Daemons of a community; repeat.")] = None,
) -> None:
    """P x Q against (P + Q)^2: computed, and counted in communities of real daemons on this machine."""
    from bflc_cli.lab_cost import ROUNDS, SIZES, count_daemons  # noqa: PLC0415 - the daemon's parts
    from bflcd.lab.experiments.cost import cost_report  # noqa: PLC0415 - torch
    from bflcd.lab.report import need_matplotlib  # noqa: PLC0415

    bench: Bench = ctx.obj
    need_matplotlib(bench.output)
    sizes, rounds, begun = tuple(sorted(set(nodes or SIZES))), bench.rounds or ROUNDS, time.monotonic()
    with progress_bar(bench.session) as bar:
        task = bar.add_task("rounds", total=len(sizes) * rounds, rate="", note="")
        counted = count_daemons(make_folder(bench.output / "cost"), sizes, rounds, bar, task)
    conclude(bench.session, cost_report(counted), bench.output / "cost", time.monotonic() - begun, 0)


@lab_app.command()
def validation(
    ctx: typer.Context,
    *,
    trial: Annotated[list[str] | None, typer.Option("--trial", help="One of the trials (docs/lab.md); repeat for more.")] = None,
) -> None:
    """Trials of the rules, one changed at a time: damping, margin, norms, rows, election, reputations, copies, noise."""
    from bflcd.lab.experiments.validation import TRIALS, validation_grid, validation_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    names = tuple(one_of("--trial", name, TRIALS) for name in trial or ())
    _experiment(bench, "validation", validation_grid(bench.plan(), names), validation_report)


@lab_app.command()
def noise(ctx: typer.Context) -> None:
    """What judges' noise costs in accuracy by size and attack, and the bound that it gives: the digits, whatever the scale."""
    from bflcd.lab.experiments.noise import noise_grid, noise_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    _experiment(bench, "noise", noise_grid(bench.plan()), noise_report)


@lab_app.command()
def sweep(ctx: typer.Context) -> None:
    """Every combination of committee, places, margin and election: which defaults are right?"""
    from bflcd.lab.experiments.sweep import sweep_grid, sweep_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    _experiment(bench, "sweep", sweep_grid(bench.plan()), sweep_report)


@lab_app.command()
def replay(
    ctx: typer.Context,
    *,
    directories: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Data directories, or a testnet's.")
    ] = None,
) -> None:
    """Decide the rounds of real daemons again, from their cards and payloads, and say where the laboratory differs."""
    from bflcd.lab.replay import replay as replay_chain  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    found = asyncio.run(replay_chain(_datadirs(directories or [bench.session.need_datadir()])))
    data = {"rounds": found.rounds, "models": found.models, "differences": list(found.differences)}
    if found.differences:
        text = f"the laboratory differs in {len(found.differences)} places; the first: {found.differences[0]}"
        raise CommandError(text, code="differs", hint="please report it: the two must always agree", data=data)
    rows = [("rounds", f"{found.rounds} decided again, all the same"), ("models", f"{found.models} computed again, all the same")]
    bench.session.emit(data, lambda: bench.session.show(facts(rows)))


def _datadirs(directories: Sequence[Path]) -> list[Path]:
    """Data directories; a testnet's directory stands for those of all its nodes."""
    found: list[Path] = []
    for directory in directories:
        is_testnet = (directory / OVERVIEW_FILE).exists()
        found += [directory / node.datadir for node in read_overview(directory).nodes] if is_testnet else [directory]
    return found


@lab_app.command()
def attacks(ctx: typer.Context) -> None:
    """The attacks that there are."""
    bench: Bench = ctx.obj
    data = {name: {"text": named.text, "strength": named.attack.strength} for name, named in ATTACKS.items()}
    bench.session.emit(data, lambda: bench.session.show(facts([(name, named.text) for name, named in ATTACKS.items()])))


@lab_app.command()
def run(
    ctx: typer.Context,
    *,
    framework: Annotated[str, typer.Option("--framework", help="bflc, stand-alone, or a server's rule (docs/lab.md).")] = "bflc",
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the setting or its rules; repeat.")] = None,
) -> None:
    """One simulation with settings of your own, a line a measurement."""
    from bflcd.lab.config import changed  # noqa: PLC0415
    from bflcd.lab.runs.batch import run_all  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    base = changed(bench.plan().base, [f"framework={framework}", f"seed={bench.seeds[0]}", *(settings or ())])
    machine, folder = bench.machine(), bench.output / "run"
    with progress_bar(bench.session) as bar:
        (found,) = run_all([base], machine, folder, Shown(bar, base.rounds), cluster=bench.ray)
    measured = [r for r in found.rounds if "accuracy" in r]
    rows = [(str(r["round"]), share(r["accuracy"]), share(r.get("site_worst")), f"{r['loss']:.4f}") for r in measured]
    file, session = str(folder / f"{base.id}.jsonl"), bench.session
    worst = found.last("site_worst") if found.curve("site_worst") else None
    data = {"id": base.id, "file": file, "accuracy": found.last(), "site_worst": worst, "seconds": round(found.seconds, 2)}
    shown = table((">round", ">accuracy", ">worst site", ">loss"), rows)
    session.emit(data, lambda: session.show(shown, facts([("file", file)])))


def _experiment(bench: Bench, name: str, grid: "Grid", report_of: "Callable[[Results], Report]") -> None:
    from bflcd.lab.grid import Results  # noqa: PLC0415
    from bflcd.lab.report import need_matplotlib  # noqa: PLC0415
    from bflcd.lab.runs.batch import run_all  # noqa: PLC0415 - torch

    need_matplotlib(bench.output)
    machine, folder, begun = bench.machine(), bench.output / name, time.monotonic()
    with progress_bar(bench.session) as bar:
        runs = run_all(grid.configs(), machine, folder / "runs", Shown(bar, None), jobs=bench.jobs, cluster=bench.ray)
    conclude(bench.session, report_of(Results(grid, runs)), folder, time.monotonic() - begun, len(runs))


def conclude(session: Session, report: "Report", folder: Path, seconds: float, runs: int) -> None:
    """Write the report of an experiment into its folder, and show it; `runs` simulations took `seconds`."""
    from bflcd.lab.report import write_report  # noqa: PLC0415 - torch

    files = [str(path) for path in write_report(report, folder)]
    data = {"name": report.name, "results": report.data, "files": files, "runs": runs, "seconds": round(seconds, 1)}

    def human() -> None:
        for found in report.tables:
            columns = [found.header[0], *(f">{name}" for name in found.header[1:])]
            session.show(f"\n{found.title}", table(columns, found.rows))
        session.show("", facts([("written", path) for path in files]))
        session.err.print(f"{runs} simulations in {duration(seconds)}" if runs else f"done in {duration(seconds)}")

    session.emit(data, human)


_VALUED: Final = ("--datadir", "--wait", "--timeout")
"""Options that may stand before a command and take a value, which may be `lab` too."""


def hoist_shared(arguments: Sequence[str]) -> list[str]:
    """`lab COMMAND ... --data FILE ...` as `lab --data FILE COMMAND ...`: where typer looks for the group's options."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _VALUED else 1
    if at >= len(arguments) or arguments[at] != "lab":
        return list(arguments)
    begin = at = at + 1
    front: list[str] = []
    rest: list[str] = []
    while at < len(arguments):
        name = arguments[at].split("=", 1)[0]
        taken = 2 if name in SHARED and "=" not in arguments[at] else 1
        (front if name in SHARED else rest).extend(arguments[at : at + taken])
        at += taken
    return [*arguments[:begin], *front, *rest]


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    app.add_typer(lab_app)
