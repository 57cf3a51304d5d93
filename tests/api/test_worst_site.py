"""The lowest word of a round's judges, and the lowest that f liars can't have made up."""

from itertools import product

import pytest

from bflcd.api.worst_site import WorstSite, proven_worst, worst_site
from bflcd.ledger.medians import lower_median
from bflcd.ledger.quorum import faults, quorum
from bflcd.types import NodeId, PartsPerMillion

A, B, C, D = (NodeId(bytes([n]) * 32) for n in range(1, 5))


def words(*accuracies):
    return [PartsPerMillion(accuracy) for accuracy in accuracies]


@pytest.mark.parametrize(
    ("said", "lowest"),
    [
        ({}, None),
        ({A: 500_000}, (500_000, (A,))),
        ({A: 500_000, B: 0, C: 937_500}, (0, (B,))),
        ({D: 62_500, B: 62_500, A: 125_000}, (62_500, (B, D))),
        ({B: 0, A: 0}, (0, (A, B))),
        ({A: 1_000_000, B: 1_000_000}, (1_000_000, (A, B))),
    ],
)
def test_the_worst_site_is_the_lowest_word_with_the_names_of_who_says_it(said, lowest):
    assert worst_site(said) == (None if lowest is None else WorstSite(*lowest))


@pytest.mark.parametrize(
    ("said", "f", "proven"),
    [
        (words(), 0, None),
        (words(), 1, None),
        (words(400), 0, 400),
        (words(700, 400), 0, 400),
        (words(400), 1, None),
        (words(400, 700), 1, 700),
        (words(900, 0, 700), 1, 700),
        (words(900, 800, 0, 700), 1, 700),
        (words(900, 0, 0, 0, 900), 1, 0),
        (words(9, 8, 7, 6, 5), 2, 7),
        (words(9, 8), 2, None),
        (words(9, 8, 7), 2, 9),
    ],
)
def test_the_proven_worst_is_the_word_above_the_f_lowest(said, f, proven):
    assert proven_worst(said, f) == proven


@pytest.mark.parametrize("honest", list(product((1, 2, 3), repeat=4)))
def test_f_liars_hold_the_proven_worst_between_two_honest_words_and_the_lowest_at_or_below_all(honest):
    f, sorted_honest = 2, sorted(honest)
    for lies in product((0, 1, 2, 3, 4), repeat=f):
        said = words(*honest, *lies)
        proven, lowest = proven_worst(said, f), worst_site({NodeId(bytes([n]) * 32): word for n, word in enumerate(said)})
        assert proven is not None
        assert lowest is not None
        assert sorted_honest[0] <= proven <= sorted_honest[f]
        assert lowest.accuracy == min(*lies, sorted_honest[0])


@pytest.mark.parametrize("seats", range(4, 21))
def test_where_all_cards_of_a_round_have_a_word_the_proven_worst_is_the_median_or_the_word_below(seats):
    said = words(*range(quorum(seats)))
    assert proven_worst(said, faults(seats)) == lower_median(said) - (seats % 3 == 0)
