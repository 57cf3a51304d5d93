"""What a card says of a judge's rows: few levels, one word for what does not qualify, nothing that the decision does not need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.cards import CardRules
from bflcd.ledger.disclosure import (
    GAIN_LEVELS,
    LEAST_ROW_LIMIT,
    MOST_ROW_LIMIT,
    REFUSED,
    coarse_accuracy,
    coarse_loss,
    margin,
    row_limit,
    said_accuracy,
    said_gain,
)
from bflcd.params import MILLION, Params
from bflcd.types import MicroNats, PartsPerMillion
from tests.helpers.ledger import make_card, make_community, make_entry, make_offer

LEAST = MicroNats(-240_000)
GAIN = st.integers(-(10**9), 10**9).map(MicroNats)
SHARE = st.integers(0, MILLION).map(PartsPerMillion)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (0, 30),
        (6_000, 30),
        (10_000, 60),
        (100_000, 6_000),
        (400_000, 96_000),
        (500_000, 150_000),
        (800_000, 240_000),
        (MILLION, 300_000),
    ],
)
def test_the_margin_grows_with_what_the_model_knows(known: int, expected: int) -> None:
    assert margin(Params(), PartsPerMillion(known)) == expected


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (-(10**9), REFUSED),
        (-240_001, REFUSED),
        (-240_000, 0),
        (-1, 0),
        (0, 0),
        (15, 0),
        (16, 16),
        (62, 16),
        (249, 63),
        (999, 250),
        (1_000, 1_000),
        (15_999, 4_000),
        (16_000, 16_000),
        (255_999, 64_000),
        (10**9, 256_000),
    ],
)
def test_a_gain_is_said_by_the_lower_edge_of_its_level(gain: int, said: int) -> None:
    assert said_gain(MicroNats(gain), LEAST) == said


@given(gain=GAIN, other=GAIN, least=st.integers(-300_000, -30).map(MicroNats))
def test_a_card_has_ten_words_in_the_order_of_what_they_mean(gain: MicroNats, other: MicroNats, least: MicroNats) -> None:
    said = said_gain(gain, least)
    assert said in {REFUSED, *GAIN_LEVELS}
    assert (said == REFUSED) is (gain < least)
    assert said <= max(gain, 0)
    assert gain > other or said <= said_gain(other, least)


@given(accuracy=SHARE, gain=st.sampled_from([REFUSED, *GAIN_LEVELS]))
def test_accuracies_are_said_only_where_they_rank_and_of_what_qualifies(accuracy: PartsPerMillion, gain: MicroNats) -> None:
    assert said_accuracy(Params(), gain, accuracy) == 0
    told = said_accuracy(Params(score_rule="accuracy"), gain, accuracy)
    assert told == (0 if gain == REFUSED else coarse_accuracy(accuracy))


@pytest.mark.parametrize(("accuracy", "said"), [(0, 0), (62_499, 0), (62_500, 62_500), (999_999, 937_500), (MILLION, MILLION)])
def test_accuracies_are_sixteenths(accuracy: int, said: int) -> None:
    assert coarse_accuracy(PartsPerMillion(accuracy)) == said


@pytest.mark.parametrize(("loss", "said"), [(0, 0), (124_999, 0), (125_000, 250_000), (-125_001, -250_000), (10**9, 10**9)])
def test_losses_of_the_base_are_quarters_of_a_nat(loss: int, said: int) -> None:
    assert coarse_loss(MicroNats(loss)) == said


@pytest.mark.parametrize(
    ("score_margin", "expected"),
    [(0, LEAST_ROW_LIMIT), (250_000, LEAST_ROW_LIMIT), (300_000, 2_400_000), (10**13, MOST_ROW_LIMIT)],
)
def test_a_row_counts_eight_margins_at_most(score_margin: int, expected: int) -> None:
    assert row_limit(Params(score_margin=MicroNats(score_margin))) == expected


def test_a_card_that_says_how_much_an_offer_harms_is_refused() -> None:
    """Given the one word for what does not qualify, then a number below it is no card's."""
    community = make_community()
    offer, seat = make_offer(community, community.outsiders[0]), community.state.committee[0]
    rules = CardRules(community.params, community.state, community.head)
    rules.check(make_card(community, seat, [make_entry(offer, REFUSED)]))
    with pytest.raises(PeerError, match="stands for all that harms") as caught:
        rules.check(make_card(community, seat, [make_entry(offer, REFUSED - 1)]))
    assert caught.value.rejection is Rejection.BAD_CARD
