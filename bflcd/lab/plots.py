"""Figures in one style: the axes say what they show, a band is a standard deviation, colours can be told apart by everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from bflcd.lab.grid import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
"""Okabe and Ito's palette, in an order that keeps neighbours apart."""

MARKERS: Final = "osD^vPX*"

BESIDE: Final = ":"
"""How the other means of a curve are drawn."""

STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.hashsalt": "bflc",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled curve: x, mean, and half the width of its band (NaN for none); `beside`: other means, dotted in its colour."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    band: tuple[float, ...] = ()
    dashed: bool = False
    beside: tuple[float, ...] = ()


def new_figure(
    columns: int = 1, rows: int = 1, *, width: float = 4.6, height: float = 3.3, **options: Any
) -> "tuple[Figure, list[Axes]]":
    """A figure of `columns` x `rows` axes of that size in inches, and its axes in reading order."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [ax for row in axes for ax in row]


def line_of(
    label: str, x: Sequence[float], cells: Sequence[Spread], *, dashed: bool = False, beside: Sequence[Spread] = ()
) -> Line:
    """A curve through means, with a band of one standard deviation where there are several seeds."""
    band = tuple(cell.deviation for cell in cells) if all(cell.count > 1 for cell in cells) else ()
    return Line(label, tuple(x), tuple(cell.mean for cell in cells), band, dashed, tuple(cell.mean for cell in beside))


def draw_lines(ax: "Axes", lines: Sequence[Line], *, x: str, y: str, title: str = "", legend: bool = True) -> None:
    """Curves with their bands."""
    for number, line in enumerate(lines):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        few = len(line.x) <= 12
        ax.plot(
            line.x,
            line.y,
            label=line.label,
            color=colour,
            marker=marker if few else None,
            linestyle="--" if line.dashed else "-",
        )
        if line.beside:
            ax.plot(line.x, line.beside, color=colour, linestyle=BESIDE, linewidth=1.1)
        if line.band:
            low = [a - b for a, b in zip(line.y, line.band, strict=True)]
            high = [a + b for a, b in zip(line.y, line.band, strict=True)]
            ax.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if title:
        ax.set_title(title)
    if legend:
        ax.legend()


def draw_cells(
    ax: "Axes",
    cells: Sequence[Sequence[float]],
    beside: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> None:
    """A table of numbers, the darker the larger, each with its number of `beside`; the last column stands apart. NaN: empty."""
    top = max((value for row in cells for value in row if not isnan(value)), default=1.0)
    ax.imshow(cells, cmap="Blues", vmin=0.0, vmax=1.25 * top, aspect="auto")
    for y, row in enumerate(cells):
        for x, value in enumerate(row):
            if not isnan(value):
                colour = "white" if value > 0.7 * top else "black"
                ax.text(x, y, f"{value:.0f} / {beside[y][x]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    ax.axvline(len(columns) - 1.5, color="white", linewidth=4)
    ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title)
