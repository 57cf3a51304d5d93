"""What two experiments share: a list of variants of BFLC's rules, tried without adversaries and under several attacks."""

from typing import TYPE_CHECKING, Final

from bflcd.lab.experiments.site_table import site_tables, tenth
from bflcd.lab.grid import Change, Results, difference, spread
from bflcd.lab.plots import COLOURS, new_figure
from bflcd.lab.report import Drawing, Report, Table
from bflcd.lab.runs.records import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN: Final = Change("no liars")

SCENARIOS: Final = (
    CLEAN,
    Change("sign flip 30 %", {"attack": "sign-flip", "liars": 0.3}),
    Change("label flip 30 %", {"attack": "label-flip", "liars": 0.3}),
    Change("sleepers 30 %", {"attack": "sleeper", "liars": 0.3}),
)
"""What every variant is put through."""


def trial_report(name: str, title: str, results: Results, reference: str) -> Report:
    """Accuracy, difference to the reference variant, and the adversaries' part of seats, by variant and scenario."""
    variants, columns = [v.label for v in results.grid.variants], [s.label for s in results.grid.scenarios]
    header = ("variant", *columns)
    accuracy = [(v, *(results.spread(v, column).text(1) for column in columns)) for v in variants]
    paired = [(v, *(difference(results.paired(v, reference, column)) for column in columns)) for v in variants if v != reference]
    seats = [(v, *(_captured(results.runs(v, column)) for column in columns)) for v in variants]
    honest = [(v, *(_refused(results.runs(v, column)) for column in columns)) for v in variants]
    tables = (
        Table("Accuracy on test rows, per cent: mean ± standard deviation over seeds", header, tuple(accuracy)),
        *site_tables(results, variants, columns),
        Table(f"Difference to {reference!r}, points, seed by seed: mean ± standard error", header, tuple(paired)),
        Table("Rounds in which liars held more than f seats / more than half, per cent", header, tuple(seats)),
        Table("Honest updates refused, per cent of all offers", header, tuple(honest)),
    )
    return Report(
        name,
        title,
        tables,
        results.data(),
        (Drawing(name, lambda: _draw(results, reference)),),
        rules_version=results.rules_version,
    )


def _captured(runs: list[Run]) -> str:
    """Shares of the rounds, over all runs."""
    rounds = [record for run in runs for record in run.rounds if record.get("seats")]
    if not rounds:
        return "-"
    beyond = sum(record["seats_liars"] > (record["seats"] - 1) // 3 for record in rounds)
    half = sum(2 * record["seats_liars"] > record["seats"] for record in rounds)
    return f"{100 * beyond / len(rounds):.0f} / {100 * half / len(rounds):.0f}"


def _refused(runs: list[Run]) -> str:
    offered = sum(run.total("trainers") for run in runs)
    return f"{100 * sum(run.total('refused_honest') for run in runs) / offered:.1f}" if offered else "-"


def _draw(results: Results, reference: str) -> "Figure":
    """One panel a scenario, a point a variant: where it stands beside the reference; hollow: in the worst tenth of the sites."""
    variants, scenarios = [v.label for v in results.grid.variants], [s.label for s in results.grid.scenarios]
    columns = min(4, len(scenarios))
    figure, axes = new_figure(columns, -(-len(scenarios) // columns), width=3.1, height=0.6 + 0.19 * len(variants), sharey=True)
    for ax, scenario in zip(axes, scenarios, strict=False):
        for place, variant in enumerate(variants):
            found = spread([100 * run.last() for run in results.runs(variant, scenario)])
            if not found.count:
                continue  # not tried, or not run yet
            error = found.deviation if found.count > 1 else 0.0
            colour = COLOURS[1] if variant == reference else COLOURS[0]
            ax.errorbar(found.mean, place, xerr=error, fmt="o", color=colour, markersize=4, linewidth=1)
            lowest = tenth(results, variant, scenario)
            ax.plot([lowest.mean] * bool(lowest.count), [place] * bool(lowest.count), "o", color=colour, fillstyle="none")
        ax.set_title(scenario)
        ax.set_yticks(range(len(variants)), variants)
        ax.set_ylim(len(variants) - 0.5, -0.5)
        ax.set_xlabel("test accuracy, per cent\nhollow: in the worst tenth of the sites")
    for ax in axes[len(scenarios) :]:
        ax.set_visible(False)
    return figure
