"""The function of the q cards (design 5): medians, qualification, packing, presence."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.errors import InvariantError
from bflcd.ledger.disclosure import APART, GAIN_LEVELS, HALF_RIGHT
from bflcd.ledger.influence.weights import rated
from bflcd.ledger.judgement import SCORES, Judgement, OfferJudgement, Reason, judge
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import seed_of, tie_break
from bflcd.params import SCORE_RULES
from bflcd.types import Digest, NodeId, PartsPerMillion
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import CardEntry, Offer, ScoreCard
from tests.helpers.ledger import (
    Community,
    by_digest,
    make_card,
    make_cards,
    make_community,
    make_entry,
    make_offer,
)

Row = tuple[int, ...] | None
"""Gain, accuracy, norm and, if it was measured, rate of one entry; None: the card has none."""


def judge_rows(
    community: Community, rows: dict[NodeId, Sequence[Row]], seats: Sequence[NodeId] | None = None
) -> tuple[Judgement, dict[NodeId, OfferJudgement]]:
    """Judge a round in which the i-th card gives uploader u the entry rows[u][i]."""
    chosen = community.state.committee[: community.q] if seats is None else seats
    entries: list[list[CardEntry]] = [[] for _ in chosen]
    for uploader, row in rows.items():
        offer = make_offer(community, uploader)
        for i, cell in enumerate(row):
            if cell is not None:
                entries[i].append(make_entry(offer, *cell))
    cards = [make_card(community, seat, listed) for seat, listed in zip(chosen, entries, strict=True)]
    judgement = judge(community.params, community.state, cards)
    return judgement, {offer.uploader: offer for offer in judgement.offers}


def same(gain: int, norm: int = 4096, q: int = 3) -> list[Row]:
    return [(gain, 500_000, norm)] * q


@pytest.mark.parametrize(
    ("row", "gain", "accuracy", "norm"),
    [
        ([(1, 10, 7), (2, 20, 8), (3, 30, 9)], 2, 20, 8),
        ([(9, 10, 7), (-5, 30, 8), (3, 20, 9)], 3, 20, 8),
        ([(9, 50, 9), (3, 20, 8), None], 3, 20, 8),
        ([None, (3, 20, 9), (9, 50, 8)], 3, 20, 8),
        ([(9, 50, 5), (1, 60, 6), None], 1, 50, 5),
    ],
)
def test_medians_of_three_count_an_absent_entry_as_the_worst(row: list[Row], gain: int, accuracy: int, norm: int) -> None:
    c = make_community()
    node = c.outsiders[0]
    _, offers = judge_rows(c, {node: row})
    offer = make_offer(c, node)
    assert offers[node] == OfferJudgement(
        uploader=node,
        offer=offer.digest,
        root=offer.body.blob.root,
        entries=sum(cell is not None for cell in row),
        gain=gain,
        accuracy=accuracy,
        norm=norm,
        rate=0,
        score=gain,
        reason=None,
    )


@pytest.mark.parametrize(("row", "expected"), [([1, 2, 3, 4], 2), ([4, 1, 3, 2], 2), ([1, 1, 100, 100], 1), ([5, 6, 7, None], 5)])
def test_of_two_middles_the_worse_is_taken(row: list[int | None], expected: int) -> None:
    """At M = 5, q = 4: half of the cards can't lift the score."""
    c = make_community(10, 5)
    assert c.q == 4
    node = c.outsiders[0]
    _, offers = judge_rows(c, {node: [None if gain is None else (gain, gain * 10, gain * 100) for gain in row]})
    assert (offers[node].gain, offers[node].accuracy) == (expected, expected * 10)


