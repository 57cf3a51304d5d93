"""Doubt: whose words can't come from measuring is found within ten cards, and loses seat and pay; odd rows cost nobody anything."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.disclosure import APART, GAIN_LEVELS, REFUSED
from bflcd.ledger.state import MAX_DOUBT, account_of, with_accounts
from bflcd.ledger.trust.doubts import (
    ALLOWED,
    LIMIT,
    RIGHT,
    UNSEATED_ROUNDS,
    WHOLE,
    WRONG,
    Bearing,
    after_canary,
    after_card,
    bearings,
    is_doubted,
    is_far,
)
from bflcd.ledger.trust.words import ABSENT, ACCEPTS, REFUSES, word_of
from tests.helpers.ledger import Community, Played, by_digest, make_cards, make_community, make_offer, play

START = make_community(12, 4, 8, doubts=1, reward_share=100_000, card_share=100_000)
ACCOUNT = START.state.accounts[0]
LEVELS = [GAIN_LEVELS[0], *(level for level in GAIN_LEVELS if level >= APART)]
"""Those that words tell apart."""
JUDGES = sorted(START.state.committee[: START.q])


def played(community: Community, said: Sequence[Sequence[int | None]]) -> Played:
    """A round in which the i-th of the q judges says `said[i]` of the offers, in the order of their uploaders."""
    offers = by_digest(make_offer(community, node) for node in community.outsiders[: len(said[0])])
    rows = {digest: [words[place] for words in said] for place, digest in enumerate(offers)}
    return play(community, make_cards(community, rows, offers), offers.values())


def bearing_of(said: Sequence[Sequence[int | None]]) -> list[Bearing]:
    """How each of the judges stands."""
    found = played(START, said)
    by_node = bearings(found.outcome.judgement, found.cards)
    return [by_node[judge] for judge in JUDGES]


@pytest.mark.parametrize(
    ("gain", "word"),
    [(None, ABSENT), (REFUSED, REFUSES), (0, ACCEPTS), (16, 2), (999, 2), (1_000, 3), (4_000, 4), (256_000, 7), (10**9, 7)],
)
def test_a_word_is_the_level_of_a_gain(gain: int | None, word: int) -> None:
    assert word_of(gain) == word  # type: ignore[arg-type]
    assert word <= REFUSES + len(LEVELS)


@pytest.mark.parametrize(
    ("word", "middle", "far"),
    [(2, 2, False), (3, 2, False), (4, 2, True), (1, 2, True), (2, 1, True), (1, 1, False), (7, 5, True)],
)
def test_two_levels_are_far_and_so_is_the_other_side_of_the_margin(word: int, middle: int, far: bool) -> None:
    assert is_far(word, middle) is far


def test_a_card_stands_by_what_share_of_its_words_is_far_beyond_the_middle_share() -> None:
    """Given four offers, two judges that agree and one that says else of three of them, then it alone stands out; what a card does
    not name is not compared."""
    usual = [4_000, 4_000, 1_000, 0]
    assert bearing_of([usual, usual, [64_000, -1, -1, 0]]) == [Bearing(4, 0), Bearing(4, 0), Bearing(4, 750)]
    assert bearing_of([usual, usual, [64_000, None, None, 0]]) == [Bearing(4, 0), Bearing(4, 0), Bearing(2, 500)]
    assert bearing_of([[None] * 4] * 3) == [Bearing(0, 0)] * 3


def test_judges_that_all_differ_are_not_doubted_for_it() -> None:
    """Given three judges of whom each says else of other offers, then none stands out: rows are odd here."""
    said = [[-1, 64_000, 4_000, 0], [64_000, 4_000, 0, -1], [4_000, 0, -1, 64_000]]
    assert max(one.excess for one in bearing_of(said)) <= ALLOWED + 50


def test_what_lies_within_what_is_allowed_wears_doubt_off_and_more_adds_up_to_the_limit() -> None:
    account, cards = ACCOUNT, 0
    while not is_doubted(account):
        account, cards = after_card(account, Bearing(6, WHOLE)), cards + 1
    assert (cards, account.doubt) == (-(-LIMIT // (WHOLE - ALLOWED)), MAX_DOUBT)
    half = after_card(ACCOUNT, Bearing(6, 500))
    assert half.doubt == 500 - ALLOWED
    assert [after_card(half, Bearing(6, excess)).doubt for excess in (0, ALLOWED, -600)] == [100, 300, 0]
    assert after_card(half, None) == after_card(half, Bearing(0, 0)) == half


def test_who_is_doubted_sits_out_and_comes_back_one_step_below_the_limit() -> None:
    account, rounds = replace(ACCOUNT, doubt=MAX_DOUBT), 0
    while is_doubted(account):
        assert after_canary(account, REFUSES) == account, "what it said before makes up for nothing"
        account, rounds = after_card(account, None), rounds + 1
    assert (rounds, account.doubt) == (UNSEATED_ROUNDS + 1, LIMIT - 1)
    assert is_doubted(after_card(account, Bearing(6, 500)))
    assert after_card(account, Bearing(6, 0)).doubt < LIMIT - 1


def test_a_word_of_a_canary_counts_by_whether_it_refuses_helps_or_does_neither() -> None:
    account = replace(ACCOUNT, doubt=900)
    doubts = [after_canary(account, word).doubt for word in (ABSENT, REFUSES, ACCEPTS, 3, 7)]
    assert doubts == [900, 900 - RIGHT, 900, 900 + WRONG, 900 + WRONG]


@given(steps=st.lists(st.integers(-1_000, 1_000), max_size=60))
def test_doubt_stays_within_its_bounds(steps: list[int]) -> None:
    account = ACCOUNT
    for step in steps:
        account = after_card(account, Bearing(3, step))
        assert 0 <= account.doubt <= MAX_DOUBT


@pytest.mark.parametrize("lie", ["refuses all", "makes it up", "praises all"])
def test_who_makes_words_up_is_found_within_ten_cards_and_nobody_else_is(lie: str) -> None:
    """Given honest judges that differ by a level and refuse one offer of ten each for themselves, then the liar alone comes to the
    limit."""
    rng = Random(7)
    doubted = [ACCOUNT] * 3
    for _ in range(10):
        truth = [rng.choice(LEVELS[:4]) for _ in range(8)]
        honest = [[REFUSED if rng.random() < 0.1 else gain for gain in truth] for _ in range(2)]
        made_up = {
            "refuses all": [REFUSED] * 8,
            "makes it up": [rng.choice([REFUSED, LEVELS[-1]]) for _ in range(8)],
            "praises all": [LEVELS[-1]] * 8,
        }[lie]
        found = bearing_of([*honest, made_up])
        doubted = [after_card(account, one) for account, one in zip(doubted, found, strict=True)]
    assert [is_doubted(account) for account in doubted] == [False, False, True]


def with_doubt(community: Community, *nodes: bytes) -> Community:
    state = community.state
    accounts = [replace(account, doubt=MAX_DOUBT) for node in nodes if (account := account_of(state, node)) is not None]  # type: ignore[arg-type]
    return replace(community, state=with_accounts(state, *accounts))


@pytest.mark.parametrize("doubts", [1, 0])
def test_who_is_doubted_gets_a_seat_only_where_nobody_else_can(doubts: int) -> None:
    """Given the best trainer among the doubted, then the others get the seats; given all doubted, then no seat is left empty."""
    community = make_community(12, 4, 8, doubts=doubts)
    best = community.outsiders[0]
    said = [[256_000, 64_000, 64_000, 64_000, 64_000, 64_000]] * 3
    assert best in played(community, said).outcome.committee
    assert (best in played(with_doubt(community, best), said).outcome.committee) is not bool(doubts)
    outcome = played(with_doubt(community, *community.members), said).outcome
    assert (len(outcome.committee), outcome.degraded) == (4, bool(doubts))


def test_cards_that_measured_are_paid_alike_and_a_card_that_is_not_makes_no_other_dearer() -> None:
    """Given a tenth of a tenth of the pool for q cards, when one says next to nothing, or its author is doubted, then its part stays
    in the pool; and nothing is lost."""
    pool, part = START.state.pool, START.state.pool // 100 // 3
    full = played(START, [[4_000, 4_000, 0]] * 3).outcome
    assert [amount for node, amount in full.rewards if node in JUDGES] == [part] * 3
    assert full.state.pool == pool - sum(amount for _, amount in full.rewards)
    assert sum(amount for node, amount in full.rewards if node not in JUDGES) == pool // 10 - pool // 100
    silent = played(START, [[4_000, 4_000, 0], [4_000, 4_000, 0], [4_000, None, None]]).outcome
    doubted = played(with_doubt(START, JUDGES[2]), [[4_000, 4_000, 0]] * 3).outcome
    for outcome in (silent, doubted):
        assert [(node, amount) for node, amount in outcome.rewards if node in JUDGES] == [(judge, part) for judge in JUDGES[:2]]
        assert outcome.state.pool == full.state.pool + part


def test_cards_are_paid_though_nothing_gained_and_not_where_nothing_was_offered() -> None:
    assert [node for node, _ in played(START, [[-1, -1]] * 3).outcome.rewards] == JUDGES
    assert play(START, make_cards(START, {}, {})).outcome.rewards == ()
