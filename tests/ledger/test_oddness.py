"""Odd offers: what stands out is refused, and whoever is usual, alone, alike or in the majority is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.trust.oddness import LEAST_COST, MIN_COMPARED, odd_offers
from bflcd.params import MILLION

TWICE = 2 * MILLION
COSTS = st.lists(st.integers(-MILLION, MILLION), max_size=30)


@pytest.mark.parametrize(
    ("costs", "odd"),
    [
        # middle of the three usual ones 20, mean distance 20 / 3
        ([10, 20, 30, 40, 50], []),  # beyond two spreads, and yet no more than a hundredth
        ([10_000, 20_000, 30_000, 32_000, 34_000], [4]),  # 14,000 above the middle is more than two spreads, 12,000 is not
        ([-50_000, -40_000, -30_000, 60_000, 70_000], [3, 4]),  # what helps every class is usual here
        ([70_000, -50_000, 60_000, -40_000, -30_000], [0, 2]),  # whatever their order
        ([0, 0, 0, 0, 0, 0, LEAST_COST, LEAST_COST + 1], [7]),  # alike, they bear a hundredth more
        ([0, 0, 0, 0, 200_000, 200_000, 200_000], [4, 5, 6]),  # three of seven lie
        ([0, 0, 200_000, 200_000, 200_000], []),  # three of five are the majority
        ([0, 0, 0, 200_000, 200_000, 200_000], [3, 4, 5]),  # half of six may be odd
        ([0, 0, 0, 900_000], []),  # too few to say what is usual
        ([], []),
    ],
)
def test_what_stands_out(costs, odd):
    assert [number for number, found in enumerate(odd_offers(costs, TWICE)) if found] == odd


def test_without_a_limit_nothing_is_odd():
    assert odd_offers([0, 0, 0, 0, MILLION], 0) == [False] * 5
    assert odd_offers([0, 0, 0, 0, MILLION], 1) == [False, False, False, False, True]


@given(COSTS, st.integers(0, 10 * MILLION))
def test_half_of_the_offers_are_never_odd_and_those_that_cost_more_are_odd_first(costs, limit):
    found = odd_offers(costs, limit)
    assert len(found) == len(costs)
    assert 2 * sum(found) <= len(costs)
    assert len(costs) >= MIN_COMPARED or not any(found)
    odd, usual = ([cost for cost, is_odd in zip(costs, found, strict=True) if is_odd is wanted] for wanted in (True, False))
    assert not odd or min(odd) > max(usual)


@given(COSTS, st.integers(0, 5 * MILLION), st.integers(-MILLION, MILLION))
def test_it_is_differences_that_count_and_a_wider_limit_refuses_fewer(costs, limit, shift):
    found = odd_offers(costs, limit)
    assert odd_offers([cost + shift for cost in costs], limit) == found
    wider = odd_offers(costs, 2 * limit)
    assert all(before or not after for before, after in zip(found, wider, strict=True))
