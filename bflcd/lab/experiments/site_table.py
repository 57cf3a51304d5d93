"""The sites beside the mean: in each report a table of how right a framework is where it is worst, and the same to draw."""

from collections.abc import Sequence
from typing import Final

from bflcd.lab.engine.sites import SITE_FIGURES
from bflcd.lab.grid import Results, Spread, spread
from bflcd.lab.report import Table
from bflcd.lab.runs.records import Run

TENTH: Final = "accuracy in the worst tenth of the sites, per cent"
"""What `tenth` is, on an axis."""


def tenth(results: Results, name: str, column: str) -> Spread:
    """Of the mean accuracy in the lowest tenth of the sites, per cent, over the runs of a cell that have sites."""
    return _spread(results.runs(name, column), "site_tenth")


def site_tables(results: Results, names: Sequence[str], columns: Sequence[str], *, of: str = "") -> list[Table]:
    """One table of variants `names` by scenarios `columns`, or none if no run has sites; `of`: what its title begins with."""
    runs = [run for name in names for column in columns for run in results.runs(name, column)]
    kinds = sorted({str(record["site"]) for run in runs for record in run.rounds if "site" in record})
    if not kinds:
        return []
    rows = [(name, *(_cell(results.runs(name, column)) for column in columns)) for name in names]
    title = f"{of}by site ({'; '.join(kinds)}), per cent: the worst / mean of the worst tenth / mean; means over seeds"
    return [Table(title, ("by site", *columns), tuple(rows))]


def _cell(runs: Sequence[Run]) -> str:
    cells = [_spread(runs, name) for name in SITE_FIGURES]
    return " / ".join(f"{cell.mean:.1f}" for cell in cells) if all(cell.count for cell in cells) else "-"


def _spread(runs: Sequence[Run], name: str) -> Spread:
    return spread([100 * run.last(name) for run in runs if run.curve(name)])