def test_an_offer_that_most_left_out_has_no_median() -> None:
    """At M = 5, q = 4, f = 1: two entries are f + 1, so the offer counts, and its median falls on an absent entry."""
    c = make_community(10, 5)
    node = c.outsiders[0]
    _, offers = judge_rows(c, {node: [(9, 9, 9), (9, 9, 9), None, None]})
    assert (offers[node].gain, offers[node].score, offers[node].reason) == (None, None, Reason.UNSCORED)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([3, 1, 2, 4], 2),
        ([9, 9, 1, 1], 1),
        ([2**32 - 1, 2**32 - 1, 7, 5], 7),
        ([0, 8, 8, 8], 8),
        ([0, 0, 8, 8], 0),
        ([0, 0, 0, 0], 0),
        ([5, 6, 7, None], 5),
        ([0, 6, 7, None], 0),
        ([9, 9, None, None], None),
        ([9, None, None, None], None),
    ],
)
def test_the_rate_is_the_worse_middle_and_what_was_not_measured_is_the_slowest(
    rates: list[int | None], expected: int | None
) -> None:
    """At M = 5, q = 4, f = 1: as the gain's, so that half of the cards can't lift it; None where no gain is known either."""
    c = make_community(10, 5)
    offer = make_offer(c, c.outsiders[0])
    entries = [[] if rate is None else [make_entry(offer, rate=rate)] for rate in rates]
    cards = [make_card(c, seat, listed) for seat, listed in zip(c.state.committee, entries, strict=False)]
    (judged,) = judge(c.params, c.state, cards).offers
    assert judged.rate == expected
    assert (judged.rate is None) is (judged.gain is None)


@pytest.mark.parametrize(
    ("entries", "reason"), [(1, Reason.FEW_ENTRIES), (2, Reason.FEW_ENTRIES), (3, Reason.UNSCORED), (4, None), (7, None)]
)
def test_an_offer_needs_entries_of_f_plus_one_members(entries: int, reason: Reason | None) -> None:
    """At M = 9: f = 2, q = 7; f + 1 = 3 entries count, and 4 reach the median."""
    c = make_community(12, 9, 9)
    node = c.outsiders[0]
    _, offers = judge_rows(c, {node: [(50, 1, 9)] * entries + [None] * (7 - entries)})
    assert (offers[node].entries, offers[node].reason) == (entries, reason)


def cards_with(community: Community, listed: Sequence[Sequence[Signed[Offer]]]) -> list[Signed[ScoreCard]]:
    seats = community.state.committee[: community.q]
    return [make_card(community, s, [make_entry(o) for o in offers]) for s, offers in zip(seats, listed, strict=True)]


def test_of_two_offers_of_one_uploader_neither_counts() -> None:
    c = make_community()
    node, other = c.outsiders[:2]
    one, two, good = make_offer(c, node), make_offer(c, node, salt="2"), make_offer(c, other)
    judgement = judge(c.params, c.state, cards_with(c, [[one, good], [one, two, good], [two, good]]))
    assert {o.offer: o.reason for o in judgement.offers} == {
        one.digest: Reason.TWO_OFFERS,
        two.digest: Reason.TWO_OFFERS,
        good.digest: None,
    }
    assert [o.uploader for o in judgement.packed] == [other]


def test_f_liars_cannot_spoil_an_offer_with_a_second_one() -> None:
    """Given an honest offer on all cards, when f members add an entry for another by its uploader, then the honest one is packed."""
    c = make_community()
    honest, forged = make_offer(c, c.outsiders[0]), make_offer(c, c.outsiders[0], salt="forged")
    judgement = judge(c.params, c.state, cards_with(c, [[honest], [honest], [honest, forged]]))
    assert [o.offer for o in judgement.packed] == [honest.digest]


def test_an_entry_with_another_root_is_another_offer() -> None:
    c = make_community()
    entry = make_entry(make_offer(c, c.outsiders[0]))
    lie = replace(entry, root=Digest(b"x" * 32))
    seats = c.state.committee
    cards = [make_card(c, seats[0], [entry]), make_card(c, seats[1], [entry]), make_card(c, seats[2], [lie])]
    judgement = judge(c.params, c.state, cards)
    assert sorted((o.entries, o.reason) for o in judgement.offers if o.reason) == [(1, Reason.FEW_ENTRIES)]
    assert [o.root for o in judgement.packed] == [entry.root]


