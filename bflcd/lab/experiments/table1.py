"""Table I of the paper: accuracy of BFLC, Basic FL and stand-alone training over the share of active devices (V-A)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bflcd.lab.config import PAPER
from bflcd.lab.experiments.site_table import TENTH, site_tables, tenth
from bflcd.lab.grid import Change, Grid, Results, Spread, difference, mean_curve
from bflcd.lab.plots import Line, draw_lines, line_of, new_figure
from bflcd.lab.report import Drawing, Report, Table, share_of
from bflcd.lab.scale import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVE: Final = (0.1, 0.2, 0.3, 0.4, 0.5)

BASIC: Final = "Basic FL"
OURS: Final = "BFLC"
PAPERS: Final = "BFLC, the paper's rules"
ALONE: Final = "Stand-alone"

PUBLISHED: Final = {
    OURS: (89.33, 89.89, 90.02, 89.87, 89.78),
    BASIC: (90.02, 90.20, 90.29, 90.11, 90.42),
    ALONE: (91.34,) * 5,
}
"""The paper's figures in per cent: FEMNIST of 805,263 rows, AlexNet."""

EPOCHS_ALONE: Final = 30
"""Epochs of stand-alone training: as many rows as 150 rounds of a tenth of the devices, two epochs each, look at."""

RATE_ALONE: Final = 0.2
"""Of the others' learning rate: one long descent with momentum diverges at a rate that short local ones bear."""


def table1_grid(plan: Plan, active: tuple[float, ...] = ACTIVE) -> Grid:
    """Frameworks by active shares. Stand-alone training knows no active share and is run once a seed."""
    base, final = plan.base, plan.base.rate_decay**plan.base.rounds
    alone = {
        "framework": "stand-alone",
        "rounds": EPOCHS_ALONE,
        "learning_rate": RATE_ALONE * base.learning_rate,
        "rate_decay": final ** (1 / EPOCHS_ALONE),
        "every": 5,
    }
    variants = (
        Change(BASIC, {"framework": "fedavg"}),
        Change(OURS),
        Change(PAPERS, whole=PAPER),
        Change(ALONE, alone | {"active": active[0]}),
    )
    scenarios = tuple(Change(share_of(share), {"active": share}) for share in active)
    return Grid(base, variants, scenarios, plan.seeds)


def table1_report(results: Results) -> Report:
    """The table beside the paper's, the differences to Basic FL, and the curves."""
    grid = results.grid
    columns = [scenario.label for scenario in grid.scenarios]
    names = [variant.label for variant in grid.variants]
    rows = [(name, *(results.spread(name, column).text() for column in columns)) for name in names]
    losses = [
        (f"{name} less {BASIC}", *(difference(results.paired(name, BASIC, column)) for column in columns))
        for name in (OURS, PAPERS)
    ]
    published = [(f"{name} (paper)", *(f"{value:.2f}" for value in PUBLISHED[name])) for name in (OURS, BASIC, ALONE)]
    header = ("active devices", *columns)
    tables = [
        Table("Accuracy on test rows, per cent: mean ± standard deviation over seeds", header, tuple(rows)),
        Table("Difference to Basic FL, points, seed by seed: mean ± standard error", header, tuple(losses)),
    ]
    by_site = site_tables(results, names, columns)
    tables[1:1] = by_site
    if len(columns) == len(ACTIVE):
        tables.append(Table("The paper's Table I (another data set and network)", header, tuple(published)))
    drawings = (
        Drawing("table1", lambda: _draw_table(results)),
        *([Drawing("table1_sites", lambda: _draw_table(results, tenth, TENTH))] if by_site else []),
        Drawing("table1_curves", lambda: _draw_curves(results)),
    )
    return Report(
        "table1",
        "Table I: accuracy over the share of active devices",
        tuple(tables),
        results.data(),
        drawings,
        rules_version=results.rules_version,
    )


def _draw_table(
    results: Results, cell: Callable[[Results, str, str], Spread] = Results.spread, shown: str = "test accuracy, per cent"
) -> "Figure":
    figure, (ax,) = new_figure(width=5.2)
    share = [100 * scenario.config["active"] for scenario in results.grid.scenarios]
    lines = []
    for variant in results.grid.variants:
        cells = [cell(results, variant.label, scenario.label) for scenario in results.grid.scenarios]
        lines.append(line_of(variant.label, share, cells, dashed=variant.label == ALONE))
    draw_lines(ax, lines, x="active devices, per cent", y=shown)
    ax.set_xticks(share)
    return figure


def _draw_curves(results: Results) -> "Figure":
    scenarios = results.grid.scenarios
    figure, axes = new_figure(len(scenarios), width=3.0, height=2.8, sharey=True)
    for ax, scenario in zip(axes, scenarios, strict=True):
        lines = []
        for name in (BASIC, OURS, PAPERS):
            curve = mean_curve(results.runs(name, scenario.label))
            lines.append(Line(name, tuple(x for x, _ in curve), tuple(100 * y for _, y in curve)))
        y = "test accuracy, per cent" if ax is axes[0] else ""
        draw_lines(ax, lines, x="round", y=y, title=f"{scenario.label} active", legend=ax is axes[-1])
    return figure
