"""What an attack cost, by the worst node, and whether that is allowed: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MIB: Final = 2**20

SLOWER: Final = 2.0
"""Times its usual time that a round may take."""

RSS_MIB: Final = 64.0
"""That a daemon's memory may grow by, at any moment."""

DISK_MIB: Final = 1.0
"""A round that the disk may take beyond what honest rounds took."""

LOG_MIB: Final = 1.0
"""That the log may grow by, over the whole attack."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one node: seconds since the start, and bytes."""

    node: str
    seconds: float
    round: int
    rss: int
    disk: int
    log: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The worst of all nodes over one span of time. `round_seconds` is infinite where no round was closed."""

    seconds: float
    rounds: int
    round_seconds: float
    rss_mib: float
    disk_mib: float
    """A round."""
    log_mib: float
    stall_seconds: float
    """The longest that a socket from another address waited for the network's first word."""


def figures_of(looks: Sequence[Look], stall: float) -> Figures:
    """From two or more looks at each node, in the order of time. Raises ValueError if there are none."""
    by_node: dict[str, list[Look]] = {}
    for look in looks:
        by_node.setdefault(look.node, []).append(look)
    if not by_node or min(map(len, by_node.values())) < 2:
        raise ValueError("nothing was measured: every node has to be looked at twice")
    spans = [(found[0], found[-1], max(look.rss for look in found)) for found in by_node.values()]
    rounds = [max(0, last.round - first.round) for first, last, _ in spans]
    seconds = max(last.seconds - first.seconds for first, last, _ in spans)
    return Figures(
        seconds=round(seconds, 1),
        rounds=min(rounds),
        round_seconds=round(seconds / min(rounds), 3) if min(rounds) else float("inf"),
        rss_mib=round(max(peak - first.rss for first, _, peak in spans) / MIB, 1),
        disk_mib=round(
            max((last.disk - first.disk) / max(1, n) for (first, last, _), n in zip(spans, rounds, strict=True)) / MIB, 3
        ),
        log_mib=round(max(last.log - first.log for first, last, _ in spans) / MIB, 3),
        stall_seconds=round(stall, 2),
    )


def complaints_of(usual: Figures, found: Figures) -> list[str]:
    """What is beyond the limits."""
    extra = found.disk_mib - usual.disk_mib
    cases = (
        (
            found.round_seconds > SLOWER * usual.round_seconds,
            f"a round took {found.round_seconds / usual.round_seconds:.1f} x its usual time",
        ),
        (found.rss_mib > RSS_MIB, f"memory grew by {found.rss_mib:.0f} MiB"),
        (extra > DISK_MIB, f"the disk grew by {extra:.1f} MiB a round beyond what is honest"),
        (found.log_mib > LOG_MIB, f"the log grew by {found.log_mib:.1f} MiB"),
    )
    return [text for is_so, text in cases if is_so]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attack's figures and what is wrong with them."""

    name: str
    row: int
    who: str
    what: str
    figures: Figures
    complaints: tuple[str, ...]


HEADINGS: Final = (
    "row",
    "attack",
    "by",
    "rounds",
    "s a round",
    "x usual",
    "MiB memory",
    "MiB disk a round",
    "MiB log",
    "s stall",
    "verdict",
)


def table(usual: Figures, outcomes: Sequence[Outcome]) -> str:
    """For people, as Markdown."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), ["", "(none)", "", *_cells(usual, usual), ""]]
    return "\n".join([*(_line(cells) for cells in lines), *(row(usual, one) for one in outcomes)])


def row(usual: Figures, one: Outcome) -> str:
    """An attack's line of the table."""
    return _line([str(one.row or ""), one.name, one.who, *_cells(usual, one.figures), "; ".join(one.complaints) or "holds"])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(usual: Figures, found: Figures) -> list[str]:
    return [
        str(found.rounds),
        f"{found.round_seconds:.2f}",
        f"{found.round_seconds / usual.round_seconds:.2f}",
        f"{found.rss_mib:+.1f}",
        f"{found.disk_mib:.3f}",
        f"{found.log_mib:.3f}",
        f"{found.stall_seconds:.2f}",
    ]
