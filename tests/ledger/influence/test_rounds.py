"""How far whole rounds move the model: weights, limits of steps, and what is usual after them (design 5)."""

from dataclasses import replace

import pytest

from bflcd.ledger.disclosure import HALF_RIGHT
from bflcd.params import MILLION
from bflcd.types import PartsPerMillion
from tests.helpers.ledger import by_digest, make_card, make_cards, make_community, make_entry, make_offer, play, play_gains

START = make_community(reward_share=100_000)


def test_claims_decide_weights_up_to_four_times_the_median() -> None:
    offers = [make_offer(START, n, samples=s) for n, s in zip(START.outsiders, [10, 2**40, 20, 30], strict=False)]
    entries = [make_entry(offer) for offer in offers]
    cards = tuple(make_card(START, seat, entries) for seat in sorted(START.state.committee[:3]))
    outcome = play(START, cards, offers).outcome
    assert {packed.offer.body.samples: packed.weight for packed in outcome.packed} == {
        10: 2**13,
        20: 2**14,
        30: 3 * 2**13,
        2**40: 2**16,
    }


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (HALF_RIGHT - 1, [(-4096, 4096), (-8000, 8000), (-8000, 8000), (-8000, 8000)]),
        (HALF_RIGHT, [(-4096, 4096), (8192, 5120), (10240, 5120), (10240, 6400)]),
    ],
)
def test_a_rounds_step_is_held_to_what_was_usual_before(known: PartsPerMillion, expected: list[tuple[int, int]]) -> None:
    """Given rounds of norms 4096, 8000, none and 8000, then each step's limit is twice what the rounds before made usual, which moves
    by a quarter at most once the model is right on half. While it is young, and at first, it is what the round itself makes usual."""
    community = make_community(norm_clip=2 * MILLION)
    found = []
    for norm in (4096, 8000, None, 8000):
        offers = [make_offer(community, node) for node in community.outsiders[:3] if norm is not None]
        entries = [make_entry(offer, norm=norm) for offer in offers]
        cards = tuple(make_card(community, seat, entries) for seat in sorted(community.state.committee[:3]))
        community = replace(community, state=replace(community.state, known=known))
        played = play(community, cards, offers)
        assert played.segment.model.step_limit == played.outcome.step_limit
        found.append((played.outcome.step_limit, played.outcome.state.usual_norm))
        community = played.after
    assert found == expected


@pytest.mark.parametrize(
    ("idle_weight", "helping", "expected"),
    [
        (MILLION // 2, 2, {True: 2**16, False: 2**15}),
        (MILLION // 4, 2, {True: 2**16, False: 2**14}),
        (0, 2, {True: 2**14, False: 2**14}),
        (MILLION // 2, 1, {False: 2**14}),
    ],
)
def test_what_no_more_than_f_cards_gain_by_weighs_less(idle_weight: int, helping: int, expected: dict[bool, int]) -> None:
    """Given four offers within every margin, two of which help `helping` of the three cards, then the others weigh half of them together."""
    community = make_community(idle_weight=idle_weight)
    trainers = community.outsiders[:4]
    offers = by_digest(make_offer(community, node) for node in trainers)
    useful = [4000] * helping + [0] * (community.q - helping)
    rows = {digest: useful if offer.author in trainers[:2] else [0] * community.q for digest, offer in offers.items()}
    outcome = play(community, make_cards(community, rows, offers), offers.values()).outcome
    found = {(packed.judgement.uploader in trainers[:2] and helping > 1, packed.weight) for packed in outcome.packed}
    assert len(outcome.packed) == 4
    assert found == set(expected.items())


@pytest.mark.parametrize(("refused", "usual"), [(1, 8000), (2, 8000), (3, 5120)])
def test_a_young_model_is_told_what_is_usual_by_rounds_that_pack_most(refused: int, usual: int) -> None:
    """Given three offers of norm 8000 that are packed and others that are refused, then 4096 moves there at once, or by a quarter."""
    community = make_community(norm_clip=2 * MILLION)
    community = replace(community, state=replace(community.state, usual_norm=4096, known=PartsPerMillion(0)))
    offers = [make_offer(community, node) for node in community.outsiders[: 3 + refused]]
    entries = [make_entry(offer, norm=8000, gain=1000 if place < 3 else -1) for place, offer in enumerate(offers)]
    cards = tuple(make_card(community, seat, entries) for seat in sorted(community.state.committee[:3]))
    outcome = play(community, cards, offers).outcome
    assert len(outcome.packed) == 3
    assert outcome.state.usual_norm == usual


def test_half_of_a_rounds_offers_that_are_long_and_gain_more_are_clipped_by_what_was_usual() -> None:
    community = make_community(norm_clip=2 * MILLION)
    community = replace(community, state=replace(community.state, usual_norm=100, known=HALF_RIGHT))
    offers = [make_offer(community, node) for node in community.outsiders[:6]]
    kinds = [(100, 16_000)] * 3 + [(1000, 64_000)] * 3
    entries = [make_entry(offer, norm=norm, gain=gain) for offer, (norm, gain) in zip(offers, kinds, strict=True)]
    cards = tuple(make_card(community, seat, entries) for seat in sorted(community.state.committee[:3]))
    outcome = play(community, cards, offers).outcome
    assert {(packed.judgement.norm, packed.weight) for packed in outcome.packed} == {(100, 2**14), (1000, 2**14 // 5)}
    assert outcome.state.usual_norm == 100


def test_without_a_clip_no_step_has_a_limit() -> None:
    community = make_community(norm_clip=0)
    for _ in range(2):
        played = play_gains(community, dict.fromkeys(community.outsiders[:3], 1000))
        assert played.outcome.step_limit is played.segment.model.step_limit is None
        community = played.after
