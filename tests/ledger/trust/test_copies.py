"""Which of the offers that cards hold for one stay: nobody is framed or hidden by f liars, and of each group one is left."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.cards import CardRules, fit_card
from bflcd.ledger.judgement import Reason, judge
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import seed_of
from bflcd.ledger.trust.alike import copies, likes_of, wrong_likes
from bflcd.types import Digest, NodeId
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import ScoreCard
from tests.helpers.ledger import Community, make_card, make_community, make_entry, make_offer

COMMUNITY = make_community(12, 7, 12)
TRAINERS = COMMUNITY.outsiders
OFFERS = {node: make_offer(COMMUNITY, node) for node in TRAINERS}
NAMES = {node: OFFERS[node].digest for node in TRAINERS}
A, B, C, D, E = TRAINERS
SEED = seed_of(COMMUNITY.state)
LAST = NodeId(COMMUNITY.head)
"""Stands for the last step where an offer is like that."""


def card(author: NodeId, likes: Mapping[NodeId, NodeId], but: Sequence[NodeId] = ()) -> Signed[ScoreCard]:
    """A card about all offers `but` some; `likes`: whose offer is like whose."""
    digests = {**NAMES, LAST: Digest(COMMUNITY.head)}
    entries = [
        replace(make_entry(offer), like=digests[likes[node]] if node in likes else None)
        for node, offer in OFFERS.items()
        if node not in but
    ]
    return make_card(COMMUNITY, author, entries)


def gone(*cards: Mapping[NodeId, NodeId]) -> set[NodeId]:
    """Who has no place by so many cards, each by what it says is like what; the committee survives two liars."""
    signed = [card(author, likes) for author, likes in zip(COMMUNITY.state.committee, cards, strict=False)]
    names = {digest: node for node, digest in NAMES.items()}
    return {names[digest] for digest in copies([one.body for one in signed], faults(7), SEED)}


NOTHING: Mapping[NodeId, NodeId] = {}


@pytest.mark.parametrize(
    ("cards", "refused"),
    [
        ([NOTHING] * 5, set()),
        ([{B: A}] * 5, {B}),
        ([{B: A}] * 3 + [NOTHING] * 2, {B}),
        ([{B: A}] * 2 + [NOTHING] * 3, set()),
        ([{B: A}] * 2 + [{B: C}, {A: D}, NOTHING], set()),
        ([{B: A}] * 3 + [{A: B}] * 2, {B}),
        ([{B: A, C: A, D: A}] * 3 + [{A: D, B: D, C: D}] * 2, {B, C, D}),
        ([{B: A, D: C}] * 5, {B, D}),
        ([{A: LAST}] * 3 + [NOTHING] * 2, {A}),
        ([{A: LAST}] * 2 + [NOTHING] * 3, set()),
        ([{A: LAST, B: LAST, D: C}] * 5, {A, B, D}),
    ],
    ids=[
        "nothing is like another",
        "all say it",
        "f + 1 say it",
        "f liars frame an honest one",
        "f + 1 name each of two, but f of them together",
        "f liars turn the order round",
        "liars hide behind a last one",
        "two groups",
        "the last step again",
        "f liars say that it repeats",
        "repeats beside a group",
    ],
)
def test_what_the_cards_leave(cards, refused):
    assert gone(*cards) == refused


@pytest.mark.parametrize("silent", [0, 2])
def test_copies_that_come_to_each_judge_in_another_order_leave_one(silent):
    """Given three colluders that offer one update, and let each judge hear another of them first, when liars in the committee say
    nothing of it, then one stays all the same: the seed's choice, where no more cards have one of them first than another."""
    orders = [{B: A, C: A}, {A: B, C: B}, {A: C, B: C}]
    left = {A, B, C} - gone(*orders, *[NOTHING] * silent)
    assert len(left) == 1


def test_a_mean_of_two_honest_offers_makes_no_copy_of_either():
    """Given C like both A and B, which are not alike, then whoever heard of it last names it alone, and so it goes alone, though
    f liars say that they heard of it first."""
    alike = {NAMES[C]: frozenset({NAMES[A], NAMES[B]})}
    assert likes_of(COMMUNITY.head, [NAMES[A], NAMES[B], NAMES[C]], alike) == {NAMES[C]: NAMES[A]}
    assert likes_of(COMMUNITY.head, [NAMES[A], NAMES[C], NAMES[B]], alike) == {NAMES[C]: NAMES[A]}
    assert gone({C: A}, {C: A}, {C: A}, {A: C, B: C}, {A: C, B: C}) == {C}


