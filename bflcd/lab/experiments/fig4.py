"""Fig. 4 of the paper: accuracy over the share of adversaries, of BFLC and of other rules, attack by attack (V-B)."""

from collections.abc import Callable
from math import isnan, nan
from typing import TYPE_CHECKING, Final

from bflcd.errors import UsageError
from bflcd.lab.config import PAPER
from bflcd.lab.experiments.site_table import TENTH, site_tables, tenth
from bflcd.lab.grid import Change, Grid, Results, Spread, spread
from bflcd.lab.plots import BESIDE, draw_cells, draw_lines, line_of, new_figure
from bflcd.lab.report import Drawing, Report, Table, share_of
from bflcd.lab.runs.records import LAST_MEASUREMENTS, Run
from bflcd.lab.scale import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)

MEAN: Final = f"mean of the last {LAST_MEASUREMENTS} measurements"
END: Final = "end of training"
"""The two accuracies of a run that stand side by side, in this order."""

COMMITTEE: Final = 0.2
"""Of the active devices, as in the paper."""

FRAMEWORKS: Final = (
    Change("BFLC", rules={"committee": COMMITTEE}),
    Change("BFLC, the paper's rules", whole=PAPER, rules={"committee": COMMITTEE}),
    Change("Basic FL", {"framework": "fedavg"}),
    Change("CwMed", {"framework": "cwmed"}),
    Change("trimmed mean", {"framework": "trimmed-mean"}),
    Change("Multi-Krum", {"framework": "multi-krum"}),
    Change("geometric median", {"framework": "geometric-median"}),
    Change("FLTrust", {"framework": "fltrust"}),
)

ATTACKS_SHOWN: Final = ("noise",)
"""The paper's pointwise Gaussian noise, each adversary its own; others by name."""


def fig4_grid(plan: Plan, attacks: tuple[str, ...] = ATTACKS_SHOWN, shares: tuple[float, ...] = SHARES) -> Grid:
    """Frameworks by attacks and shares; without adversaries all attacks are one scenario.

    Raises UsageError (`bad_setting`) for shares that are none, or if nobody ever lies.
    """
    wrong = next((share for share in shares if not 0 <= share <= 1), None)
    if wrong is not None:
        raise UsageError(f"--liars {wrong:g} is no share", hint="give shares from 0 to 1", code="bad_setting")
    clean = (Change(scenario("", 0.0)),) if 0.0 in shares else ()
    lying = tuple(
        Change(scenario(attack, share), {"attack": attack, "liars": share}) for attack in attacks for share in shares if share > 0
    )
    if not lying:
        raise UsageError(
            "the figure shows attacks, but nobody lies", hint="give a share above 0 with --liars", code="bad_setting"
        )
    return Grid(plan.under_attack, FRAMEWORKS, (*clean, *lying), plan.seeds)


def scenario(attack: str, share: float) -> str:
    """The name of a cell's column."""
    return f"{attack} {share_of(share)}" if share > 0 else "no liars"


def fig4_report(results: Results) -> Report:
    """A table an attack, what the attack brought the adversaries, and a figure; of several attacks, all of them at a glance."""
    attacks = list(dict.fromkeys(change.config["attack"] for change in results.grid.scenarios if change.config))
    shares = sorted({change.config.get("liars", 0.0) for change in results.grid.scenarios})
    names = [variant.label for variant in results.grid.variants]
    tables = []
    for attack in attacks:
        header = (f"{attack}: share of liars", *(share_of(share) for share in shares))
        rows = [(name, *(_both(results, name, scenario(attack, share)) for share in shares)) for name in names]
        title = f"{attack}: accuracy on test rows, per cent, {MEAN} / {END}, each mean ± standard deviation over seeds"
        tables.append(Table(title, header, tuple(rows)))
        columns = [scenario(attack, share) for share in shares]
        tables += site_tables(results, names, columns, of=f"{attack}: ")
        if any(run.curve("attack_success") for run in results.runs(names[0], scenario(attack, shares[-1]))):
            rows = [(name, *(_success(results, name, scenario(attack, share)).text(1) for share in shares)) for name in names]
            tables.append(Table(f"{attack}: triggered rows that the model turns, per cent", header, tuple(rows)))
    tables.append(_captured(results, attacks, shares))
    drawings = [Drawing("fig4", lambda: _draw(results, attacks, shares))]
    if any("by site" in table.header for table in tables):
        drawings.append(Drawing("fig4_sites", lambda: _draw(results, attacks, shares, tenth, TENTH)))
    if len(attacks) > 1:
        tables.insert(0, _at_a_glance(results, attacks, shares[-1]))
        drawings.append(Drawing("fig4_attacks", lambda: _draw_at_a_glance(results, attacks, shares[-1])))
    return Report(
        "fig4",
        "Fig. 4: accuracy under attack",
        tuple(tables),
        results.data(),
        tuple(drawings),
        rules_version=results.rules_version,
    )


