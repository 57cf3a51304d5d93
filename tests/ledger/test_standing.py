"""What offers that do harm cost: nothing now and then, rounds of rest in a row; f liars can bring nobody there."""

from dataclasses import replace

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.cards import check_offer
from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.judgement import judge
from bflcd.ledger.roles import may_train, trainers
from bflcd.ledger.standing import PATIENCE, harms, standing_after
from bflcd.ledger.state import MAX_REFUSALS, NEVER, account_of, with_accounts
from bflcd.types import NodeId, Round
from tests.helpers.ledger import Community, make_card, make_community, make_entry, make_offer, play_gains

START = make_community(12, 4)
ASKER, HONEST = START.outsiders[:2]


def refused_by(community: Community, node: NodeId, count: int) -> bool:
    """Whether an offer that `count` of the q cards refuse counts as harmful."""
    offer = make_offer(community, node)
    seats = community.state.committee[: community.q]
    gains = [REFUSED] * count + [1_000] * (community.q - count)
    cards = [make_card(community, seat, [make_entry(offer, gain)]) for seat, gain in zip(seats, gains, strict=True)]
    (judged,) = judge(community.params, community.state, cards).offers
    assert judged.refusals == count
    return harms(judged, len(community.state.committee))


@pytest.mark.parametrize(("members", "seats", "needed"), [(10, 4, 3), (12, 5, 3), (12, 7, 4), (14, 10, 6)])
def test_an_offer_harms_if_most_cards_say_so_without_the_f_that_say_it_first(members: int, seats: int, needed: int) -> None:
    community = make_community(members, seats, seats)
    node = community.outsiders[0]
    assert [refused_by(community, node, count) for count in (needed - 1, needed)] == [False, True]
    assert needed > community.f, "f liars and nobody else frame nobody"


def test_few_harmful_offers_are_free_and_each_more_rests_twice_as_long() -> None:
    account = account_of(START.state, ASKER)
    assert account is not None
    rests = []
    for round_ in range(100, 100 + MAX_REFUSALS + 2):
        account = standing_after(account, Round(round_), harmed=True, packed=False)
        rests.append(0 if account.rest_round == NEVER else account.rest_round - round_ - 1)
    assert rests == [0] * PATIENCE + [2, 4, 8, 16, 32, 32, 32]
    assert account.refusals == MAX_REFUSALS


def test_a_packed_offer_makes_up_for_one_that_did_harm_and_any_other_for_none() -> None:
    account = account_of(START.state, ASKER)
    assert account is not None
    harmed = replace(account, refusals=2)
    assert standing_after(harmed, Round(9), harmed=False, packed=True).refusals == 1
    assert standing_after(harmed, Round(9), harmed=False, packed=False) == harmed
    assert standing_after(account, Round(9), harmed=False, packed=True) == account


def test_who_goes_on_harming_may_not_offer_until_its_rest_is_over() -> None:
    """Given an asker whose every offer harms all judges, when the free ones are used up, then two rounds pass without it."""
    community, heard = START, []
    for _ in range(PATIENCE + 4):
        allowed = may_train(community.params, community.state, ASKER)
        assert allowed is (ASKER in trainers(community.params, community.state))
        heard.append(allowed)
        helpful = next(node for node in community.outsiders if node != ASKER)
        community = play_gains(community, {helpful: 4_000} | ({ASKER: REFUSED} if allowed else {})).after
    assert heard == [True] * (PATIENCE + 1) + [False, False, True]


def test_an_offer_of_one_that_rests_is_refused_and_says_why() -> None:
    account = account_of(START.state, ASKER)
    assert account is not None
    resting = replace(START, state=with_accounts(START.state, replace(account, rest_round=Round(1))))
    check_offer(resting.params, resting.state, resting.head, make_offer(resting, HONEST))
    with pytest.raises(PeerError, match="it rests after offers that did harm") as caught:
        check_offer(resting.params, resting.state, resting.head, make_offer(resting, ASKER))
    assert caught.value.rejection is Rejection.NOT_TRAINER
