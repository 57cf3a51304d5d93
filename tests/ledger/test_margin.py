"""How young models are judged: margins that widen, rounds that blame nobody, with noise rows that may gain (design 5)."""

from dataclasses import replace

import pytest

from bflcd.ledger.disclosure import HALF_RIGHT, gain_limit, margin, margin_after, row_limit, row_range
from bflcd.ledger.judgement import Reason
from bflcd.ledger.judging import judging_of
from bflcd.ledger.state import account_of
from bflcd.ledger.trust.margin import margin_of
from bflcd.params import Params
from bflcd.types import MicroNats, PartsPerMillion
from tests.helpers.ledger import make_community, play_gains

NOISY, QUIET = Params(score_noise=4_000), Params()
YOUNG, GROWN = PartsPerMillion(HALF_RIGHT - 1), HALF_RIGHT


@pytest.mark.parametrize(
    ("params", "known", "lost", "gained"),
    [
        (QUIET, YOUNG, 2_400_000, 2_400_000),
        (NOISY, YOUNG, 1_500_000, 1_500_000),
        (NOISY, GROWN, 2_400_000, 600_000),
    ],
)
def test_with_noise_a_young_models_rows_gain_as_much_as_they_lose(
    params: Params, known: PartsPerMillion, lost: int, gained: int
) -> None:
    """The range is as wide at every age, so the noise that covers it is the same."""
    assert row_range(params, known) == (lost, gained)
    assert lost + gained == row_limit(params) + gain_limit(params)


@pytest.mark.parametrize(
    ("params", "known", "empty", "expected"),
    [
        (NOISY, 100_000, 0, 6_000),
        (NOISY, 100_000, 1, 100_000),
        (NOISY, 100_000, 2, 400_000),
        (NOISY, 100_000, 3, 1_499_999),
        (NOISY, 100_000, 10**9, 1_499_999),
        (QUIET, 100_000, 3, 1_600_000),
        (QUIET, 100_000, 10**9, 2_399_999),
        (NOISY, YOUNG, 1, 149_999),
        (NOISY, GROWN, 5, 150_000),
        (QUIET, 100_000, 1, 100_000),
        (QUIET, GROWN, 5, 150_000),
    ],
)
def test_a_young_models_margin_widens_with_each_round_that_packs_nothing(
    params: Params, known: int, empty: int, expected: int
) -> None:
    assert margin_after(params, PartsPerMillion(known), empty) == expected
    assert margin_after(params, PartsPerMillion(known), empty) >= margin(params, PartsPerMillion(known))


@pytest.mark.parametrize("noise", [0, 4_000])
def test_a_round_that_packs_nothing_blames_nobody_and_the_next_bears_more(noise: int) -> None:
    """Given first offers that all judges refuse, then nobody has a debt or a refusal noted and the margin widens; given one that is packed,
    the others are blamed and the margin is the usual one again."""
    community = make_community(12, 4, score_noise=noise, reputation_rounds=8)
    known = PartsPerMillion(100_000)
    community = replace(community, state=replace(community.state, known=known))
    harmful = dict.fromkeys(community.outsiders[:3], -1)
    after = play_gains(community, harmful).after
    accounts = [account_of(after.state, node) for node in harmful]
    assert [account is not None and (account.refusals, account.reputation) for account in accounts] == [(0, 0)] * 3
    young = replace(after.state, known=known)
    assert margin_of(community.params, young) == 100_000
    assert judging_of(community.params, young, community.outsiders[0]).words[0] == -100_000
    again = play_gains(community, {**harmful, community.outsiders[3]: 1_000})
    assert sum(offer.reason is Reason.BELOW_MARGIN for offer in again.outcome.judgement.offers) == 3
    blamed = [account_of(again.after.state, node) for node in harmful]
    assert [account is not None and (account.refusals, account.reputation < 0) for account in blamed] == [(1, True)] * 3
    assert margin_of(community.params, replace(again.after.state, known=known)) == margin(community.params, known)


def test_a_grown_models_empty_round_blames_as_any_other() -> None:
    """Given a model that is right on half, when all offers harm, then that is remembered, though nothing is packed."""
    community = make_community(12, 4, reputation_rounds=8)
    community = replace(community, state=replace(community.state, known=HALF_RIGHT))
    after = play_gains(community, dict.fromkeys(community.outsiders[:3], -1)).after
    accounts = [account_of(after.state, node) for node in community.outsiders[:3]]
    assert [account is not None and (account.refusals, account.reputation < 0) for account in accounts] == [(1, True)] * 3


def test_what_costs_every_row_the_most_never_qualifies() -> None:
    for params in (NOISY, QUIET, Params(score_margin=MicroNats(0))):
        for known in (0, 100_000, YOUNG):
            lost, _ = row_range(params, PartsPerMillion(known))
            assert all(margin_after(params, PartsPerMillion(known), empty) < lost for empty in range(12))
