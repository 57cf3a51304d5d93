"""How long a community waits, by what its own rounds have shown (design 6.7)."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.alliance.parameters import with_value
from bflcd.ledger.pace import (
    CALM,
    LATE,
    MAX_SAID_VIEW,
    MOST_DOUBLINGS,
    WINDOW,
    Pace,
    collect_deadline,
    pace_after,
    too_short,
    view_timeout,
)
from bflcd.types import Millis
from tests.helpers.ledger import make_community

COMMUNITY = make_community(view_timeout=Millis(1_000), collect_deadline=Millis(60_000))
UNKNOWN = Pace()


def after(views: Iterable[int], pace: Pace = UNKNOWN, *, offered: bool | None = True) -> Pace:
    """The pace after rounds that say these views of their parents; the first of them is of a T0 that has stood for a while."""
    pace = pace if pace.calm else replace(pace, calm=1)
    for view in views:
        pace = pace_after(pace, view, offered=offered)
    return pace


@pytest.mark.parametrize(
    ("views", "doublings"),
    [
        ([0] * 100, 0),
        ([1] * (LATE - 1), 0),
        ([1] * LATE, 1),
        ([2] * LATE, 2),
        ([7] * LATE, MOST_DOUBLINGS),
        ([0, 1] * 100, 0),
        ([0, 1, 1, 1] * 3 + [0, 1, 1], 0),
        ([0, 1, 1, 1] * 4, 1),
        ([1] * 6 + [3] * 6, 1),
        ([1] * 5 + [3] * 7, 3),
        ([1] * LATE + [5] + [1] * (LATE - 1), 1),
        ([1] * LATE + [5] + [1] * LATE, 2),
        ([1] * 100 * LATE, MOST_DOUBLINGS),
        ([10**9] * LATE, MOST_DOUBLINGS),
    ],
)
def test_t0_doubles_as_often_as_most_rounds_have_needed(views: list[int], doublings: int) -> None:
    pace = after(views)
    assert pace.doublings == doublings
    assert view_timeout(COMMUNITY.params, pace) == 1_000 * 2**doublings


def test_a_step_down_comes_after_a_calm_alone_and_costs_few_rounds_if_it_was_too_soon() -> None:
    """Given a community that needs twice T0, when its rounds are calm, then one late window a calm is all that it loses."""
    pace, late = Pace(), 0
    for _ in range(20 * CALM):
        needed = int(pace.doublings < 1)
        late += needed
        pace = pace_after(pace, needed, offered=True)
    assert late <= 20 * (LATE + 1)
    assert after([0] * (CALM - 1), Pace(doublings=3)).doublings == 2
    assert after([0] * (CALM - 2), Pace(doublings=3)).doublings == 3


def test_a_third_of_the_leaders_moves_nothing_for_long() -> None:
    """Given leaders of whom each third fails, by lot, then T0 is doubled in less than a tenth of the rounds."""
    rng, pace, longer = Random(1), Pace(), 0
    for _ in range(20_000):
        pace = pace_after(pace, int(rng.random() < 1 / 3), offered=True)
        longer += pace.doublings > 0
    assert longer < 2_000


@pytest.mark.parametrize(("empty", "stretches"), [(0, 0), (1, 1), (3, 3), (4, 4), (40, MOST_DOUBLINGS)])
def test_each_round_in_which_nobody_offers_doubles_the_wait(empty: int, stretches: int) -> None:
    pace = after([0] * empty, offered=False)
    assert pace.stretches == stretches
    assert collect_deadline(COMMUNITY.params, pace) == 60_000 * 2**stretches
    assert too_short(pace) == (empty >= MOST_DOUBLINGS)
    assert after([0] * (CALM - 1), pace).stretches == stretches
    assert after([0] * CALM, pace).stretches == max(stretches - 1, 0)


def test_a_round_without_trainers_says_nothing_of_training() -> None:
    grown = Pace(stretches=2, heard=7)
    later = after([0] * 300, grown, offered=None)
    assert (later.stretches, later.heard) == (2, 7)


def test_what_managers_set_begins_anew() -> None:
    """Given waits that have grown, when managers set one of them, then it is what they say, and the other as it was."""
    grown = Pace((1, 0), 3, 7, 2, 9)
    state = replace(COMMUNITY.state, pace=grown)
    assert with_value(state, "view_timeout", 2_000).pace == Pace((), 0, 0, 2, 9)
    assert with_value(state, "collect_deadline", 30_000).pace == Pace((1, 0), 3, 7, 0, 0)
    assert with_value(state, "score_rows", 99).pace == with_value(state, "entry_fee", 5).pace == grown


@given(st.lists(st.tuples(st.integers(0, 2**40), st.none() | st.booleans()), max_size=600))
def test_no_history_leaves_the_bounds(rounds: list[tuple[int, bool | None]]) -> None:
    """T0 stays between what is set and sixteen times that, so every proof that needs a least or a longest view holds with these."""
    pace = Pace()
    for view, offered in rounds:
        pace = pace_after(pace, view, offered=offered)
        assert 0 <= pace.doublings <= MOST_DOUBLINGS
        assert 0 <= pace.stretches <= MOST_DOUBLINGS
        assert len(pace.views) <= WINDOW
        assert max(pace.views, default=0) <= MAX_SAID_VIEW
        assert max(pace.calm, pace.heard) < CALM
