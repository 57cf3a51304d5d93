"""How young models are judged: margins that widen, rounds that blame nobody, with noise rows that may gain (design 5)."""

from dataclasses import replace

import pytest

from bflcd.ledger.disclosure import HALF_RIGHT, gain_limit, margin, margin_after, row_limit, row_range
from bflcd.ledger.judgement import Reason
from bflcd.ledger.judging import judging_of
from bflcd.ledger.roles import may_train
from bflcd.ledger.state import NEVER
from bflcd.ledger.trust.margin import margin_of
from bflcd.params import MILLION, Params
from bflcd.types import MicroNats, PartsPerMillion
from tests.helpers.ledger import make_card, make_community, make_entry, make_offer, play, play_gains

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


@pytest.mark.parametrize("known", [YOUNG, GROWN])
@pytest.mark.parametrize("noise", [0, 4000])
@pytest.mark.parametrize(
    ("active", "harmful", "others", "proves"),
    [
        (MILLION, 4, 3, False),
        (MILLION, 5, 1, False),
        (MILLION, 4, 4, True),  # no more than half
        (MILLION, 3, 2, True),  # of twelve members three may be liars
        (MILLION, 3, 1, True),
        (MILLION - 1, 3, 2, False),  # drawn: a third of all members is seldom at work at once
        (MILLION - 1, 2, 1, True),
    ],
)
def test_a_round_in_which_more_than_half_of_the_offers_harm_proves_nothing(
    active: int, harmful: int, others: int, proves: bool, noise: int, known: PartsPerMillion
) -> None:
    """Whatever the model knows, if these can't all be liars: nobody has a debt or a refusal noted, and nobody is paid, or was packed
    for the next elections. The others are packed all the same."""
    community = make_community(12, 4, score_noise=noise, reputation_rounds=8, reward_share=100_000, active_fraction=active)
    community = replace(community, state=replace(community.state, known=known))
    trainers = [node for node in community.outsiders if may_train(community.params, community.state, node)][: harmful + others]
    assert len(trainers) == harmful + others
    played = play_gains(community, {node: -1 if place < harmful else 64_000 for place, node in enumerate(trainers)})
    outcome = played.outcome
    assert sum(offer.reason is Reason.BELOW_MARGIN for offer in outcome.judgement.offers) == harmful
    assert {packed.judgement.uploader for packed in outcome.packed} == set(trainers[harmful:])
    assert {node for node, _ in outcome.rewards} == (set(trainers[harmful:]) if proves else set())
    accounts = {account.node: account for account in played.after.state.accounts}
    facts = [(a.refusals, a.reputation < 0, a.reputation > 0, a.packed_round) for a in map(accounts.__getitem__, trainers)]
    harm, help_ = ((1, True, False, NEVER), (0, False, True, 0)) if proves else ((0, False, False, NEVER),) * 2
    assert facts == [harm] * harmful + [help_] * others


@pytest.mark.parametrize(("harmful", "others", "usual"), [(4, 4, 8000), (5, 3, 0)])
def test_a_round_that_proves_nothing_makes_no_norm_usual(harmful: int, others: int, usual: int) -> None:
    """Given a first committee that packs its friends' long offers and refuses most others, then the next rounds are free of these."""
    community = make_community(12, 4)
    offers = [make_offer(community, node) for node in community.outsiders[: harmful + others]]
    entries = [make_entry(offer, -1 if place < harmful else 64_000, norm=8000) for place, offer in enumerate(offers)]
    cards = tuple(make_card(community, seat, entries) for seat in sorted(community.state.committee[: community.q]))
    outcome = play(community, cards, offers).outcome
    assert len(outcome.packed) == others
    assert outcome.step_limit == -8000
    assert outcome.state.usual_norm == usual


@pytest.mark.parametrize(("known", "blamed"), [(YOUNG, False), (GROWN, True)])
@pytest.mark.parametrize("harmful", [1, 3])
def test_an_empty_round_of_few_blames_nobody_while_the_model_is_young(harmful: int, known: PartsPerMillion, blamed: bool) -> None:
    community = make_community(12, 4, reputation_rounds=8)
    community = replace(community, state=replace(community.state, known=known))
    trainers = community.outsiders[:harmful]
    accounts = {account.node: account for account in play_gains(community, dict.fromkeys(trainers, -1)).after.state.accounts}
    facts = [(a.refusals, a.reputation < 0) for a in map(accounts.__getitem__, trainers)]
    assert facts == [(int(blamed), blamed)] * harmful


@pytest.mark.parametrize(("harmful", "others", "wide"), [(3, 0, True), (4, 1, True), (4, 4, False), (3, 1, False)])
def test_a_round_of_a_young_model_that_packs_or_proves_nothing_lets_the_next_bear_more(
    harmful: int, others: int, wide: bool
) -> None:
    community, known = make_community(12, 4), PartsPerMillion(100_000)
    community = replace(community, state=replace(community.state, known=known))
    gains = {node: -1 if place < harmful else 1_000 for place, node in enumerate(community.outsiders[: harmful + others])}
    young = replace(play_gains(community, gains).after.state, known=known)
    assert margin_of(community.params, young) == (100_000 if wide else margin(community.params, known))
    assert judging_of(community.params, young, community.outsiders[0]).words[0] == -margin_of(community.params, young)


def test_what_costs_every_row_the_most_never_qualifies() -> None:
    for params in (NOISY, QUIET, Params(score_margin=MicroNats(0))):
        for known in (0, 100_000, YOUNG):
            lost, _ = row_range(params, PartsPerMillion(known))
            assert all(margin_after(params, PartsPerMillion(known), empty) < lost for empty in range(12))
