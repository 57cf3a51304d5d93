"""How long a peer's answer is waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.net.limits import MAX_BUCKETS
from bflcd.net.round_trips import RoundTrips
from bflcd.types import NodeId

LEAST, MOST = 3.0, 24.0
ANN, BOB = NodeId(b"a" * 32), NodeId(b"b" * 32)


@pytest.fixture
def trips() -> RoundTrips:
    return RoundTrips(LEAST, MOST)


def test_who_was_never_measured_or_is_fast_gets_the_least(trips: RoundTrips) -> None:
    assert trips.timeout(ANN) == LEAST
    trips.answered(ANN, 0.01)
    assert trips.timeout(ANN) == LEAST


def test_the_first_answer_counts_threefold(trips: RoundTrips) -> None:
    """RFC 6298, 2.2: the estimate is R, its variation R / 2, the timeout the one and four times the other."""
    trips.answered(ANN, 2.0)
    assert trips.timeout(ANN) == pytest.approx(6.0)
    assert trips.timeout(BOB) == LEAST


def test_later_answers_count_by_an_eighth_and_their_variation_by_a_quarter(trips: RoundTrips) -> None:
    """RFC 6298, 2.3."""
    trips.answered(ANN, 2.0)
    trips.answered(ANN, 4.0)
    assert trips.timeout(ANN) == pytest.approx(2.25 + 4 * 1.25)


def test_silence_doubles_until_an_answer_comes(trips: RoundTrips) -> None:
    waits = []
    for _ in range(5):
        trips.silent(ANN)
        waits.append(trips.timeout(ANN))
    assert waits == [6.0, 12.0, 24.0, 24.0, 24.0]
    trips.answered(ANN, 0.1)
    assert trips.timeout(ANN) == LEAST


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=60))
def test_it_stays_within_its_bounds(answers: list[float | None]) -> None:
    trips = RoundTrips(LEAST, MOST)
    for seconds in answers:
        if seconds is None:
            trips.silent(ANN)
        else:
            trips.answered(ANN, seconds)
        assert LEAST <= trips.timeout(ANN) <= MOST


def test_a_bounded_number_of_peers_is_remembered(trips: RoundTrips) -> None:
    for number in range(MAX_BUCKETS + 1):
        trips.answered(NodeId(number.to_bytes(32, "big")), 2.0)
    assert trips.timeout(NodeId((0).to_bytes(32, "big"))) == LEAST
    assert trips.timeout(NodeId((1).to_bytes(32, "big"))) > LEAST
