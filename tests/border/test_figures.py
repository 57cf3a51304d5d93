"""What an attack may cost: the worst node counts, against the usual figures."""

import pytest

from tests.border.__main__ import EXTRA_SECONDS, MOST_SECONDS, share
from tests.border.attack import catalogue
from tests.border.figures import MIB, Figures, Look, Outcome, complaints_of, figures_of, table

USUAL = Figures(30.0, 30, 1.0, 2.0, 0.1, 0.0, 0.01)


def look(node: str, seconds: float, round_: int, rss: int = 100, disk: int = 10, log: int = 0) -> Look:
    return Look(node, seconds, round_, rss * MIB, disk * MIB, log * MIB)


def test_the_worst_node_counts() -> None:
    """Given two nodes of which one stands still in between and swells, then its figures are the community's."""
    looks = [
        look("a", 0, 5),
        look("b", 0, 5),
        look("b", 10, 7, rss=150),
        look("a", 20, 25),
        look("b", 20, 10, rss=90, disk=20, log=2),
    ]
    assert figures_of(looks, 0.257) == Figures(20.0, 5, 4.0, 50.0, 2.0, 2.0, 0.26)


def test_a_node_that_closes_no_round_takes_for_ever() -> None:
    found = figures_of([look("a", 0, 5), look("a", 20, 5)], 30.0)
    assert found.round_seconds == float("inf")
    assert complaints_of(USUAL, found) == ["a round took inf x its usual time"]


@pytest.mark.parametrize("looks", [[], [look("a", 0, 1)], [look("a", 0, 1), look("a", 1, 2), look("b", 0, 1)]])
def test_who_was_looked_at_once_shows_nothing(looks: list[Look]) -> None:
    with pytest.raises(ValueError, match="looked at twice"):
        figures_of(looks, 0.0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Figures(30.0, 15, 2.0, 64.0, 1.1, 1.0, 9.0), []),
        (Figures(30.0, 14, 2.1, 64.0, 1.1, 1.0, 0.0), ["a round took 2.1 x"]),
        (Figures(30.0, 30, 1.0, 64.1, 0.1, 0.0, 0.0), ["memory grew"]),
        (Figures(30.0, 30, 1.0, 0.0, 1.2, 0.0, 0.0), ["the disk grew by 1.1 MiB"]),
        (Figures(30.0, 30, 1.0, 0.0, 0.0, 1.1, 0.0), ["the log grew"]),
    ],
)
def test_each_limit_is_judged(found: Figures, said: list[str]) -> None:
    complaints = complaints_of(USUAL, found)
    assert len(complaints) == len(said)
    assert all(word in text for word, text in zip(said, complaints, strict=True))


def test_the_table_has_a_row_for_each_attack_and_says_what_fails() -> None:
    outcomes = [Outcome("one", 3, "stranger", "", USUAL, ()), Outcome("two", 0, "member", "", USUAL, ("bad", "worse"))]
    lines = table(USUAL, outcomes).splitlines()
    assert [line.count("|") for line in lines] == [12] * 5
    assert lines[3].endswith("| holds |")
    assert lines[4].endswith("| bad; worse |")


def test_every_attack_has_its_name_once_and_all_fit_into_ten_minutes() -> None:
    attacks = catalogue()
    assert {1, 2, 3, 9, 11} <= {one.row for one in attacks.values()}
    assert all(one.what and len(one.what) < 100 for one in attacks.values())
    seconds = share(480.0, len(attacks))
    assert 10.0 <= seconds <= MOST_SECONDS
    assert (seconds + EXTRA_SECONDS) * len(attacks) <= 450.0 + 1e-6
