"""Fig. 3 of the paper: how likely an attack on the committee succeeds, over its share p and the adversaries' share q (IV-C).

The paper counts more than half of the seats, since the median of the scores is then the adversaries'. Consensus itself, which
the paper leaves to its blockchain, is lost with more than a third: both are shown.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bflcd.lab.committee_capture import ELECTIONS_DRAWN, capture_of, elected
from bflcd.lab.plots import COLOURS, new_figure
from bflcd.lab.report import Drawing, Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEVICES: Final = 1000

P_GRID: Final = tuple(np.round(np.arange(0.01, 1.0, 0.03), 2).tolist())
Q_GRID: Final = tuple(np.round(np.arange(0.0, 1.001, 0.02), 2).tolist())

P_DRAWN: Final = (0.01, 0.04, 0.1, 0.4)
Q_DRAWN: Final = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Where elections are simulated and the table is told."""

POINTS: Final = len(P_DRAWN) * len(Q_DRAWN)


def point(devices: int, p: float, q: float) -> dict[str, Any]:
    """One point: `probability` of more than half of the seats, `beyond_faults` of more than f. Raises UsageError."""
    capture = capture_of(devices, p, q)
    return {
        "devices": devices,
        "p": p,
        "q": q,
        "seats": capture.seats,
        "liars": capture.adversaries,
        "probability": capture.majority,
        "beyond_faults": capture.beyond_faults,
    }


def fig3_report(
    seed: int, *, devices: int = DEVICES, elections: int = ELECTIONS_DRAWN, progress: Callable[[], None] = lambda: None
) -> Report:
    """The surfaces, and a table of exact values beside simulated elections; `progress` is called after each point of it."""
    rows, points = [], []
    for p in P_DRAWN:
        for q in Q_DRAWN:
            capture = capture_of(devices, p, q)
            majority, beyond = elected(capture, seed, elections=elections)
            found = point(devices, p, q) | {"elected_majority": majority, "elected_beyond_faults": beyond, "elections": elections}
            points.append(found)
            rows.append(
                (
                    f"{capture.seats}",
                    f"{100 * q:g} %",
                    _probability(capture.majority),
                    _probability(majority),
                    _probability(capture.beyond_faults),
                    _probability(beyond),
                )
            )
            progress()
    header = ("seats M", "liars q", "over M/2, exact", "over M/2, elected", "over f, exact", "over f, elected")
    table = Table(f"{devices} devices, {elections} elections a point", header, tuple(rows))
    data = {"points": points, "surface": _surface(devices)}
    return Report(
        "fig3",
        "Fig. 3: how likely liars hold too many seats",
        (table,),
        data,
        (Drawing("fig3", lambda: _draw(devices, points)),),
    )


def _surface(devices: int) -> dict[str, Any]:
    grid = [[capture_of(devices, p, q) for q in Q_GRID] for p in P_GRID]
    return {
        "p": P_GRID,
        "q": Q_GRID,
        "majority": [[capture.majority for capture in row] for row in grid],
        "beyond_faults": [[capture.beyond_faults for capture in row] for row in grid],
    }


def _draw(devices: int, points: list[dict[str, Any]]) -> "Figure":
    surface = _surface(devices)
    figure, axes = new_figure(2, width=4.8, height=4.0, subplot_kw={"projection": "3d"})
    for ax, name, title, drawn in (
        (axes[0], "majority", "more than half of the seats (the paper)", "elected_majority"),
        (axes[1], "beyond_faults", "more than f = (M - 1) // 3 seats: consensus", "elected_beyond_faults"),
    ):
        _draw_surface(ax, surface, name, [(item["p"], item["q"], item[drawn]) for item in points])
        ax.set_title(title)
    return figure


def _draw_surface(ax: Any, surface: dict[str, Any], name: str, drawn: list[tuple[float, float, float]]) -> None:
    q, p = np.meshgrid(100 * np.array(surface["q"]), 100 * np.array(surface["p"]))
    ax.plot_surface(q, p, np.array(surface[name]), cmap="viridis", vmin=0, vmax=1, linewidth=0, alpha=0.85, rstride=1, cstride=1)
    xs, ys, zs = zip(*((100 * q, 100 * p, z) for p, q, z in drawn), strict=True)
    ax.scatter(xs, ys, zs, color=COLOURS[1], s=14, depthshade=False, label="by the ledger's election")
    ax.set_xlabel("liars q, per cent")
    ax.set_ylabel("committee p, per cent")
    ax.set_zlabel("probability")
    ax.view_init(elev=24, azim=-125)
    ax.legend(loc="upper left")


def _probability(value: float) -> str:
    if value in (0.0, 1.0):
        return f"{value:g}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
