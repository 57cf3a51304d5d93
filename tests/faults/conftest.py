"""Figures of the fault catalogue: asserted where they are measured, and shown in one table when `BFLC_FIGURES` is set."""

import os
from collections.abc import Callable

import pytest

from tests.helpers.scenes import Figure


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """`figure(row, measured, asked, unit)` records a figure and asserts that it is at most what is asked."""

    def note(row: int, measured: float, asked: float, unit: str) -> None:
        record_property("figure", (row, round(measured, 3), round(asked, 3), unit))
        assert measured <= asked, f"row {row}: {measured} {unit}, at most {asked} was asked"

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not os.environ.get("BFLC_FIGURES"):
        return
    worst: dict[tuple[int, str], tuple[float, float, int]] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "figure":
                row, measured, asked, unit = value
                before = worst.get((row, unit))
                count = 1 if before is None else before[2] + 1
                if before is None or measured / (asked or 1) > before[0] / (before[1] or 1):
                    worst[row, unit] = (measured, asked, count)
                else:
                    worst[row, unit] = (*before[:2], count)
    terminalreporter.write_sep("=", "figures: the worst of all runs of a row")
    for (row, unit), (measured, asked, count) in sorted(worst.items()):
        terminalreporter.write_line(f"row {row:>2}: {measured:g} of at most {asked:g} {unit} ({count} runs)")
