"""The usual norm that the ledger remembers, and the limit of a round's step that follows from it (design 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.influence.norms import middles
from bflcd.ledger.influence.step_limit import DRIFT, YOUNG_DRIFT, limit_of_step, step_limit, usual_norm_after
from bflcd.params import MILLION
from bflcd.types import MAX_NORM

NORM = st.integers(1, MAX_NORM)
NORMS = st.lists(NORM, min_size=1, max_size=33)

SHORT_HALF = [(1, 4), (1, 4), (1, 4), (100, 64), (110, 64), (120, 64)]
LONG_HALF = [(2000, 64), (2000, 64), (2000, 64), (100, 16), (110, 16), (120, 16)]


@pytest.mark.parametrize(
    ("before", "norms", "expected"),
    [
        (0, [], 0),
        (0, [7, 5, 9], 7),
        (0, [8, 2], 2),
        (100, [], 100),
        (100, [104, 1, 4000], 104),
        (100, [4000, 4000, 1], 125),
        (100, [1, 1, 4000], 80),
        (100, [125], 125),
        (100, [80], 80),
        (3, [4000], 4),
        (1, [4000], 2),
        (1, [1], 1),
        (2, [1], 1),
        (MAX_NORM, [MAX_NORM], MAX_NORM),
    ],
)
def test_the_usual_norm_by_hand(before: int, norms: list[int], expected: int) -> None:
    assert usual_norm_after(before, [(norm, 0) for norm in norms], free=False) == expected


@pytest.mark.parametrize(
    ("before", "norms", "expected"),
    [
        (0, [7, 5, 9], 7),
        (100, [], 100),
        (100, [150], 150),
        (100, [4000, 4000, 1], 400),
        (100, [1, 1, 4000], 25),
        (3, [1], 1),
        (1, [4000], 4),
    ],
)
def test_where_it_moves_freely_it_may_be_four_times_as_much_or_a_quarter(before: int, norms: list[int], expected: int) -> None:
    assert usual_norm_after(before, [(norm, 0) for norm in norms], free=True) == expected


@pytest.mark.parametrize(
    ("before", "packed", "expected"),
    [
        (400, SHORT_HALF, 320),  # the honest half says 100, and a round in which two middles differ moves by a quarter
        (20, SHORT_HALF, 20),
        (20, LONG_HALF, 25),
        (2000, LONG_HALF, 2000),
        (400, [(100, 16), (110, 16), (120, 64)], 110),
    ],
)
def test_it_moves_freely_only_where_both_middles_agree(before: int, packed: list[tuple[int, int]], expected: int) -> None:
    assert usual_norm_after(before, packed, free=True) == expected


@given(st.lists(st.tuples(NORM, st.integers(0, 256_000)), min_size=1, max_size=33), NORM, st.booleans())
def test_it_comes_nearer_to_what_a_round_says(packed: list[tuple[int, int]], before: int, free: bool) -> None:
    """And no nearer than a round may move it; what lies between the round's two middles stays."""
    after, usual = usual_norm_after(before, packed, free=free), middles(packed).nearest(before)
    assert min(before, usual) <= after <= max(before, usual)
    assert after != before or usual == before
    assert before - 1 - before * (YOUNG_DRIFT - 1) // YOUNG_DRIFT <= after <= before * YOUNG_DRIFT


@given(NORM, NORMS)
def test_a_round_moves_the_usual_norm_by_a_quarter_at_most(before: int, norms: list[int]) -> None:
    after = usual_norm_after(before, [(norm, 0) for norm in norms], free=False)
    assert 1 <= after <= MAX_NORM
    assert before - 1 - before // (DRIFT + 1) <= after <= before + max(1, before // DRIFT)


@given(NORM, NORM)
def test_it_comes_to_where_the_norms_are(before: int, norm: int) -> None:
    """Whatever captured rounds have made of it, honest ones bring it back: a norm may be 2^22 times another."""
    usual = before
    for _ in range(100):
        usual = usual_norm_after(usual, [(norm, 0)], free=False)
    assert usual == norm


@pytest.mark.parametrize(
    ("clip", "usual", "expected"),
    [
        (2 * MILLION, 0, None),
        (0, 5, None),
        (2 * MILLION, 5, 10),
        (1_500_000, 5, 7),
        (1, 5, 1),
        (64 * MILLION, MAX_NORM, 64 * MAX_NORM),
    ],
)
def test_the_limit_is_the_clip_times_what_is_usual(clip: int, usual: int, expected: int | None) -> None:
    assert step_limit(clip, usual) == expected


@pytest.mark.parametrize(
    ("clip", "usual", "packed", "young", "expected"),
    [
        (2 * MILLION, 0, (7, 7, 90), True, -7),  # the first step: what its own round makes usual
        (2 * MILLION, 0, (7, 7, 90), False, -7),
        (2 * MILLION, 0, (7, 7, 7, 9000, 9000, 9000), True, -7),
        (MILLION, 0, (), True, -1),  # nothing moves
        (0, 0, (7,), True, None),
        (0, 5, (7,), True, None),
        (0, 5, (7,), False, None),
        (2 * MILLION, 5, (7,), True, -5),
        (2 * MILLION, 5, (7,), False, 10),
        (1, 5, (7,), True, -5),
        (1, 5, (7,), False, 1),
    ],
)
def test_while_a_model_is_young_and_at_first_each_update_is_held_to_what_is_usual_and_the_sign_says_so(
    clip: int, usual: int, packed: tuple[int, ...], young: bool, expected: int | None
) -> None:
    assert limit_of_step(clip, usual, [(norm, 1000) for norm in packed], young=young) == expected
