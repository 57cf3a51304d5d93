"""Two middles of norms, and what is usual by what was so before (design 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.influence.norms import AGREEING, MIN_RATED, NEAR, Middles, middles
from bflcd.ledger.judgement import NORM_BAND_HIGH, NORM_BAND_LOW
from bflcd.ledger.medians import lower_median
from bflcd.types import MAX_NORM

NORM = st.integers(1, MAX_NORM)
GAIN = st.integers(-1, 256_000)
OFFERS = st.lists(st.tuples(NORM, GAIN), min_size=1, max_size=33)

SHORT_HALF = [(1, 4), (1, 4), (1, 4), (100, 64), (110, 64), (120, 64)]
"""Half of the offers are a hundredth of an update."""

LONG_HALF = [(2000, 64), (2000, 64), (2000, 64), (100, 16), (110, 16), (120, 16)]
"""Half of the offers are twenty updates long, and gain more."""


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([(7, 0)], (7, 7)),
        ([(9, 1), (5, 1)], (5, 5)),
        ([(9, 0), (5, 0), (7, 1)], (7, 7)),  # too few gain
        ([(9, 0), (9, 1), (1600, 1000), (9, 0)], (9, 9)),
        ([(9, 1), (5, 1), (7, 1)], (7, 7)),
        ([(9, 1), (5, 1), (7, 1), (8, 1)], (7, 7)),
        (SHORT_HALF, (1, 100)),
        (LONG_HALF, (120, 2000)),
        ([(1, 16), (1, 16), (1, 16), (1, 16), (100, 256), (110, 256)], (1, 1)),  # more than two thirds of what counts
        ([(1500, 64), (1500, 64), (100, 16), (100, 16), (100, 16), (100, 16)], (100, 100)),  # two of six
        ([(1500, 256), (100, 16), (100, 16), (100, 0)], (100, 100)),
        ([(1500, -1), (100, 16), (100, 16), (90, 16)], (100, 100)),
    ],
)
def test_the_two_middles_of_a_round_by_hand(offers: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    assert middles(offers) == Middles(*expected)


@pytest.mark.parametrize(
    ("offers", "before", "usual"),
    [
        (SHORT_HALF, 105, 100),
        (SHORT_HALF, 40, 40),
        (LONG_HALF, 105, 120),
        (LONG_HALF, 300, 300),
        (LONG_HALF, 5000, 2000),
        (SHORT_HALF, 0, 10),  # nothing was: a norm that is near both halves of the round
        (LONG_HALF, 0, 489),
        ([(7, 1), (7, 1), (7, 4), (112, 4), (112, 4), (112, 4)], 0, 7),  # both can be as usual at once
        ([(7, 1), (7, 1), (7, 4), (113, 4), (113, 4), (113, 4)], 0, 28),
    ],
)
def test_what_was_usual_decides_between_them(offers: list[tuple[int, int]], before: int, usual: int) -> None:
    """Half of a round's trainers, short or long, move what is usual no further than the honest half does."""
    assert middles(offers).nearest(before) == usual


@pytest.mark.parametrize(("low", "high", "agree"), [(5, 5, True), (5, 20, True), (5, 21, False), (1, 100, False)])
def test_they_agree_up_to_four_times(low: int, high: int, agree: bool) -> None:
    assert AGREEING == 4
    assert Middles(low, high).agree is agree


@pytest.mark.parametrize(("low", "high", "apart"), [(5, 5, False), (5, 1280, False), (5, 1281, True)])
def test_they_are_apart_where_no_norm_is_near_both(low: int, high: int, apart: bool) -> None:
    assert NORM_BAND_LOW == NORM_BAND_HIGH == NEAR
    assert Middles(low, high).apart is apart
    assert apart or Middles(low, high).nearest(0) * NEAR >= high - NEAR


@given(OFFERS, NORM, st.randoms())
def test_they_are_norms_of_the_round_in_any_order(offers: list[tuple[int, int]], before: int, random) -> None:
    found, norms = middles(offers), {norm for norm, _ in offers}
    assert {found.low, found.high} <= norms
    assert found.low <= found.nearest(before) <= found.high
    assert found.low <= found.nearest(0) <= found.high
    assert found.nearest(before) in {before, found.low, found.high}
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert middles(shuffled) == found


@given(st.lists(NORM, min_size=1, max_size=33), st.integers(0, 256_000))
def test_where_all_gain_alike_both_are_the_lower_median(norms: list[int], gain: int) -> None:
    assert middles([(norm, gain) for norm in norms]) == Middles(*[lower_median(norms)] * 2)


@given(st.lists(NORM, min_size=MIN_RATED, max_size=33), st.integers(1, 256_000), st.data())
def test_less_than_a_third_of_the_offers_says_nothing_beyond_the_others(norms: list[int], gain: int, data: st.DataObject) -> None:
    """Offers of one gain and liars that are less than a third of all, whatever these gain: both middles are between honest norms."""
    liars = data.draw(st.lists(st.tuples(NORM, GAIN), max_size=(len(norms) - 1) // 2))
    found = middles([*((norm, gain) for norm in norms), *liars])
    assert min(norms) <= found.low <= found.high <= max(norms)