@pytest.mark.parametrize(
    ("gain", "norm", "reason"),
    [
        (-1, 4096, Reason.BELOW_MARGIN),
        (0, 4096, None),
        (1_000, 4096, None),
        (0, 0, Reason.ZERO_NORM),
        (900_000, 0, Reason.ZERO_NORM),
        (0, 1, None),
    ],
)
def test_qualification_by_gain_and_norm(gain: int, norm: int, reason: Reason | None) -> None:
    c = make_community()
    _, offers = judge_rows(c, {c.outsiders[0]: same(gain, norm)})
    assert offers[c.outsiders[0]].reason is reason


@pytest.mark.parametrize(
    ("norms", "gains", "reasons"),
    [
        ([1600, 1600, 1600, 100], [1, 1, 1, 1], [None] * 4),
        ([1600, 1600, 1600, 99], [1, 1, 1, 1], [None, None, None, Reason.NORM_TOO_SMALL]),
        ([1600, 1600, 1600, 25_600], [1, 1, 1, 1], [None] * 4),
        ([1600, 1600, 1600, 25_601], [1, 1, 1, 1], [None, None, None, Reason.NORM_TOO_LARGE]),
        ([1600, 1600, 1600, 99], [1, 1, 1, 0], [None, None, None, Reason.NORM_TOO_SMALL]),
        ([1600, 1600, 99, 99], [1, 1, 0, 0], [None] * 4),
        ([1600, 1600, 99, 99], [1, 1, 0, 1], [None, None, Reason.NORM_TOO_SMALL, Reason.NORM_TOO_SMALL]),
        ([100, 1600, 1600, 26000], [1, 1, 1, 1], [None, None, None, Reason.NORM_TOO_LARGE]),
        ([0, 0, 1600, 1600], [5, 5, 5, 5], [Reason.ZERO_NORM, Reason.ZERO_NORM, None, None]),
        ([99, 99, 1600, 1600], [1, 1, 4, 4], [None] * 4),  # by one of the two middles they are usual
        ([26_000, 1600, 1600, 1600], [64, 16, 16, 16], [Reason.NORM_TOO_LARGE, None, None, None]),
    ],
)
def test_the_norm_band_follows_what_is_usual_among_three_or_more_that_gain_clearly(
    norms: list[int], gains: list[int], reasons: list[Reason | None]
) -> None:
    c = make_community()
    nodes = c.outsiders[:4]
    _, offers = judge_rows(c, {n: same(gain * APART, norm) for n, gain, norm in zip(nodes, gains, norms, strict=True)})
    assert [offers[node].reason for node in nodes] == reasons


@pytest.mark.parametrize("small", [level for level in GAIN_LEVELS if level < APART])
def test_what_gains_less_than_a_thousandth_of_a_nat_says_nothing_of_norms(small: int) -> None:
    """Given three long offers that gain as little as noise does on a young model / Then none of them makes its norm usual."""
    c = make_community()
    nodes = c.outsiders[:5]
    rows = zip(nodes, [small, small, small, APART, APART], [25_601, 25_601, 25_601, 1600, 1600], strict=True)
    judgement, offers = judge_rows(c, {node: same(gain, norm) for node, gain, norm in rows})
    assert [offers[node].reason for node in nodes] == [None] * 5, "two that gain say nothing either"
    assert rated([offers[node] for node in nodes]) == [(25_601, 0)] * 3 + [(1600, APART)] * 2
    rows = zip(nodes, [small, small, APART, APART, APART], [25_601, 25_601, 1600, 1600, 1600], strict=True)
    judgement, offers = judge_rows(c, {node: same(gain, norm) for node, gain, norm in rows})
    assert {offers[node].reason for node in nodes[:2]} == {Reason.NORM_TOO_LARGE}
    assert len(judgement.packed) == 3


