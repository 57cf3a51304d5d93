"""`lab questions`, `lab askers`, `lab updates`: what is told of rows, by simulated attackers and by daemons' own data."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bflc_cli.fleet import read_overview
from bflc_cli.lab import Bench, conclude, lab_app, share_option
from bflc_cli.lab_progress import progress_bar
from bflc_cli.session import one_of
from bflcd.errors import UsageError
from bflcd.files import make_folder
from bflcd.types import NodeId

if TYPE_CHECKING:
    from bflcd.lab.updates.attacks import Effort, Findings


def questions(
    ctx: typer.Context,
    *,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="A rule of disclosure (docs/lab.md); repeat for more.")] = None,
) -> None:
    """What cards tell of their authors' rows: class counts and membership, by the best questions of colluding trainers."""
    from bflcd.lab.experiments.questions import ALL, BASE, questions_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    changes = {key: value for key, value in (("rounds", bench.rounds), ("devices", bench.devices)) if value is not None}
    configs = [msgspec.structs.replace(BASE, seed=seed, **changes) for seed in bench.seeds]
    rules = tuple(one_of("--rule", name, ALL) for name in rule or ALL)
    folder, begun = make_folder(bench.output / "questions"), time.monotonic()
    with progress_bar(bench.session) as bar:
        task = bar.add_task("rounds", total=sum(config.rounds for config in configs), rate="", note="")
        report = questions_report(configs, bench.machine(), rules, lambda: bar.advance(task))
    conclude(bench.session, report, folder, time.monotonic() - begun, len(configs))


def askers(
    ctx: typer.Context,
    *,
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Testnets made with --attack asker.")],
) -> None:
    """What daemons that ask learned of the others' rows: read from their chain and their own rows, and held against the truth."""
    from bflcd.lab.experiments.askers import askers_report  # noqa: PLC0415 - torch
    from bflcd.lab.questions.listening import listen  # noqa: PLC0415

    bench: Bench = ctx.obj
    found, begun = [], time.monotonic()
    for directory in directories:
        nodes = {NodeId(bytes.fromhex(node.node_id)): directory / node.datadir for node in read_overview(directory).nodes}
        found.append(asyncio.run(listen(nodes)))
    conclude(bench.session, askers_report(found), make_folder(bench.output / "askers"), time.monotonic() - begun, 0)


def updates(
    ctx: typer.Context,
    *,
    directories: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Stopped testnets; without: simulated communities.")
    ] = None,
    epsilon: Annotated[
        list[float] | None, share_option("--epsilon", help="A privacy budget to compare with none; repeat for more.")
    ] = None,
    shadows: Annotated[int, typer.Option("--shadows", min=16, max=4096, help="Shadow updates of each device.")] = 64,
    records: Annotated[int, typer.Option("--records", min=1, max=4096, help="Of a device's rows, to be asked about.")] = 12,
    watched: Annotated[int, typer.Option("--watched", min=1, max=1000, help="Rounds whose updates are attacked.")] = 6,
) -> None:
    """What published updates tell of rows: membership, label counts, the rows themselves; without privacy and with it."""
    from bflcd.lab.experiments.updates import updates_report  # noqa: PLC0415 - torch
    from bflcd.lab.report import need_matplotlib  # noqa: PLC0415
    from bflcd.lab.updates.attacks import Effort  # noqa: PLC0415

    bench: Bench = ctx.obj
    need_matplotlib(bench.output)
    if directories and epsilon:
        raise UsageError(
            "--epsilon is of simulated communities", hint="leave it out: a testnet's nodes have budgets of their own"
        )
    folder, begun, effort = make_folder(bench.output / "updates"), time.monotonic(), Effort(shadows, records)
    found = (
        _attack_testnets(bench, directories, effort, watched)
        if directories
        else _attack_simulated(bench, epsilon, effort, watched)
    )
    conclude(bench.session, updates_report(found), folder, time.monotonic() - begun, 0)


def _attack_simulated(bench: Bench, epsilon: list[float] | None, effort: "Effort", watched: int) -> "list[Findings]":
    from bflcd.lab.experiments.updates import BASE, EPSILONS, find, steps_of, trainings  # noqa: PLC0415 - torch

    changes = {key: value for key, value in (("rounds", bench.rounds), ("devices", bench.devices)) if value is not None}
    named = trainings(msgspec.structs.replace(BASE, **changes), EPSILONS if epsilon is None else epsilon)
    configs = [(name, msgspec.structs.replace(one, seed=seed)) for name, one in named.items() for seed in bench.seeds]
    with progress_bar(bench.session) as bar:
        task = bar.add_task("steps", total=sum(steps_of(one, watched, effort) for _, one in configs), rate="", note="")
        return find(configs, bench.machine(), watched, effort, lambda: bar.advance(task))


def _attack_testnets(bench: Bench, directories: Sequence[Path], effort: "Effort", watched: int) -> "list[Findings]":
    from bflcd.lab.updates.attacks import attack  # noqa: PLC0415 - torch
    from bflcd.lab.updates.chains import read_testnet  # noqa: PLC0415

    found = []
    with progress_bar(bench.session) as bar:
        task = bar.add_task("steps", total=None, rate="", note="")
        for directory in directories:
            nodes = {NodeId(bytes.fromhex(node.node_id)): directory / node.datadir for node in read_overview(directory).nodes}
            scenes = asyncio.run(read_testnet(nodes, watched, threads=bench.threads, seed=bench.seeds[0]))
            for name, scene in scenes.items():
                found.append(attack(name, scene, replace(effort, sizes=()), lambda: bar.advance(task)))
    return found


def register(app: typer.Typer) -> None:
    """Add the commands to the laboratory's group, which `app` has from elsewhere."""
    del app
    for command in (questions, askers, updates):
        lab_app.command()(command)
