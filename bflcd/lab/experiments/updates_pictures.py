"""Pictures of what updates tell: membership and rows by training, and true rows above what was made of their updates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bflcd.lab.plots import COLOURS, MARKERS, new_figure
from bflcd.lab.updates.attacks import USUAL, Findings, Searched
from bflcd.lab.updates.membership import Verdicts, auc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SHOWN: Final = 6
"""Rows of one update in the picture."""


def draw_figures(by_training: "Mapping[str, Sequence[Findings]]") -> "Figure":
    """AUC over the rounds and of the last model; and decibels of rebuilt rows over their number, in the first round."""
    figure, (left, right) = new_figure(2)
    for number, (name, found) in enumerate(by_training.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        style: dict[str, Any] = {"color": colour, "marker": marker, "capsize": 2}
        rounds = sorted({round_ for one in found for round_ in one.by_round})
        areas = [auc(Verdicts.together([one.by_round[at] for one in found if at in one.by_round])) for at in rounds]
        x = [at + 1 for at in rounds]
        left.errorbar(x, [one.value for one in areas], yerr=[one.error for one in areas], label=name, **style)
        model = auc(Verdicts.together([one.model for one in found]))
        left.errorbar([x[-1] + 2 + number / 2], [model.value], yerr=[model.error], fillstyle="none", linestyle="", **style)
        _draw_sizes(right, name, [each for one in found for each in one.searched], style)
    left.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    left.set_xlabel("round of the update (hollow: the last model)")
    left.set_ylabel("AUC of membership")
    right.legend()
    return figure


def _draw_sizes(ax: "Axes", name: str, searched: Sequence[Searched], style: dict[str, Any]) -> None:
    """Decibels of what was rebuilt of first updates, solid, and of the nearest public rows, dotted."""
    first = min((one.round for one in searched), default=0)
    of_first = [one for one in searched if one.round == first]
    sizes = sorted({len(one.rebuilt.rows) for one in of_first if one.size != USUAL} | {_usual(of_first)} - {0})
    for side, line in (("found", "-"), ("public", ":")):
        means = []
        for size in sizes:
            alike = [one for one in of_first if (_usual(of_first) if one.size == USUAL else one.size) == size]
            means.append(float(np.mean([each.decibels for one in alike for each in getattr(one.rebuilt, side)])))
        label = name if side == "found" else None
        ax.plot(
            sizes, means, color=style["color"], marker=style["marker"] if side == "found" else None, linestyle=line, label=label
        )
    ax.set_xscale("log")
    ax.set_xlabel("rows of the device")
    ax.set_ylabel("PSNR, dB (dotted: nearest public row)")


def _usual(searched: Sequence[Searched]) -> int:
    """About how many rows a published update is of."""
    return round(float(np.mean([len(one.rebuilt.rows) for one in searched if one.size == USUAL] or [0])))


def draw_rows(by_training: "Mapping[str, Sequence[Findings]]") -> "Figure":
    """True rows of one community's first updates, the nearest public ones, and what was rebuilt of them, a line a training."""
    firsts = {name: _of_first(found[0]) for name, found in by_training.items()}
    shown = next(iter(firsts.values()))
    lines = ["true", "nearest public", *firsts]
    columns = [(size, row) for size, one in shown.items() for row in range(min(MOST_SHOWN, len(one.rebuilt.rows)))]
    figure, axes = new_figure(max(1, len(columns)), len(lines), width=0.55, height=0.62)
    low, high = (edge([edge(one.rebuilt.nearest) for one in shown.values()]) for edge in (np.min, np.max))
    for place, ax in enumerate(axes):
        line, (size, row) = lines[place // len(columns)], columns[place % len(columns)]
        one = (shown if line in lines[:2] else firsts[line]).get(size)
        ax.axis("off")
        if one is not None and row < len(one.rebuilt.rows):
            of = {"true": one.rebuilt.rows, "nearest public": one.rebuilt.nearest}.get(line, one.rebuilt.guesses)
            ax.imshow(of[row].reshape(-1, *of.shape[-2:])[0], cmap="gray_r", vmin=low, vmax=high)
        if place % len(columns) == 0:
            ax.text(-0.3, 0.5, line, transform=ax.transAxes, ha="right", va="center", fontsize=8)
        if place < len(columns) and row == 0:
            held = len(shown[size].rebuilt.rows)
            ax.set_title(f"{held} row{'s' if held > 1 else ''}", fontsize=8, loc="left")
    return figure


def _of_first(found: Findings) -> dict[int, Searched]:
    """Of the first round that was searched, by the number of rows."""
    first = min((one.round for one in found.searched), default=0)
    return {one.size: one for one in found.searched if one.round == first}