@pytest.mark.parametrize(
    ("usual", "norms", "reasons"),
    [
        (0, [100, 100, 100, 1601], [None] * 4),
        (100, [100, 100, 100, 1600], [None] * 4),
        (100, [100, 100, 100, 1601], [None, None, None, Reason.NORM_TOO_LARGE]),
        (100, [100, 1601, 1601, 1601], [None] + [Reason.NORM_TOO_LARGE] * 3),
        (1600, [1600, 99, 99, 99], [None] + [Reason.NORM_TOO_SMALL] * 3),
        (100, [6, 7, 1601, 1601], [Reason.NORM_TOO_SMALL, None] + [Reason.NORM_TOO_LARGE] * 2),
        (100, [1601, 1601, 1601, 1601], [None] * 4),
    ],
)
def test_what_was_usual_before_bounds_norms_where_one_offer_keeps_to_it(
    usual: int, norms: list[int], reasons: list[Reason | None]
) -> None:
    """Given offers that gain nothing, so that the round has no usual norm of its own, then the ledger's holds, unless none keeps to it."""
    c = make_community()
    c = replace(c, state=replace(c.state, usual_norm=usual, known=HALF_RIGHT))
    nodes = c.outsiders[:4]
    _, offers = judge_rows(c, {n: same(0, norm) for n, norm in zip(nodes, norms, strict=True)})
    assert [offers[node].reason for node in nodes] == reasons


@pytest.mark.parametrize(
    ("usual", "norms", "gains", "reasons"),
    [
        (1600, [1600, 99, 99, 99], [0, 64, 64, 64], [Reason.NORM_TOO_LARGE] + [None] * 3),
        (1600, [1600, 99, 99, 99], [0, 0, 64, 64], [None] + [Reason.NORM_TOO_SMALL] * 3),  # two that gain say nothing
        (1600, [1600, 99, 99, 99], [0] * 4, [None] + [Reason.NORM_TOO_SMALL] * 3),  # whoever is tiny gains nothing
        (100, [100, 1601, 1601, 1601], [64] * 4, [Reason.NORM_TOO_SMALL] + [None] * 3),
        (1600, [1600, 1600, 99, 99], [64, 64, 4, 4], [None, None] + [Reason.NORM_TOO_SMALL] * 2),  # one of two middles is near
        (1600, [1600, 99], [0, 0], [None, Reason.NORM_TOO_SMALL]),  # too few to say otherwise
    ],
)
def test_of_a_young_model_the_round_is_believed_where_neither_of_its_middles_is_near_what_was_usual(
    usual: int, norms: list[int], gains: list[int], reasons: list[Reason | None]
) -> None:
    """Given a usual norm that one committee made, then offers that are alike without it are not refused for its sake."""
    c = make_community()
    c = replace(c, state=replace(c.state, usual_norm=usual, known=PartsPerMillion(HALF_RIGHT - 1)))
    nodes = c.outsiders[: len(norms)]
    _, offers = judge_rows(c, {n: same(gain * 1000, norm) for n, gain, norm in zip(nodes, gains, norms, strict=True)})
    assert [offers[node].reason for node in nodes] == reasons


@pytest.mark.parametrize(
    ("usual", "norms", "gains", "refused"),
    [
        (1584, [99, 99, 1600, 1700], [4, 4, 64, 64], [False] * 4),
        (1585, [99, 99, 1600, 1700], [4, 4, 64, 64], [True, True, False, False]),
        (100, [99, 99, 1600, 1601], [4, 4, 64, 64], [False, False, True, True]),
        (100, [99, 99, 1600, 1600], [16, 16, 64, 64], [False] * 4),
        (1600, [99, 99, 1600, 1600], [16, 16, 64, 64], [True, True, False, False]),
        (100, [6, 6, 1600, 1600], [4, 4, 64, 64], [True, True, False, False]),  # the rounds before hold those within it
        (80, [4, 4, 1600, 1600], [16, 16, 64, 64], [False] * 4),  # 400 times: no norm is near both
        (50, [7, 7, 1600, 1600], [16, 16, 64, 64], [False, False, True, True]),
    ],
)
def test_where_half_of_those_that_gain_are_otherwise_what_was_usual_decides(
    usual: int, norms: list[int], gains: list[int], refused: list[bool]
) -> None:
    c = make_community()
    c = replace(c, state=replace(c.state, usual_norm=usual))
    nodes = c.outsiders[:4]
    _, offers = judge_rows(c, {n: same(gain * APART, norm) for n, gain, norm in zip(nodes, gains, norms, strict=True)})
    assert [offers[node].reason is not None for node in nodes] == refused


