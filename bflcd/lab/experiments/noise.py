"""What judges' noise costs in accuracy, and what it promises: the digits, by size of the community and by attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bflcd.lab.config import SimulationConfig
from bflcd.lab.experiments.trials import CLEAN
from bflcd.lab.grid import Change, Grid, Results, Spread, difference
from bflcd.lab.plots import Line, draw_lines, new_figure
from bflcd.lab.report import Drawing, Report, Table
from bflcd.lab.scale import Plan
from bflcd.ledger.trust.accounting import Answers, cost, epsilon
from bflcd.ledger.trust.noise import BASE_ANSWERS
from bflcd.params import NOISE_UNIT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS: Final = 1_528
"""Training rows of the digits, dealt to all devices."""

DELTA: Final = 1e-5

ROUNDS: Final = 100
"""Of which a judge sits in as many as there are seats for."""

BASE: Final = SimulationConfig(task="digits", active=1.0, rounds=60, learning_rate=0.1, rate_decay=0.98, every=5)

SIZES: Final[Mapping[int, int]] = {6: 10, 10: 14, 20: 25, 90: 110}
"""Devices by trainers: the others judge."""

NOISES: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""In what one row changes an answer by."""

ATTACKS: Final = (
    CLEAN,
    Change("sign flip 30 %", {"attack": "sign-flip", "liars": 0.3}),
    Change("label flip 30 %", {"attack": "label-flip", "liars": 0.3}),
)


@dataclass(frozen=True, slots=True)
class Point:
    """What noise of so many rows costs a community under an attack: points of accuracy, seed by seed."""

    trainers: int
    attack: str
    noise: float
    lost: Spread


def noise_grid(plan: Plan) -> Grid:
    """Every noise by every size and attack."""
    variants = tuple(Change(_label(noise), rules={"score_noise": noise}) for noise in NOISES)
    scenarios = tuple(
        Change(f"{trainers}, {attack.label}", attack.config | {"devices": devices})
        for trainers, devices in SIZES.items()
        for attack in ATTACKS
    )
    return Grid(BASE, variants, scenarios, plan.seeds)


def noise_report(results: Results) -> Report:
    """What is lost to none, and the bound, by size."""
    points = [
        Point(trainers, attack.label, noise, results.paired(_label(noise), _label(0.0), f"{trainers}, {attack.label}"))
        for trainers in SIZES
        for attack in ATTACKS
        for noise in NOISES
    ]
    header = ("trainers", "noise", "a card", "a hundred rounds", *(attack.label for attack in ATTACKS))
    rows = tuple(
        (f"{trainers}", f"{noise:g}", *(f"{one:.3g}" for one in bounds(trainers, noise)), *_lost(points, trainers, noise))
        for trainers in SIZES
        for noise in NOISES
        if noise
    )
    title = f"Epsilon at delta {DELTA:g}; accuracy, points, against no noise: mean ± standard error over seeds"
    drawing = Drawing("noise", lambda: draw(points))
    table = Table(title, header, rows)
    return Report("noise", "What judges' noise costs", (table,), results.data(), (drawing,), rules_version=results.rules_version)


def bounds(trainers: int, noise: float) -> tuple[float, float]:
    """Epsilon of one card that answers all trainers, and of a judge's cards in a hundred rounds."""
    devices = SIZES[trainers]
    one = cost(Answers(round(noise * NOISE_UNIT), trainers + BASE_ANSWERS, ROWS // devices, ROWS // devices))
    sittings = ROUNDS * (devices - trainers) / devices
    return epsilon(one, DELTA), epsilon(tuple(part * sittings for part in one), DELTA)


def draw(points: Sequence[Point]) -> "Figure":
    """A panel an attack: what is lost against the bound of a hundred rounds, a curve a size."""
    figure, axes = new_figure(len(ATTACKS), width=3.3, sharey=True)
    for ax, attack in zip(axes, ATTACKS, strict=True):
        lines = []
        for trainers in SIZES:
            of_size = [one for one in points if (one.trainers, one.attack) == (trainers, attack.label)]
            found = [one for one in of_size if one.noise and one.lost.count]
            x = tuple(bounds(trainers, one.noise)[1] for one in found)
            lines.append(Line(f"{trainers} trainers", x, tuple(one.lost.mean for one in found)))
        draw_lines(
            ax, lines, x="epsilon, a hundred rounds", y="points against no noise", title=attack.label, legend=ax is axes[0]
        )
        ax.set_xscale("log")
        ax.axhline(-0.3, color="grey", linewidth=0.8, linestyle=":")
    return figure


def _label(noise: float) -> str:
    return f"noise {noise:g}"


def _lost(points: Sequence[Point], trainers: int, noise: float) -> list[str]:
    return [difference(one.lost) for one in points if (one.trainers, one.noise) == (trainers, noise)]
