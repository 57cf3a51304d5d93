"""What is usual among norms goes by gains (design 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.influence.norms import GAIN_CAP, MIN_RATED, held_gains, usual_among
from bflcd.ledger.medians import lower_median
from bflcd.types import MAX_NORM

NORM = st.integers(1, MAX_NORM)
GAIN = st.integers(-1, 256_000)
OFFERS = st.lists(st.tuples(NORM, GAIN), min_size=1, max_size=33)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((), ()),
        ((-1, 0), (0, 0)),
        ((5,), (5,)),
        ((4, 100), (4, 8)),
        ((-1, 4, 4, 100), (0, 4, 4, 8)),
        ((1, 4, 16), (1, 4, 8)),
    ],
)
def test_a_gain_counts_at_most_twice_the_middle_one(gains: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert held_gains(gains) == expected


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([(7, 0)], 7),
        ([(9, 1), (5, 1)], 5),
        ([(9, 0), (5, 0), (7, 1)], 7),  # too few gain: the plain middle of all
        ([(9, 1), (5, 1), (7, 1)], 7),
        ([(9, 1), (5, 1), (7, 1), (8, 1)], 7),
        ([(1, 4), (1, 4), (1, 4), (100, 64), (110, 64), (120, 64)], 100),  # half of a round's offers are a hundredth of one
        ([(1, 16), (1, 16), (1, 16), (1, 16), (100, 256), (110, 256)], 1),  # more than two thirds of what counts
        ([(1500, 64), (1500, 64), (100, 16), (100, 16), (100, 16), (100, 16)], 100),  # two long ones gain four times as much
        ([(1500, 256), (100, 16), (100, 16), (100, 0)], 100),
    ],
)
def test_the_usual_norm_of_a_round_by_hand(offers: list[tuple[int, int]], expected: int) -> None:
    assert usual_among(offers) == expected


@given(OFFERS, st.randoms())
def test_it_is_one_of_the_norms_in_any_order(offers: list[tuple[int, int]], random) -> None:
    usual = usual_among(offers)
    assert usual in {norm for norm, _ in offers}
    shuffled = list(offers)
    random.shuffle(shuffled)
    assert usual_among(shuffled) == usual


@given(st.lists(NORM, min_size=MIN_RATED, max_size=33), st.integers(1, 256_000))
def test_where_all_gain_alike_it_is_the_lower_median(norms: list[int], gain: int) -> None:
    assert usual_among([(norm, gain) for norm in norms]) == lower_median(norms)


@given(st.lists(st.tuples(NORM, st.integers(1, 256_000)), min_size=MIN_RATED, max_size=33), st.data())
def test_a_third_of_the_offers_says_nothing_beyond_the_others(honest: list[tuple[int, int]], data: st.DataObject) -> None:
    """Offers of one gain and as many liars as are a third of all, whatever these gain: the usual norm is between honest ones."""
    gain = honest[0][1]
    alike = [(norm, gain) for norm, _ in honest]
    liars = data.draw(st.lists(st.tuples(NORM, GAIN), max_size=len(alike) // GAIN_CAP))
    norms = [norm for norm, _ in alike]
    assert min(norms) <= usual_among([*alike, *liars]) <= max(norms)
