"""The pure rule of what may be pruned, held against its five reasons to keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.store.pruning import Needs, Payload, first_kept, is_stale, may_prune, prunable
from bflcd.types import Digest, Round

ROOTS = st.integers(0, 7).map(lambda number: Digest(bytes([number]) * 32))
ROUNDS = st.integers(0, 30).map(Round)
PAYLOADS = st.builds(Payload, ROOTS, st.integers(1, 100), st.none() | ROUNDS, ROUNDS)
NEEDS = st.builds(
    lambda head, ahead, pinned: Needs(head, frozenset(Round(head + n) for n in ahead), pinned),
    ROUNDS,
    st.frozensets(st.integers(-5, 2), max_size=3),
    st.frozensets(ROOTS, max_size=3),
)


@given(PAYLOADS, NEEDS, st.integers(1, 40))
def test_nothing_that_is_needed_goes(payload: Payload, needs: Needs, keep: int) -> None:
    reasons_to_keep = (
        payload.newest is None,
        payload.newest is not None and payload.newest >= needs.head,
        payload.newest is not None and payload.newest > needs.head - keep,
        payload.newest is not None and any(payload.newest >= round_ for round_ in needs.undecided),
        payload.root in needs.pinned,
    )
    assert may_prune(payload, needs, keep) is not any(reasons_to_keep)


@pytest.mark.parametrize(("undecided", "keep", "first"), [((), 1, 9), ((9, 10), 1, 9), ((4, 9), 1, 4), ((8,), 4, 6)])
def test_an_undecided_round_keeps_its_payloads_whatever_the_head(undecided: tuple[int, ...], keep: int, first: int) -> None:
    needs = Needs(Round(9), frozenset(map(Round, undecided)), frozenset())
    assert first_kept(needs, keep) == first


@given(PAYLOADS, NEEDS, st.integers(1, 40), st.integers(0, 10))
def test_keeping_more_rounds_prunes_no_more(payload: Payload, needs: Needs, keep: int, more: int) -> None:
    assert may_prune(payload, needs, keep) or not may_prune(payload, needs, keep + more)


@given(st.lists(PAYLOADS), NEEDS, st.integers(1, 40))
def test_the_oldest_goes_first(payloads: list[Payload], needs: Needs, keep: int) -> None:
    doomed = prunable(payloads, needs, keep)
    assert sorted(p.newest or 0 for p in doomed) == [p.newest or 0 for p in doomed]
    assert all(may_prune(p, needs, keep) for p in doomed)
    assert len(doomed) == sum(may_prune(p, needs, keep) for p in payloads)


@given(PAYLOADS, st.frozensets(ROOTS), ROUNDS)
def test_stale_is_what_nobody_names_or_pins_and_came_before(payload: Payload, pinned: frozenset[Digest], round_: Round) -> None:
    expected = payload.newest is None and payload.root not in pinned and payload.begun < round_
    assert is_stale(payload, pinned, round_) is expected


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_nothing_is_refused(keep: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        first_kept(Needs(Round(5), frozenset(), frozenset()), keep)