def _both(results: Results, name: str, column: str) -> str:
    """A cell: what its runs' last measurements came to, and their last alone."""
    found = results.spread(name, column)
    return f"{found.text(1)} / {results.spread(name, column, Run.end).text(1)}" if found.count else "-"


def _means(
    results: Results, name: str, attacks: list[str], share: float, value: Callable[[Run], float] = Run.last
) -> list[float]:
    """Mean accuracy of one framework under each attack, then the least of them; NaN for what was not run."""
    means = [results.spread(name, scenario(attack, share), value).mean for attack in attacks]
    return [*means, nan if any(isnan(mean) for mean in means) else min(means)]


def _at_a_glance(results: Results, attacks: list[str], share: float) -> Table:
    rows = []
    for variant in results.grid.variants:
        means, ends = (_means(results, variant.label, attacks, share, value) for value in (Run.last, Run.end))
        pairs = zip(means, ends, strict=True)
        rows.append((variant.label, *("-" if isnan(mean) else f"{mean:.1f} / {end:.1f}" for mean, end in pairs)))
    title = f"{share_of(share)} of liars: accuracy on test rows, per cent, {MEAN} / {END}; attackers choose the last column"
    return Table(title, ("rule", *attacks, "worst"), tuple(rows))


def _success(results: Results, name: str, column: str) -> Spread:
    return spread([100 * run.last("attack_success") for run in results.runs(name, column) if run.curve("attack_success")])


def _captured(results: Results, attacks: list[str], shares: list[float]) -> Table:
    """What adversaries got under BFLC: seats, places, pay, in per cent of all."""
    header = ("BFLC: liars' part of seats / places / pay, per cent", *(share_of(share) for share in shares if share > 0))
    rows = []
    for variant in results.grid.variants[:2]:
        for attack in attacks:
            cells = []
            for share in shares:
                if share > 0:
                    runs = results.runs(variant.label, scenario(attack, share))
                    cells.append(" / ".join(_part(runs, *names) for names in _PARTS))
            rows.append((f"{variant.label}, {attack}", *cells))
    return Table("What the attack brought the liars", header, tuple(rows))


_PARTS: Final = (("seats_liars", "seats"), ("packed_liars", "packed"), ("paid_liars", "paid"))


def _part(runs: list[Run], part: str, whole: str) -> str:
    total = sum(run.total(whole) for run in runs)
    return f"{100 * sum(run.total(part) for run in runs) / total:.1f}" if total else "-"


def _draw_at_a_glance(results: Results, attacks: list[str], share: float) -> "Figure":
    names = [variant.label for variant in results.grid.variants]
    cells, ends = ([_means(results, name, attacks, share, value) for name in names] for value in (Run.last, Run.end))
    figure, (ax,) = new_figure(width=2.2 + 0.66 * (len(attacks) + 1), height=1.7 + 0.32 * len(names))
    title = f"test accuracy, per cent, {share_of(share)} of liars:\n{MEAN}\n/ {END}"
    draw_cells(ax, cells, ends, rows=names, columns=[*attacks, "worst"], title=title)
    return figure


def _draw(
    results: Results,
    attacks: list[str],
    shares: list[float],
    cell: Callable[[Results, str, str], Spread] = Results.spread,
    shown: str = "test accuracy, per cent",
) -> "Figure":
    columns = min(len(attacks), 3)
    figure, axes = new_figure(columns, -(-len(attacks) // columns), width=4.2 + 1.8 / columns, height=3.4, sharey=True)
    for ax, attack in zip(axes, attacks, strict=False):
        lines = []
        for variant in results.grid.variants:
            cells = [cell(results, variant.label, scenario(attack, share)) for share in shares]
            ends = (
                [results.spread(variant.label, scenario(attack, share), Run.end) for share in shares]
                if cell is Results.spread
                else ()
            )
            if all(found.count for found in cells):
                lines.append(line_of(variant.label, [100 * share for share in shares], cells, beside=ends))
        y = shown if ax is axes[0] else ""
        draw_lines(ax, lines, x="liars, per cent of the devices", y=y, title=attack, legend=False)
        ax.set_ylim(bottom=0)
    for ax in axes[len(attacks) :]:
        ax.set_visible(False)
    for label, style in ((MEAN, "-"), (END, BESIDE)):
        axes[0].plot([], [], color="black", linestyle=style, label=label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure
