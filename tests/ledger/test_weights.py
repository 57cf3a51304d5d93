"""Weights of the packed updates (design 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import InvariantError
from bflcd.ledger.weights import CLAIM_LIMIT, weights
from bflcd.params import MILLION
from bflcd.types import MAX_WEIGHT


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], ()),
        ([1], (1,)),
        ([70], (70,)),
        ([10, 20, 30], (10, 20, 30)),
        ([10, 20, 81], (10, 20, 80)),
        ([10, 20, 30, 2**40], (10, 20, 30, 80)),
        ([1, 2**40], (1, 4)),
        ([2**14, 2**14], (2**14, 2**14)),
        ([2**15, 2**15], (2**14, 2**14)),
        ([2**17, 2**18, 2**21], (2**13, 2**14, 2**16)),
        ([1, 2**20, 2**20], (1, 2**14, 2**14)),
    ],
)
def test_a_claim_counts_up_to_four_times_the_lower_median(claims: list[int], expected: tuple[int, ...]) -> None:
    assert weights(claims, [1] * len(claims), 0) == expected


CLAIM = st.integers(1, 2**40)


@given(st.lists(CLAIM, min_size=1, max_size=64))
def test_weights_are_legal_and_keep_the_order_of_the_claims(claims: list[int]) -> None:
    found = weights(claims, [1] * len(claims), 0)
    assert all(1 <= weight <= MAX_WEIGHT for weight in found)
    by_claim = [weight for _, weight in sorted(zip(claims, found, strict=True))]
    assert by_claim == sorted(by_claim)


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=33), CLAIM)
def test_one_liar_weighs_at_most_four_times_the_median_of_the_honest(honest: list[int], lie: int) -> None:
    found = weights([*honest, lie], [1] * (len(honest) + 1), 0)
    assert found[-1] <= CLAIM_LIMIT * sorted(honest)[len(honest) // 2]


@pytest.mark.parametrize(
    ("claims", "norms", "clip", "expected"),
    [
        ([10, 10], [5, 5], MILLION, (2**14, 2**14)),
        ([10, 40], [5, 5], MILLION, (2**14, 2**16)),
        ([10, 10, 10], [4, 4, 16], MILLION, (2**14, 2**14, 2**12)),
        ([10, 10, 10], [4, 4, 16], 2 * MILLION, (2**14, 2**14, 2**13)),
        ([10, 10, 10], [4, 4, 16], 4 * MILLION, (2**14, 2**14, 2**14)),
        ([10, 10, 10], [1, 4, 4], MILLION, (2**14, 2**14, 2**14)),
        ([10, 10], [4, 8], MILLION // 2, (2**13, 2**12)),
        ([1, 2**40, 2**40], [1, 1, 2**22], MILLION, (1, 2**14, 1)),
        ([10, 20, 30], [7, 8, 9], 0, (10, 20, 30)),
    ],
)
def test_an_update_counts_as_one_of_the_clipped_norm(
    claims: list[int], norms: list[int], clip: int, expected: tuple[int, ...]
) -> None:
    assert weights(claims, norms, clip) == expected


UPDATE = st.tuples(st.integers(1, 1000), st.integers(1, 2**22))


@given(st.lists(UPDATE, min_size=1, max_size=33), st.integers(MILLION // 4, 64 * MILLION))
def test_no_update_moves_the_model_further_than_the_clip_allows(updates: list[tuple[int, int]], clip: int) -> None:
    claims, norms = [claim for claim, _ in updates], [norm for _, norm in updates]
    found = weights(claims, norms, clip)
    usual, cap = sorted(norms)[(len(norms) - 1) // 2], CLAIM_LIMIT * sorted(claims)[(len(claims) - 1) // 2]
    assert all(1 <= weight <= MAX_WEIGHT for weight in found)
    for weight, norm in zip(found, norms, strict=True):
        assert weight == 1 or weight * norm * MILLION <= MAX_WEIGHT * clip * usual
    if all(norm * MILLION <= clip * usual for norm in norms):
        assert found == tuple(max(1, min(claim, cap) * MAX_WEIGHT // cap) for claim in claims)


def test_a_norm_of_zero_is_our_own_bug() -> None:
    with pytest.raises(InvariantError):
        weights([1], [0], MILLION)