def test_the_best_k_are_packed_in_the_order_of_their_scores() -> None:
    c = make_community(10, 4, 4)
    scores = dict(zip(c.outsiders, [5, 60, 7, 80, 90, 10], strict=True))
    judgement, offers = judge_rows(c, {node: same(gain) for node, gain in scores.items()})
    assert [o.score for o in judgement.packed] == [90, 80, 60, 10]
    assert {scores[node] for node, offer in offers.items() if offer.reason is Reason.NO_PLACE} == {5, 7}


def test_ties_are_broken_by_the_rounds_seed() -> None:
    c = make_community(10, 4, 4)
    judgement, _ = judge_rows(c, dict.fromkeys(c.outsiders, same(7)))
    expected = sorted(c.outsiders, key=lambda node: tie_break(seed_of(c.state), node))
    assert [o.uploader for o in judgement.packed] == expected[:4]


def test_accuracy_ranks_where_the_community_says_so_and_gain_still_qualifies() -> None:
    c = make_community(score_rule="accuracy")
    a, b, bad = c.outsiders[:3]
    rows = {a: [(900, 100, 9)] * 3, b: [(5, 200, 9)] * 3, bad: [(-1, 999_999, 9)] * 3}
    judgement, offers = judge_rows(c, rows)
    assert [(o.uploader, o.score, o.gain) for o in judgement.packed] == [(b, 200, 5), (a, 100, 900)]
    assert offers[bad].reason is Reason.BELOW_MARGIN


def test_every_score_rule_of_genesis_is_there_and_any_other_is_our_bug() -> None:
    assert tuple(SCORES) == SCORE_RULES
    c = make_community()
    with pytest.raises(InvariantError, match="'luck' is no score rule; known: gain, accuracy"):
        judge(replace(c.params, score_rule="luck"), c.state, make_cards(c, {}, {}))


def test_present_is_whom_f_plus_one_cards_list() -> None:
    c = make_community()
    seats, outs = c.state.committee, c.outsiders
    lists = [[outs[0], outs[1]], [outs[0]], [outs[2]]]
    cards = [make_card(c, seat, present=listed) for seat, listed in zip(seats[:3], lists, strict=True)]
    assert judge(c.params, c.state, cards).present == (outs[0],)
    mutual = [make_card(c, seat, present=seats[:3]) for seat in seats[:3]]
    assert judge(c.params, c.state, mutual).present == tuple(sorted(seats[:3]))


def test_what_the_community_says_of_its_model_is_the_lower_median_of_those_who_scored_it() -> None:
    c = make_community(10, 5)
    entry = make_entry(make_offer(c, c.outsiders[0]))
    scored = [(100, 10), (400, 40), (300, 30)]
    cards = [make_card(c, s, [entry], base_loss=x, base_accuracy=y) for s, (x, y) in zip(c.state.committee, scored, strict=False)]
    cards.append(make_card(c, c.state.committee[3]))
    judgement = judge(c.params, c.state, cards)
    assert (judgement.base_loss, judgement.base_accuracy) == (300, 30)
    nobody = judge(c.params, c.state, [make_card(c, seat) for seat in c.state.committee[:4]])
    assert (nobody.base_loss, nobody.base_accuracy, nobody.offers, nobody.packed) == (None, None, (), ())


