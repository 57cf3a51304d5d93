"""`lab alarms`: what devices that watch their models see of liars, and how often they alarm for nothing."""

import time

import typer

from bflc_cli.lab import Bench, conclude, lab_app
from bflc_cli.lab_progress import progress_bar
from bflcd.files import make_folder


def alarms(ctx: typer.Context) -> None:
    """What nodes that watch their models on their own rows see of liars, and how often they alarm for nothing: the digits."""
    from bflcd.lab.experiments.alarms import BASE, SCENARIOS, alarms_report  # noqa: PLC0415 - torch

    bench: Bench = ctx.obj
    folder, begun, runs = make_folder(bench.output / "alarms"), time.monotonic(), len(SCENARIOS) * len(bench.seeds)
    with progress_bar(bench.session) as bar:
        task = bar.add_task("rounds", total=runs * (bench.rounds or BASE.rounds), rate="", note="")
        report = alarms_report(bench.seeds, bench.rounds, bench.machine(), lambda: bar.advance(task))
    conclude(bench.session, report, folder, time.monotonic() - begun, runs)


def register(app: typer.Typer) -> None:
    """Add the command to the laboratory, which is in `app` already."""
    del app
    lab_app.command()(alarms)
