"""Probabilities of too many adversaries in the committee: exact, and reached by the ledger's own elections."""

from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from bflcd.errors import UsageError
from bflcd.lab.committee_capture import CommitteeCapture, capture_of, elected
from bflcd.ledger.quorum import faults


def counted(capture: CommitteeCapture, bound: int) -> Fraction:
    """Every committee counted that there could be."""
    committees = list(combinations(range(capture.devices), capture.seats))
    return Fraction(sum(sum(device < capture.adversaries for device in one) > bound for one in committees), len(committees))


small = st.integers(1, 9).flatmap(lambda n: st.builds(CommitteeCapture, st.just(n), st.integers(1, n), st.integers(0, n)))


@given(small)
def test_every_committee_counted(capture):
    assert capture.majority == float(counted(capture, capture.seats // 2))
    assert capture.beyond_faults == float(counted(capture, (capture.seats - 1) // 3))


large = st.integers(10, 2000).flatmap(lambda n: st.builds(CommitteeCapture, st.just(n), st.integers(1, n), st.integers(0, n)))


@given(large)
def test_it_is_the_hypergeometric_distribution(capture):
    found = hypergeom(capture.devices, capture.adversaries, capture.seats)
    assert capture.majority == pytest.approx(float(found.sf(capture.seats // 2)), rel=1e-6, abs=1e-12)
    assert capture.beyond_faults == pytest.approx(float(found.sf(faults(capture.seats))), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("p", "q", "majority", "beyond"),
    [
        (1.0, 0.0, 0.0, 0.0),
        (1.0, 0.5, 0.0, 1.0),  # exactly half of the seats is no majority
        (1.0, 0.51, 1.0, 1.0),
        (1.0, 0.33, 0.0, 0.0),  # f = 33 of 100
        (1.0, 0.34, 0.0, 1.0),
        (1.0, 1.0, 1.0, 1.0),
        (0.1, 0.0, 0.0, 0.0),
        (0.1, 1.0, 1.0, 1.0),
        (0.001, 0.2, 0.2, 0.2),  # one seat, always at least one
    ],
)
def test_the_edges(p, q, majority, beyond):
    capture = capture_of(100, p, q)
    assert (capture.majority, capture.beyond_faults) == (majority, beyond)


@pytest.mark.parametrize(
    ("devices", "p", "q"),
    [(0, 0.1, 0.1), (10, 0.0, 0.1), (10, 1.1, 0.1), (10, 0.1, -0.1), (10, 0.1, 1.1), (10, float("nan"), 0.1)],
)
def test_shares_that_are_none_are_refused(devices, p, q):
    with pytest.raises(UsageError) as caught:
        capture_of(devices, p, q)
    assert caught.value.hint
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.3), (0.1, 0.5)])
def test_elections_by_the_ledger_come_to_the_same(p, q):
    """Given a hundred devices, when 400 committees are drawn by the ledger's random election, then adversaries hold too many seats as often
    as computed, within four standard deviations; and other seeds draw other committees.
    """
    capture = capture_of(100, p, q)
    found = elected(capture, 1, elections=400)
    for share, exact in zip(found, (capture.majority, capture.beyond_faults), strict=True):
        assert abs(share - exact) < 4 * (exact * (1 - exact) / 400) ** 0.5 + 0.003
    assert elected(capture, 1, elections=400) == found
    assert elected(capture, 2, elections=400) != found
    assert elected(capture_of(100, p, 0.0), 1, elections=20) == (0.0, 0.0)
    assert elected(capture_of(100, p, 1.0), 1, elections=20) == (1.0, 1.0)