def test_only_q_cards_of_distinct_members_judge() -> None:
    c = make_community()
    cards = [make_card(c, seat) for seat in c.state.committee]
    for wrong in ([], cards[:2], cards, [cards[0], cards[0], cards[1]]):
        with pytest.raises(InvariantError, match="is judged by 3 cards"):
            judge(c.params, c.state, wrong)


@pytest.mark.parametrize(
    ("m", "f", "q"), [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (5, 1, 4), (6, 1, 5), (7, 2, 5), (10, 3, 7), (128, 42, 86)]
)
def test_quorums(m: int, f: int, q: int) -> None:
    """At M = 6 two quorums of 2f + 1 = 3 could be disjoint; of M - f = 5 any two share an honest member."""
    assert (faults(m), quorum(m)) == (f, q)
    assert 2 * quorum(m) - m > faults(m)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_with_no_faults_to_survive_one_entry_counts(size: int) -> None:
    c = make_community(size, size, size)
    node = c.members[0]
    _, offers = judge_rows(c, {node: [(5, 5, 5)] + [None] * (size - 1)})
    assert offers[node].reason is (None if size == 1 else Reason.UNSCORED)


CELL = st.one_of(st.none(), st.tuples(st.integers(-300_000, 300_000), st.integers(0, 10**6), st.integers(0, 2**22)))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=5), order=st.permutations(range(5)))
def test_the_order_of_the_cards_does_not_matter(rows: list[list[Row]], order: list[int]) -> None:
    c = make_community(12, 7, 7)
    seats = [c.state.committee[i] for i in order]
    straight, _ = judge_rows(c, dict(zip(c.outsiders, rows, strict=False)))
    turned, _ = judge_rows(c, {n: [row[i] for i in order] for n, row in zip(c.outsiders, rows, strict=False)}, seats)
    assert turned == straight


@settings(max_examples=100, deadline=None)
@given(data=st.data(), m=st.integers(4, 13))
def test_up_to_f_liars_cannot_move_a_median_outside_the_honest_range(data: st.DataObject, m: int) -> None:
    """Row 42 of the faults: whatever up to f liars among the q cards claim, each median lies between two honest values."""
    c = make_community(m + 3, m, m)
    node, f, q = c.outsiders[0], faults(m), quorum(m)
    row = st.tuples(st.integers(-1000, 1000), st.integers(0, 1000), st.just(9), st.integers(0, 1000))
    honest = data.draw(st.lists(row, min_size=q - f, max_size=q - f))
    lie = st.sampled_from([None, (-(10**9), 0, 9, 0), (10**9, 10**6, 9, 2**32 - 1)])
    lies = data.draw(st.lists(lie, min_size=f, max_size=f))
    _, offers = judge_rows(c, {node: data.draw(st.permutations([*honest, *lies]))})
    judged = offers[node]
    for index, found in ((0, judged.gain), (1, judged.accuracy), (3, judged.rate)):
        assert found is not None
        assert min(values[index] for values in honest) <= found <= max(values[index] for values in honest)


@settings(max_examples=60, deadline=None)
@given(
    gains=st.lists(st.lists(st.one_of(st.none(), st.integers(-300_000, 300_000)), min_size=3, max_size=3), max_size=6),
)
def test_every_offer_is_packed_or_has_a_reason(gains: list[list[int | None]]) -> None:
    c = make_community(10, 4, 4)
    offers = by_digest(make_offer(c, node) for node, _ in zip(c.outsiders, gains, strict=False))
    judgement = judge(c.params, c.state, make_cards(c, dict(zip(offers, gains, strict=True)), offers))
    assert len(judgement.packed) <= 4
    assert set(judgement.packed) == {offer for offer in judgement.offers if offer.reason is None}
    listed = {digest for digest, row in zip(offers, gains, strict=True) if any(gain is not None for gain in row)}
    assert {offer.offer for offer in judgement.offers} == listed
    scores = [offer.score for offer in judgement.packed if offer.score is not None]
    assert scores == sorted(scores, reverse=True)
