"""What a soak showed: a table of slopes with their errors, what grows that should not, and a picture."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bflcd.store.database import MAX_LOG_BYTES
from tests.soak.community import Soaked
from tests.soak.slopes import Slope, fit

SETTLING_ROUNDS: Final = 100
"""Rounds that are left out: bounded caches fill, pools reach their size."""

MIB: Final = float(2**20)
KIB: Final = float(2**10)

OWN_THREADS: Final = 12
"""Of a daemon whose pool is empty: loop, network, database connections, what numpy and the worker's pipes need."""

POOL_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""asyncio's pool: it adds a thread whenever all are busy, up to so many, and never ends one."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that is sampled: its unit, the factor to it, and whether it grows by design, on archive and on pruned nodes."""

    name: str
    unit: str
    factor: float = 1.0
    grows_archive: bool = False
    grows_pruned: bool = False
    bound: float | None = None
    """What it may not pass, in its unit: below, it is a high-water mark, and its rise is not growth without end."""


QUANTITIES: Final = (
    Quantity("private memory", "MiB", MIB),
    Quantity("worker private memory", "MiB", MIB),
    Quantity("descriptors", "count"),
    Quantity("worker descriptors", "count"),
    Quantity("tasks", "count"),
    Quantity("threads", "count", bound=OWN_THREADS + POOL_THREADS),
    Quantity("database", "MiB", MIB, grows_archive=True, grows_pruned=True),
    Quantity("write-ahead log", "MiB", MIB, bound=MAX_LOG_BYTES / MIB),
    Quantity("marks", "KiB", KIB),
    Quantity("log", "KiB", KIB, grows_archive=True, grows_pruned=True),
)
"""A pruned database keeps every header, certificate and segment; a log grows to 16 MiB, where its oldest part is dropped."""


@dataclass(frozen=True, slots=True)
class Row:
    """The slope of one quantity over the nodes of one kind: their mean, in the quantity's unit."""

    quantity: Quantity
    kind: str
    slope: Slope
    highest: float

    @property
    def grows(self) -> bool:
        """Whether it grows and should not."""
        bound = self.quantity.bound
        bounded = bound is not None and self.highest <= bound
        return self.slope.measurable and not self.by_design and not bounded

    @property
    def verdict(self) -> str:
        """For people."""
        if self.by_design:
            return "by design"
        if self.grows:
            return "GROWS"
        return f"up to {self.highest:.3g} of {self.quantity.bound:.3g}" if self.quantity.bound else "none measurable"

    @property
    def by_design(self) -> bool:
        """Whether it may grow."""
        return self.quantity.grows_archive if self.kind == "archive" else self.quantity.grows_pruned


def rows(soaked: Soaked, first: int = SETTLING_ROUNDS) -> Iterator[Row]:
    """A row for each quantity and kind of node, from round `first` on."""
    for quantity in QUANTITIES:
        for kind in ("archive", "pruned"):
            chosen = [
                sample
                for sample in soaked.samples
                if (sample.node in soaked.pruned) == (kind == "pruned")
                and sample.round >= first
                and quantity.name in sample.values
            ]
            values = [sample.values[quantity.name] / quantity.factor for sample in chosen]
            yield Row(quantity, kind, fit([sample.round for sample in chosen], values), max(values))


def judge(soaked: Soaked) -> list[str]:
    """What is wrong: growth that is not by design, daemons that disagree, traces of bugs."""
    found = [
        f"{row.quantity.name} of {row.kind} nodes grows: {row.slope.per_thousand:+.3g} {row.quantity.unit} in 1,000 rounds, "
        f"error {row.slope.error:.2g}"
        for row in rows(soaked)
        if row.grows
    ]
    if len(soaked.hashes) != 1:
        found.append(f"the nodes end with {len(soaked.hashes)} different heads")
    return found + list(soaked.faults)


def table(soaked: Soaked) -> str:
    """Slopes as Markdown, and one line about the run."""
    plan = soaked.plan
    told = (
        f"{plan.rounds} rounds of {plan.nodes} daemons ({plan.committee} judge, every second one prunes to {plan.keep} rounds) in "
        f"{soaked.seconds:.0f} s, {len(soaked.samples)} samples; slopes from round {SETTLING_ROUNDS} on"
    )
    lines = [
        told,
        "",
        "| quantity | nodes | at first | growth in 1,000 rounds | the same, second half | verdict |",
        "|---|---|---|---|---|---|",
    ]
    later = rows(soaked, plan.rounds // 2)
    for row, half in zip(rows(soaked), later, strict=True):
        unit, slope = row.quantity.unit, row.slope
        cells = (
            row.quantity.name,
            row.kind,
            f"{slope.level:.4g} {unit}",
            _growth(slope, unit),
            _growth(half.slope, unit),
            row.verdict,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _growth(slope: Slope, unit: str) -> str:
    """Growth and its error, for people."""
    return f"{slope.per_thousand:+.2g} ± {slope.error:.1g} {unit}"


COLOURS: Final = {"archive": "#1f77b4", "pruned": "#d95f02"}


def draw(soaked: Soaked, path: Path) -> None:
    """Small multiples: each quantity over the rounds, a thin line a node."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 5, figsize=(17, 6.4), layout="constrained", sharex=True)
    nodes = sorted({sample.node for sample in soaked.samples})
    slopes = {(row.quantity.name, row.kind): row for row in rows(soaked)}
    for axes, quantity in zip(grid.flat, QUANTITIES, strict=True):
        for node in nodes:
            kind = "pruned" if node in soaked.pruned else "archive"
            points = [s for s in soaked.samples if s.node == node and quantity.name in s.values]
            values = [s.values[quantity.name] / quantity.factor for s in points]
            axes.plot([s.round for s in points], values, color=COLOURS[kind], linewidth=0.9, alpha=0.8)
        axes.set_title(quantity.name, fontsize=11)
        axes.set_ylabel(quantity.unit)
        axes.set_ylim(
            0, 1.15 * max(s.values[quantity.name] for s in soaked.samples if quantity.name in s.values) / quantity.factor
        )
        axes.grid(alpha=0.25)
        axes.axvline(SETTLING_ROUNDS, color="grey", linewidth=0.8, linestyle=":")
        told = [
            f"{kind} {slopes[quantity.name, kind].slope.per_thousand:+.2g} ± {slopes[quantity.name, kind].slope.error:.1g}"
            for kind in COLOURS
        ]
        axes.text(0.98, 0.04, "\n".join(told), transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color="#444444")
    for axes in grid[1]:
        axes.set_xlabel("round")
    handles: list[Any] = [plt.Line2D([], [], color=colour, label=kind) for kind, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    plan = soaked.plan
    figure.suptitle(
        f"{plan.rounds} rounds, {plan.nodes} daemons: each line a daemon; figures are growth in 1,000 rounds, dotted line: fitted from here",
        fontsize=11,
        ha="left",
        x=0.01,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
