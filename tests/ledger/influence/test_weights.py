"""Weights of the packed updates (design 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import InvariantError
from bflcd.ledger.influence.weights import CLAIM_LIMIT, FEW_UPDATES, MOST_LIGHTENED, lighten_idle, weights
from bflcd.ledger.medians import lower_median
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
    assert weights(claims, [1] * len(claims), 0, 1) == expected


CLAIM = st.integers(1, 2**40)


@given(st.lists(CLAIM, min_size=1, max_size=64))
def test_weights_are_legal_and_keep_the_order_of_the_claims(claims: list[int]) -> None:
    found = weights(claims, [1] * len(claims), 0, 1)
    assert all(1 <= weight <= MAX_WEIGHT for weight in found)
    by_claim = [weight for _, weight in sorted(zip(claims, found, strict=True))]
    assert by_claim == sorted(by_claim)


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=33), CLAIM)
def test_one_liar_weighs_at_most_four_times_the_median_of_the_honest(honest: list[int], lie: int) -> None:
    found = weights([*honest, lie], [1] * (len(honest) + 1), 0, 1)
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
    assert weights(claims, norms, clip, lower_median(norms)) == expected


UPDATE = st.tuples(st.integers(1, 1000), st.integers(1, 2**22))


@given(st.lists(UPDATE, min_size=1, max_size=33), st.integers(MILLION // 4, 64 * MILLION), st.integers(1, 2**22))
def test_no_update_moves_the_model_further_than_the_clip_allows(updates: list[tuple[int, int]], clip: int, usual: int) -> None:
    claims, norms = [claim for claim, _ in updates], [norm for _, norm in updates]
    found = weights(claims, norms, clip, usual)
    cap = CLAIM_LIMIT * sorted(claims)[(len(claims) - 1) // 2]
    assert all(1 <= weight <= MAX_WEIGHT for weight in found)
    for weight, norm in zip(found, norms, strict=True):
        assert weight == 1 or weight * norm * MILLION <= MAX_WEIGHT * clip * usual
    if all(norm * MILLION <= clip * usual for norm in norms):
        assert found == tuple(max(1, min(claim, cap) * MAX_WEIGHT // cap) for claim in claims)


def test_a_norm_of_zero_is_our_own_bug() -> None:
    with pytest.raises(InvariantError):
        weights([1], [0], MILLION, 1)


HALF = MILLION // 2


@pytest.mark.parametrize(
    ("shares", "helps", "part", "expected"),
    [
        ([], [], HALF, ()),
        ([10, 20], [True, True], HALF, (10, 20)),
        ([10, 20], [False, False], HALF, (10, 20)),  # nobody helps: all are as they are
        ([10, 5], [True, False], HALF, (10, 5)),
        ([10, 6], [True, False], 0, (10, 6)),
        ([2**16, 2**16], [True, False], HALF, (2**16, 2**15)),
        ([2**15, 2**14, 2**14], [True, False, False], HALF, (2**16, 2**14, 2**14)),
        ([1, 1], [True, False], HALF, (2**16, 2**15)),  # no coarse ratios
        ([2**16, 2**16, 1], [True, False, False], HALF, (2**16, 32767, 1)),
        ([2**16, 1, 1], [False, True, False], 1, (2**13, 1, 1)),  # an eighth at least
        ([8, 1, 8], [False, True, False], HALF, (2**13, 2**13, 2**13)),
        ([3, 9], [True, False], MILLION, (21843, 21843)),
        ([1] * 16, [True] + [False] * 15, MILLION, (2**16, *[2**13] * 15)),
        ([1] * 17, [True] + [False] * 16, MILLION, (*[1] * 17,)),  # of so many the errors cancel each other
    ],
)
def test_what_helps_nobody_weighs_together_at_most_a_part_of_what_does(
    shares: list[int], helps: list[bool], part: int, expected: tuple[int, ...]
) -> None:
    assert lighten_idle(shares, helps, part) == expected


@given(st.lists(st.tuples(st.integers(1, MAX_WEIGHT), st.booleans()), max_size=33), st.integers(1, MILLION))
def test_lightened_weights_are_legal_and_in_proportion(updates: list[tuple[int, bool]], part: int) -> None:
    """Those that help stay as they are to each other; the idle weigh at most their part, but for one unit each."""
    shares, helps = [share for share, _ in updates], [fine for _, fine in updates]
    found = lighten_idle(shares, helps, part)
    assert all(1 <= weight <= MAX_WEIGHT for weight in found)
    kept = [(share, weight) for share, weight, fine in zip(shares, found, helps, strict=True) if fine]
    idle = [weight for weight, fine in zip(found, helps, strict=True) if not fine]
    scaled = sum(share for share, fine in zip(shares, helps, strict=True) if not fine) * (MAX_WEIGHT // max(shares, default=1))
    assert all(MOST_LIGHTENED * (weight + 1) > share for share, weight in zip(shares, found, strict=True)), "none is lost"
    assert all(share * kept[0][1] == weight * kept[0][0] for share, weight in kept)
    if len(shares) > FEW_UPDATES or not kept:
        assert list(found) == shares
    else:
        most = max(sum(weight for _, weight in kept) * part, MILLION * scaled // MOST_LIGHTENED)
        assert (sum(idle) - len(idle)) * MILLION <= most
