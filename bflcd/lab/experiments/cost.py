"""What consensus costs (V-A): P x Q validations by a committee against (P + Q)^2 by everybody; computed, and counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bflcd.lab.plots import Line, draw_lines, new_figure
from bflcd.lab.report import Drawing, Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGREEMENT: Final = ("ScoreCard", "JustifiedPrePrepare", "Prepare", "Commit", "JustifiedViewChange")
"""Messages by which a committee judges and agrees."""

OFFERS: Final = ("Offer",)

COMPUTED: Final = (10, 20, 50, 100, 200, 500, 1000)
"""Sizes of communities that no two cores run as daemons."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the daemons of one community counted over `rounds` rounds, all nodes together.

    `trainers` P and `seats` Q of it; `validations`: updates that members judged; `messages`: sent, by kind; `payload_bytes`:
    updates and models that moved.
    """

    trainers: int
    seats: int
    rounds: int
    validations: float
    messages: dict[str, float]
    payload_bytes: float

    def sent(self, kinds: Sequence[str]) -> float:
        """Messages of these kinds a round."""
        return sum(self.messages.get(kind, 0.0) for kind in kinds) / self.rounds


def cost_report(counted: Sequence[Counted]) -> Report:
    """Counts beside what the formulas give."""
    rows = []
    for one in counted:
        p, q = one.trainers, one.seats
        others = sum(one.messages.values()) / one.rounds - one.sent(AGREEMENT) - one.sent(OFFERS)
        rows.append(
            (
                f"{p} + {q}",
                f"{p * q}",
                f"{one.validations / one.rounds:.1f}",
                f"{(p + q) ** 2}",
                f"{one.sent(AGREEMENT):.0f}",
                f"{one.sent(OFFERS):.0f}",
                f"{others:.0f}",
                f"{one.payload_bytes / one.rounds / 2**20:.1f}",
            )
        )
    header = (
        "trainers P + seats Q",
        "P x Q",
        "validations counted",
        "(P + Q)^2",
        "cards and votes sent",
        "offers sent",
        "presence and announcements sent",
        "payloads moved, MiB",
    )
    large = [(f"{n}", f"{(n - n // 5) * (n // 5)}", f"{(n - 4) * 4}", f"{n * n}") for n in COMPUTED]
    tables = (
        Table("A round of real daemons: computed, and counted by all nodes together", header, tuple(rows)),
        Table(
            "Computed: validations of a round",
            ("devices at work", "P x Q, a fifth judges", "P x Q, four judge", "(P + Q)^2"),
            tuple(large),
        ),
    )
    data: dict[str, Any] = {
        "counted": [
            {
                "trainers": one.trainers,
                "seats": one.seats,
                "rounds": one.rounds,
                "validations": one.validations / one.rounds,
                "messages": {kind: count / one.rounds for kind, count in sorted(one.messages.items())},
                "payload_bytes": one.payload_bytes / one.rounds,
            }
            for one in counted
        ]
    }
    return Report("cost", "What consensus costs", tables, data, (Drawing("cost", lambda: _draw(counted)),))


def _draw(counted: Sequence[Counted]) -> "Figure":
    figure, (left, right) = new_figure(2)
    sizes = tuple(float(one.trainers + one.seats) for one in counted)
    draw_lines(
        left,
        (
            Line("everybody validates: (P + Q)²", sizes, tuple(float((one.trainers + one.seats) ** 2) for one in counted)),
            Line("a committee does: P x Q", sizes, tuple(float(one.trainers * one.seats) for one in counted), dashed=True),
            Line("counted in daemons", sizes, tuple(one.validations / one.rounds for one in counted)),
        ),
        x="nodes at work, P + Q",
        y="validations a round",
    )
    draw_lines(
        right,
        (
            Line("cards and votes", sizes, tuple(one.sent(AGREEMENT) for one in counted)),
            Line("offers", sizes, tuple(one.sent(OFFERS) for one in counted)),
        ),
        x="nodes at work, P + Q",
        y="messages sent a round, all nodes",
    )
    return figure
