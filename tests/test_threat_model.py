"""The table of docs/threat-model.md says what the formula says, and every test that the page names is there."""

import re
from math import comb

import pytest

from bflcd.lab.committee_capture import CommitteeCapture
from bflcd.ledger.quorum import quorum
from tests.helpers.daemons import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")

SHARES = (10, 20, 30)
"""Percent of the members that lie."""

ROWS = [tuple(map(str.strip, line.strip("| \n").split("|"))) for line in PAGE.splitlines() if re.match(r"\| \d+ \| \d+ \|", line)]


def certify(members: int, seats: int, liars: int) -> float:
    """Probability that q of the seats go to liars."""
    ways = (comb(liars, x) * comb(members - liars, seats - x) for x in range(quorum(seats), min(seats, liars) + 1))
    return sum(ways) / comb(members, seats)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} members, {row[1]} seats")
def test_the_capture_table_is_the_formula(row: tuple[str, ...]) -> None:
    members, seats = int(row[0]), int(row[1])
    liars = [round(members * share / 100) for share in SHARES]
    beyond = [f"{100 * CommitteeCapture(members, seats, count).beyond_faults:.1f}" for count in liars]
    assert list(row[2:]) == [*beyond, *(f"{100 * certify(members, seats, count):.2f}" for count in liars)]


def test_there_is_a_table() -> None:
    assert len(ROWS) >= 8


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))))
def test_what_the_page_calls_a_test_is_one(path: str) -> None:
    assert "def test_" in (ROOT / path).read_text(encoding="utf-8")
