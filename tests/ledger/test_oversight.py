"""When a member's own scores can't explain a decision: how many offers must contradict it, and which ones count."""

import pytest

from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.judgement import Judgement, OfferJudgement, Reason
from bflcd.ledger.oversight import unexplained
from bflcd.types import MicroNats, PartsPerMillion
from tests.helpers.ledger import make_card, make_community, make_entry, make_offer

START = make_community(20, 4, 12)
SEAT = START.state.committee[0]
KNOWS_HALF = PartsPerMillion(500_000)


def alarm(*offers: tuple[int, Reason | None], known: PartsPerMillion = KNOWS_HALF) -> str | None:
    """What a member's card says that has these gains, of offers that the community treated so; None as a reason: packed."""
    entries = [make_entry(make_offer(START, START.outsiders[i]), gain) for i, (gain, _) in enumerate(offers)]
    judged = tuple(
        OfferJudgement(e.uploader, e.offer, e.root, 3, MicroNats(0), PartsPerMillion(0), e.norm, 0, MicroNats(0), reason)
        for e, (_, reason) in zip(entries, offers, strict=True)
    )
    judgement = Judgement(judged, tuple(j for j in judged if j.reason is None), (), None, None)
    return unexplained(judgement, make_card(START, SEAT, entries).body, known)


@pytest.mark.parametrize("reason", [Reason.BELOW_MARGIN, Reason.UNSCORED, Reason.FEW_ENTRIES])
def test_five_refused_of_what_helps_here_are_noticed_and_four_are_not(reason: Reason) -> None:
    helps, fair = (500, reason), (500, None)
    assert alarm(*[helps] * 5, fair, fair) == "5 of the 7 updates that help on our data were refused as useless"
    assert alarm(*[helps] * 4) is None
    assert alarm(*[helps] * 5, *[fair] * 5) is None, "half of them is not most of them"


@pytest.mark.parametrize(
    "reason", [Reason.NO_PLACE, Reason.NORM_TOO_LARGE, Reason.NORM_TOO_SMALL, Reason.ZERO_NORM, Reason.TWO_OFFERS]
)
def test_what_was_refused_for_another_cause_than_its_gain_is_explained(reason: Reason) -> None:
    assert alarm(*[(500, reason)] * 12) is None


def test_what_does_not_help_here_may_be_refused() -> None:
    assert alarm(*[(0, Reason.BELOW_MARGIN), (REFUSED, Reason.BELOW_MARGIN)] * 6) is None


def test_four_packed_that_do_harm_here_are_noticed_and_three_are_not() -> None:
    harm, fair = (REFUSED, None), (500, None)
    assert alarm(harm, harm, harm, harm, fair) == "4 of the 5 updates that were taken do harm on our data"
    assert alarm(harm, harm, harm) is None
    assert alarm(*[harm] * 4, fair, fair) is None, "two thirds of them are not enough"


def test_a_loss_within_the_margin_is_no_harm() -> None:
    assert alarm(*[(0, None)] * 12) is None


def test_harm_to_a_model_that_is_right_on_less_than_half_of_the_rows_is_explained() -> None:
    """Its margin is next to nothing, so that honest updates of others often fall below it."""
    harm = (REFUSED, None)
    assert alarm(*[harm] * 12, known=PartsPerMillion(KNOWS_HALF - 1)) is None


def test_offers_that_the_member_has_not_scored_say_nothing() -> None:
    entries = [make_entry(make_offer(START, node), 500) for node in START.outsiders[:6]]
    judged = tuple(
        OfferJudgement(e.uploader, e.offer, e.root, 3, None, None, e.norm, None, None, Reason.BELOW_MARGIN) for e in entries
    )
    judgement = Judgement(judged, (), (), None, None)
    assert unexplained(judgement, make_card(START, SEAT).body, KNOWS_HALF) is None
    assert unexplained(judgement, make_card(START, SEAT, entries).body, KNOWS_HALF) is not None
