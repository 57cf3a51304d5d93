"""A small version of `tests.bench.grinding`: who lets views fail to have draws made again gains next to nothing (design 5, Lot)."""

import pytest

from tests.bench.grinding import BEFORE, HONEST, Community, Place, Strategy, measured, play

TARGET = 1.1
"""Times their fair share that liars may get of seats and of leads."""

RUNS = 8


@pytest.mark.parametrize("place", [Place(12, 4, 3), Place(20, 7, 4)], ids=str)
@pytest.mark.parametrize("strategy", [Strategy("seats"), Strategy("leads", 0.5, 3), Strategy("leads")], ids=str)
def test_letting_views_fail_gains_next_to_nothing(place: Place, strategy: Strategy) -> None:
    """Given liars that know all their own draws, when they let views fail whenever that looks better, for 300 rounds, then they get
    at most 1.1 times their share of the seats, of the proposals that decide, and of the first leaders."""
    fair, found = place.liars / place.members, measured(place, strategy, RUNS)
    for share in ("seats", "leads", "first"):
        assert found[share].value <= TARGET * fair, (share, str(found[share]))


def test_honest_liars_get_their_share() -> None:
    """By symmetry: the same draws for everybody."""
    place = Place(12, 4, 3)
    found = measured(place, HONEST, RUNS)
    assert abs(found["seats"].value - 1 / 4) < 2 * found["seats"].half
    assert abs(found["leads"].value - 1 / 4) < 2 * found["leads"].half


def test_who_could_choose_among_draws_would_lead_nearly_always() -> None:
    """The rule before, for comparison, and so that the measurement is known to see what it is there for."""
    assert play(Place(12, 4, 3), BEFORE[1], 0, rounds=60).leads > 0.9


def test_a_run_is_the_same_again() -> None:
    first, again = Community(Place(12, 4, 3), 5), Community(Place(12, 4, 3), 5)
    assert first.start == again.start
    assert play(Place(12, 4, 3), Strategy("seats"), 5, 30) == play(Place(12, 4, 3), Strategy("seats"), 5, 30)
