"""What the flags of `genesis` and `testnet` become."""

import pytest

from bflcd.errors import OperatorError, UsageError
from bflcd.learn.data import DataConfig
from bflcd.params import MAX_COMMITTEE, default_committee
from bflcd.setup.options import CommunityOptions, check_deal
from tests.helpers.learning import write_npz


def options(*extra, **given):
    return CommunityOptions(extra=list(extra), **given)


@pytest.mark.parametrize(
    ("members", "seats", "places"),
    [(1, 4, 4), (5, 4, 4), (10, 4, 6), (24, 4, 20), (25, 5, 20), (50, 10, 40), (100, 20, 80), (1000, 20, 980)],
)
def test_a_fifth_of_the_members_judge_and_there_is_a_place_for_everybody_else(members, seats, places):
    found = options().params(members)
    assert (found.committee_size, found.places) == (seats, places)


def test_only_those_at_work_count():
    assert options("active_fraction=100000").params(900).committee_size == default_committee(90) == 18


def test_what_is_given_stands():
    found = options(committee_size=7, places=9).params(100)
    assert (found.committee_size, found.places) == (7, 9)


def test_in_a_small_community_the_committee_trains_too():
    assert options(committee_size=3, small_community=True).params(3).places == 3


def test_a_default_committee_fits_the_protocol():
    assert all(4 <= default_committee(at_work) <= MAX_COMMITTEE for at_work in (0, 1, 100, 10**6))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("active_fraction=half", "not a whole number"),
        ("committee_size=4", "there is no such parameter"),
        ("active_fraction", "KEY=VALUE"),
    ],
)
def test_what_is_no_parameter_is_refused(extra, words):
    with pytest.raises(UsageError, match=words):
        options(extra).params(10)


@pytest.mark.parametrize("rate", [float("inf"), float("nan"), 1e300, 100.1, 1e-9, -1.0])
def test_a_learning_rate_that_no_genesis_can_name_is_refused_where_it_is_given(rate):
    with pytest.raises(UsageError, match=r"--learning-rate .*: out of range") as refused:
        options(learning_rate=rate).training()
    assert refused.value.hint == "use 0.000001 to 100, or leave it out"


@pytest.mark.parametrize(("rate", "given"), [(0.0, {}), (1e-6, {"learning_rate": 1}), (100.0, {"learning_rate": 100_000_000})])
def test_learning_rates_are_millionths(rate, given):
    assert options(learning_rate=rate).training() == given


def test_a_deal_that_leaves_nodes_without_rows_is_refused_with_the_numbers(tmp_path):
    path = str(write_npz(tmp_path / "d.npz"))
    check_deal("femnist", DataConfig(path, "writer", count=5))
    check_deal("other:Task", DataConfig(path, "writer", count=9))
    text = rf"{path}: 50 training rows, dealt by writer to 9 nodes, leave \d of them without any \(node\d, "
    with pytest.raises(OperatorError, match=text) as refused:
        check_deal("femnist", DataConfig(path, "writer", count=9))
    assert (refused.value.code, refused.value.hint) == ("bad_data", "use fewer nodes, or --partition equal")
