"""Rewards: in proportion to gains, to the last unit (design 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.rewards import rewards
from bflcd.params import MILLION
from bflcd.types import NodeId

A, B, C, D = (NodeId(letter * 32) for letter in (b"a", b"b", b"c", b"d"))


@pytest.mark.parametrize(
    ("pool", "share", "gains", "expected"),
    [
        (1000, MILLION, {A: 1, B: 1}, ((A, 500), (B, 500))),
        (1000, 100_000, {A: 3, B: 1}, ((A, 75), (B, 25))),
        (100, MILLION, {C: 1, A: 1, B: 1}, ((A, 34), (B, 33), (C, 33))),
        (101, MILLION, {C: 1, A: 1, B: 1}, ((A, 34), (B, 34), (C, 33))),
        (10, MILLION, {A: 1, B: 2, C: 4}, ((A, 1), (B, 3), (C, 6))),
        (1, MILLION, {A: 1, B: 9}, ((B, 1),)),
        (2, MILLION, {D: 1, C: 1, B: 1, A: 1}, ((A, 1), (B, 1))),
        (1000, MILLION, {A: 5, B: 0, C: -7}, ((A, 1000),)),
        (1000, MILLION, {A: 0, B: -1}, ()),
        (1000, MILLION, {}, ()),
        (1000, 0, {A: 5}, ()),
        (999, 1000, {A: 5}, ()),
        (0, MILLION, {A: 5}, ()),
    ],
)
def test_shares(pool: int, share: int, gains: dict[NodeId, int], expected: tuple[tuple[NodeId, int], ...]) -> None:
    assert rewards(pool, share, gains) == expected


@given(
    pool=st.integers(0, 2**62),
    share=st.integers(0, MILLION),
    gains=st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(-(10**7), 10**9), max_size=40),
)
def test_the_payout_is_split_exactly_and_each_part_is_within_a_unit_of_its_share(
    pool: int, share: int, gains: dict[NodeId, int]
) -> None:
    found = dict(rewards(pool, share, gains))
    payout = pool * share // MILLION
    total = sum(max(gain, 0) for gain in gains.values())
    assert sum(found.values()) == (payout if total else 0)
    assert list(found) == sorted(found)
    for node, gain in gains.items():
        paid = found.get(node, 0)
        assert (paid == 0) if gain <= 0 else (abs(paid * total - payout * gain) < total)