def test_what_repeats_the_last_step_is_no_first():
    parent = Digest(COMMUNITY.head)
    alike = {NAMES[A]: frozenset({parent}), NAMES[B]: frozenset({NAMES[A]}), NAMES[C]: frozenset({parent, NAMES[B]})}
    assert likes_of(parent, [NAMES[A], NAMES[B], NAMES[C]], alike) == {NAMES[A]: parent, NAMES[C]: parent}


@given(st.data())
def test_liars_neither_frame_nor_hide(data):
    """Given honest cards of one order that name the true copies, and f cards that say anything a card may, then the copies are
    gone, whichever cards lie, and nobody else."""
    groups = data.draw(st.lists(st.integers(0, 4), min_size=5, max_size=5))
    first = {group: node for node, group in reversed(list(zip(TRAINERS, groups, strict=True)))}
    truth = {node: first[group] for node, group in zip(TRAINERS, groups, strict=True) if first[group] != node}
    lies = []
    for _ in range(faults(7)):
        said = {node: data.draw(st.sampled_from([None, LAST, *TRAINERS])) for node in TRAINERS}
        firsts = {node for node, like in said.items() if like is None or like == node}
        lies.append({node: like for node, like in said.items() if node not in firsts and (like == LAST or like in firsts)})
    cards = data.draw(st.permutations([*[truth] * (quorum(7) - faults(7)), *lies]))
    assert gone(*cards) == set(truth)


def judged(community: Community, cards: Sequence[Signed[ScoreCard]]) -> dict[NodeId, Reason | None]:
    return {offer.uploader: offer.reason for offer in judge(community.params, community.state, cards).offers}


def test_a_copy_has_no_place_and_its_first_keeps_its_own():
    cards = [card(author, {B: A, C: LAST}) for author in COMMUNITY.state.committee[: COMMUNITY.q]]
    assert judged(COMMUNITY, cards) == {A: None, B: Reason.COPY, C: Reason.COPY, D: None, E: None}
    off = replace(COMMUNITY, params=replace(COMMUNITY.params, copy_likeness=0))
    assert set(judged(off, cards).values()) == {None}, "where genesis wants none, words of copies decide nothing"


def test_copies_say_nothing_of_what_norm_is_usual():
    """Given five copies of one long update beside three others, then the usual norm is that of the four that count."""
    c = make_community(14, 4, 14)
    offers = [make_offer(c, node) for node in c.outsiders]
    norms = [4096] * 3 + [4096 * 20] * 7
    cards = [
        make_card(
            c,
            author,
            [
                replace(make_entry(offer, norm=norm), like=offers[3].digest if number > 3 else None)
                for number, (offer, norm) in enumerate(zip(offers, norms, strict=True))
            ],
        )
        for author in c.state.committee[: c.q]
    ]
    found = judged(c, cards)
    assert [found[offer.author] for offer in offers] == [*[None] * 3, Reason.NORM_TOO_LARGE, *[Reason.COPY] * 6]


@pytest.mark.parametrize(
    "likes", [{A: B, B: C}, {A: B, B: LAST}, {A: A}, {A: E}], ids=["like a copy", "like what repeats", "like itself", "no entry"]
)
def test_a_card_names_firsts_of_its_own_only(likes):
    """Given a card that says of an offer that it is like what is no first there, then it is refused, and an honest one is not."""
    c, rules = COMMUNITY, CardRules(COMMUNITY.params, COMMUNITY.state, COMMUNITY.head)
    with pytest.raises(PeerError, match="is like one that has no entry, or is itself like another") as refused:
        rules.check(card(c.state.committee[0], likes, but=[E]))
    assert refused.value.rejection is Rejection.BAD_CARD
    rules.check(card(c.state.committee[0], {B: A, C: A, D: LAST}))


def test_a_card_from_which_a_first_falls_out_names_it_no_more(monkeypatch):
    """Given more entries than a card holds, when the first of a group is left out, then the others of it stand for themselves."""
    monkeypatch.setattr("bflcd.ledger.cards.MAX_ENTRIES", 3)
    full = card(COMMUNITY.state.committee[0], {B: A, C: A, D: A, E: LAST}).body
    for number in range(20):
        fitted = fit_card(full, COMMUNITY.state.committee[0], Digest(bytes([number]) * 32))
        assert len(fitted.entries) == 3
        assert wrong_likes(fitted.entries, fitted.parent) is None
        kept = {entry.uploader for entry in fitted.entries}
        named = {entry.uploader for entry in fitted.entries if entry.like is not None}
        assert named == (kept & ({B, C, D, E} if A in kept else {E}))


