"""Weights of the packed updates (design 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.weights import MAX_WEIGHT, weights


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], ()),
        ([1], (1,)),
        ([70], (70,)),
        ([10, 20, 30], (10, 20, 30)),
        ([10, 20, 41], (10, 20, 40)),
        ([10, 20, 30, 2**40], (10, 20, 30, 40)),
        ([1, 2**40], (1, 2)),
        ([2**15, 2**15], (2**15, 2**15)),
        ([2**16, 2**16], (2**15, 2**15)),
        ([2**17, 2**18, 2**20], (2**14, 2**15, 2**16)),
        ([1, 2**20, 2**20], (1, 2**15, 2**15)),
    ],
)
def test_a_claim_counts_up_to_twice_the_lower_median(claims: list[int], expected: tuple[int, ...]) -> None:
    assert weights(claims) == expected


CLAIM = st.integers(1, 2**40)


@given(st.lists(CLAIM, min_size=1, max_size=64))
def test_weights_are_legal_and_keep_the_order_of_the_claims(claims: list[int]) -> None:
    found = weights(claims)
    assert all(1 <= weight <= MAX_WEIGHT for weight in found)
    by_claim = [weight for _, weight in sorted(zip(claims, found, strict=True))]
    assert by_claim == sorted(by_claim)


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=33), CLAIM)
def test_one_liar_weighs_at_most_twice_the_median_of_the_honest(honest: list[int], lie: int) -> None:
    found = weights([*honest, lie])
    assert found[-1] <= 2 * sorted(honest)[len(honest) // 2]