def test_one_card_is_one_word_however_many_entries_it_has_about_an_offer() -> None:
    """Given a liar that names an honest offer twice, with another root, as the last step again, then its card is refused, and it would count
    once all the same."""
    author = COMMUNITY.state.committee[0]
    honest = card(author, {A: LAST})
    one = next(entry for entry in honest.body.entries if entry.offer == NAMES[A])
    twice = tuple(
        sorted((*honest.body.entries, replace(one, root=Digest(bytes(32)))), key=lambda e: (e.uploader, e.offer, e.root))
    )
    stuffed = make_card(COMMUNITY, author, twice)
    with pytest.raises(PeerError, match="two of its entries name one offer") as caught:
        CardRules(COMMUNITY.params, COMMUNITY.state, COMMUNITY.head).check(stuffed)
    assert caught.value.rejection is Rejection.BAD_CARD
    others = [card(seat, NOTHING) for seat in COMMUNITY.state.committee[1:5]]
    assert copies([stuffed.body, *(one.body for one in others)], faults(7), SEED) == frozenset()


def test_what_is_refused_for_something_else_takes_nobodys_place() -> None:
    """Given three alike of which the first heard is refused anyway, then the next one stays, and the third is its copy."""
    signed = [card(author, {B: A, C: A}) for author in COMMUNITY.state.committee[:5]]
    bodies = [one.body for one in signed]
    fine = frozenset(NAMES.values()) - {NAMES[A]}
    left = set(NAMES.values()) - copies(bodies, faults(7), SEED, fine) - {NAMES[A]}
    assert len(left & {NAMES[B], NAMES[C]}) == 1
    assert {NAMES[D], NAMES[E]} <= left
    assert copies(bodies, faults(7), SEED) == {NAMES[B], NAMES[C]}


def test_an_honest_offer_that_is_alike_to_a_harmful_first_is_packed() -> None:
    harmful = {NAMES[A]}
    cards = []
    for author in sorted(COMMUNITY.state.committee)[:5]:
        entries = [replace(one, gain=-1) if one.offer in harmful else one for one in card(author, {B: A}).body.entries]
        cards.append(make_card(COMMUNITY, author, entries))
    params = replace(COMMUNITY.params, copy_likeness=990_000)
    found = {offer.uploader: offer.reason for offer in judge(params, COMMUNITY.state, cards).offers}
    assert (found[A], found[B]) == (Reason.BELOW_MARGIN, None)


WORDS = st.lists(
    st.dictionaries(st.sampled_from([B, C, D, E]), st.sampled_from([A, B, C, D]), max_size=4), min_size=5, max_size=5
)


@given(WORDS, st.sets(st.sampled_from(TRAINERS)), st.randoms(use_true_random=False))
def test_the_decision_hangs_on_no_order_and_leaves_each_group_one_that_is_fine(words, nodes, rng):
    """Given any cards, and any offers that are refused for something else, then shuffled cards say the same, and whoever goes of the fine
    ones goes for one that stays."""
    bodies = []
    for author, likes in zip(COMMUNITY.state.committee, words, strict=False):
        firsts = {node: first for node, first in likes.items() if first not in likes and first != node}
        bodies.append(card(author, firsts).body)
    fine = frozenset(NAMES[node] for node in nodes)
    found = copies(bodies, faults(7), SEED, fine)
    shuffled = list(bodies)
    rng.shuffle(shuffled)
    assert copies(shuffled, faults(7), SEED, fine) == found
    assert not found & fine or fine - found
    assert copies(bodies, faults(7), SEED, frozenset(NAMES.values())) == copies(bodies, faults(7), SEED)


def test_of_alike_ones_that_are_all_refused_the_first_keeps_its_own_reason() -> None:
    """So what it gains pays its debt, and what its copies gain pays nobody's."""
    bodies = [card(author, {B: A, C: A}).body for author in COMMUNITY.state.committee[:5]]
    assert copies(bodies, faults(7), SEED, frozenset()) == {NAMES[B], NAMES[C]}
    assert copies(bodies, faults(7), SEED, frozenset({NAMES[C]})) == {NAMES[A], NAMES[B]}


def test_nobody_bridges_two_honest_offers_by_refused_ones() -> None:
    """Given offers of which each is alike to the next on more than f cards, and the middle two are refused, then both ends stay."""
    words = [{B: A, D: C}, {B: A, D: C}, {B: A, C: A}, {C: B, D: B}, {C: B}]
    bodies = [card(author, likes).body for author, likes in zip(COMMUNITY.state.committee, words, strict=False)]
    assert copies(bodies, faults(7), SEED, frozenset(NAMES.values()) - {NAMES[B], NAMES[C]}) <= {NAMES[B], NAMES[C]}
