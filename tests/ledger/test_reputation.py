"""What a member's earlier offers decide: whose offer is taken, and who is seated first (design 5, Reputation)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.disclosure import GAIN_LEVELS, HALF_RIGHT
from bflcd.ledger.judgement import Reason, judge
from bflcd.ledger.state import account_of, with_accounts
from bflcd.ledger.trust.reputation import LEAST_GAIN, Measure, measure_of, reputation_after, repute_among
from bflcd.params import MILLION, Params
from bflcd.types import MicroNats, NodeId, PartsPerMillion, Round
from tests.helpers.ledger import Community, make_card, make_community, make_entry, make_offer, play, play_gains

ROUNDS = 8
START = make_community(12, 4, reputation_rounds=ROUNDS)
START = replace(START, state=replace(START.state, known=PartsPerMillion(800_000)))  # a margin of 240,000
GAINS = st.integers(-1, 2**53).map(MicroNats)
MEASURE, HARM = Measure(ROUNDS, MicroNats(240_000)), MicroNats(-60_000)
REPUTATIONS = st.integers(HARM, GAIN_LEVELS[-1]).map(MicroNats)


def standing(community: Community, **reputations: int) -> Community:
    """The community in which outsider n has the reputation of `n...`; all others have none."""
    state = community.state
    for name, reputation in reputations.items():
        account = account_of(state, community.outsiders[int(name[1:])])
        assert account is not None
        state = with_accounts(state, replace(account, reputation=MicroNats(reputation)))
    return replace(community, state=state)


def reasons(community: Community, *words: tuple[int, int, int]) -> list[Reason | None]:
    """Why outsiders' offers of these words on three cards are not packed, in the order in which they are given."""
    offers = [make_offer(community, node) for node, _ in zip(community.outsiders, words, strict=False)]
    seats = sorted(community.state.committee[: community.q])
    cards = [
        make_card(community, seat, [make_entry(offer, said[line]) for offer, said in zip(offers, words, strict=True)])
        for line, seat in enumerate(seats)
    ]
    found = {offer.uploader: offer.reason for offer in judge(community.params, community.state, cards).offers}
    return [found[offer.author] for offer in offers]


HELPS, HELPS_TWO, HELPS_ONE, IDLE, HARMS = (1000,) * 3, (0, 1000, 1000), (0, 0, 256_000), (0, 0, 0), (-1, -1, 256_000)


@pytest.mark.parametrize(
    ("words", "reputations", "expected"),
    [
        pytest.param([HELPS, IDLE], {}, [None, None], id="nothing is known of anybody: all that qualifies is packed"),
        pytest.param([IDLE, IDLE, IDLE], {"n1": 20, "n2": 20}, [None] * 3, id="who has never helped is heard"),
        pytest.param([HELPS, IDLE, IDLE], {"n0": -1, "n1": 20, "n2": 20}, [Reason.IN_DEBT, None, None], id="a debt comes first"),
        pytest.param([HELPS_TWO, HELPS, IDLE], {"n0": -5, "n1": -9, "n2": -5}, [None, Reason.IN_DEBT, Reason.IN_DEBT], id="of all in debt, the better half that helps"),
        pytest.param([HELPS_ONE, IDLE], {"n0": -5, "n1": -5}, [Reason.IN_DEBT] * 2, id="that f cards say so is no help"),
        pytest.param([HARMS, IDLE], {"n0": 99, "n1": 20}, [Reason.BELOW_MARGIN, None], id="no reputation packs what harms"),
    ],
)  # fmt: skip
def test_what_is_taken_of_whom(
    words: list[tuple[int, int, int]], reputations: dict[str, int], expected: list[Reason | None]
) -> None:
    assert reasons(standing(START, **reputations), *words) == expected


def test_where_genesis_counts_no_rounds_nothing_before_decides() -> None:
    forgetful = make_community(12, 4, reputation_rounds=0)
    assert reasons(standing(forgetful, n0=-HARM, n1=HARM), IDLE, HELPS) == [None, None]
    assert {account.reputation for account in play_gains(forgetful, {forgetful.outsiders[0]: 9000}).after.state.accounts} == {0}


def test_an_account_takes_an_eighth_of_each_judged_gain_and_keeps_what_nobody_judged() -> None:
    one, two, three = START.outsiders[:3]
    after = play_gains(START, {one: 16_000, two: -1}).after
    assert [_of(after, node) for node in (one, two, three)] == [2_000, HARM // ROUNDS, 0]
    again = play_gains(after, {three: 4_000}).after
    assert [_of(again, node) for node in (one, two, three)] == [2_000, HARM // ROUNDS, 500]


def test_time_mends_no_harm_and_gains_do() -> None:
    debt = reputation_after(MicroNats(0), MicroNats(-1), MEASURE)
    assert debt == HARM // ROUNDS == -7_500
    assert reputation_after(debt, MicroNats(0), MEASURE) == debt
    assert reputation_after(debt, MicroNats(16_000), MEASURE) == debt + 2_000
    assert reputation_after(debt, None, MEASURE) == debt


@given(REPUTATIONS, GAINS, GAINS, st.integers(1, 1024))
def test_a_reputation_stays_between_what_it_was_and_what_was_found_and_more_gain_is_never_worse(
    before: MicroNats, gain: MicroNats, more: MicroNats, rounds: int
) -> None:
    gain, more = sorted((gain, more))
    after = reputation_after(before, gain, replace(MEASURE, rounds=rounds))
    found = HARM if gain < 0 else min(gain, GAIN_LEVELS[-1])
    assert min(before, found) <= after <= max(before, found)
    assert after <= reputation_after(before, more, replace(MEASURE, rounds=rounds))


@given(st.lists(REPUTATIONS, max_size=20))
def test_some_of_those_concerned_are_always_in_good_enough_repute_to_be_heard(reputations: list[MicroNats]) -> None:
    """Whatever was done before, no ledger refuses everybody: of those who help, half at least are borne."""
    repute = repute_among(reputations)
    borne = [value for value in reputations if repute.takes(value, helps=2, m=4)]
    assert 2 * len(borne) >= len(reputations)
    assert repute.borne <= 0 <= repute.good


@given(st.lists(GAINS, min_size=1, max_size=7), st.lists(st.integers(-1, 2**53), min_size=3, max_size=3))
def test_one_liar_among_three_cards_moves_a_reputation_no_further_than_an_honest_word(
    honest: list[MicroNats], said: list[int]
) -> None:
    """Given two honest words and any third, the reputation afterwards is one that a median between the two would have given."""
    low, high = min(honest), max(honest)
    median = MicroNats(sorted([low, high, said[0]])[1])
    bounds = [reputation_after(MicroNats(500), word, MEASURE) for word in (low, high)]
    assert bounds[0] <= reputation_after(MicroNats(500), median, MEASURE) <= bounds[1]


def test_the_seats_go_first_to_those_in_good_repute_whatever_the_lot() -> None:
    """Given six packed trainers of which two have half of the others' reputation or less, then whatever the lot those two are not
    among the four seats; without reputations they sometimes are."""
    seated, without = [0, 0], [0, 0]
    for share in range(20):
        for found, rounds in ((seated, ROUNDS), (without, 0)):
            start = make_community(10, 4, election="random", reputation_rounds=rounds, reward_share=100 + share)
            start = standing(start, n0=9_000, n1=9_000, n2=9_000, n3=9_000, n4=1_000, n5=1_000)
            outcome = play_gains(start, dict.fromkeys(start.outsiders, 1_000)).outcome
            assert {p.judgement.uploader for p in outcome.packed} == set(start.outsiders)
            for line, low in enumerate(start.outsiders[4:]):
                found[line] += low in outcome.committee
    assert seated == [0, 0]
    assert min(without) > 5


def test_who_has_harmed_and_not_been_packed_since_is_seated_after_the_others_whatever_its_repute() -> None:
    """Given that liars once praised two members far above all others, then a refusal by the next judges costs them their places."""
    seated, again = [0, 0], [0, 0]
    for share in range(20):
        start = make_community(10, 4, election="random", reputation_rounds=ROUNDS, reward_share=100 + share)
        start = standing(start, n0=900, n1=900, n2=900, n3=900, n4=30_000, n5=30_000)
        start = replace(
            start, state=with_accounts(start.state, *(replace(a, packed_round=Round(0)) for a in start.state.accounts))
        )
        start = replace(start, state=replace(start.state, round=Round(1)))
        gains = {node: -1 if place >= 4 else 1_000 for place, node in enumerate(start.outsiders)}
        for found, said in ((seated, gains), (again, dict.fromkeys(start.outsiders, 1_000))):
            committee = play_gains(start, said).outcome.committee
            for line, praised in enumerate(start.outsiders[4:]):
                found[line] += praised in committee
    assert seated == [0, 0]
    assert min(again) > 5


@pytest.mark.parametrize(("margin", "debt"), [(30, 0), (3_200, -100), (96_000, -3_000), (300_000, -9_375)])
def test_what_harm_costs_grows_with_the_margin(margin: int, debt: int) -> None:
    """An update of odd rows that harms while the model knows nothing is no lasting debt; the least gain that helps is a card's level."""
    assert reputation_after(MicroNats(0), MicroNats(-1), replace(MEASURE, margin=MicroNats(margin))) == debt
    assert LEAST_GAIN == 16


def test_what_judges_noise_alone_may_say_pays_no_debt() -> None:
    """Given noise of four rows and at most 256 rows, whose deviation is 0.047 nat, then twice that is the least gain that pays."""
    measure = measure_of(Params(score_noise=4_000), PartsPerMillion(MILLION), [])
    assert measure == Measure(8, MicroNats(300_000), MicroNats(93_750))
    assert reputation_after(MicroNats(-9_000), MicroNats(64_000), measure) == -9_000
    assert reputation_after(MicroNats(-9_000), MicroNats(256_000), measure) == 23_000
    assert reputation_after(MicroNats(8_000), MicroNats(0), measure) == 7_000, "who has no debt is averaged as ever"
    assert measure_of(Params(score_noise=0), PartsPerMillion(0), []).least == 0


YOUNG = PartsPerMillion(HALF_RIGHT - 1)


@pytest.mark.parametrize(
    ("known", "gains", "margin", "most"),
    [
        pytest.param(0, [], 30, 256_000, id="nobody offered"),
        pytest.param(0, [-1, -1, 16_000, 64_000, 64_000], 4_000, 32_000, id="a quarter of the middle gain, and twice that"),
        pytest.param(0, [-1, -1, -1, 256_000, 256_000], 30, 32, id="three of five harm: the middle is harm"),
        pytest.param(0, [0, 0, 0, 256_000, 256_000], 30, 32, id="most gain nothing: the least level twice"),
        pytest.param(0, [0, 0, 256_000, 256_000], 30, 32, id="of two middles the lower"),
        pytest.param(0, [256_000] * 3, 64_000, 256_000, id="no gain counts more than the highest word"),
        pytest.param(YOUNG, [-1, 64_000, 64_000], 149_999, 128_000, id="the margin, where that is wider"),
        pytest.param(HALF_RIGHT, [0, 0, 1_000], 15_000, 256_000, id="what knows half counts as it is said"),
        pytest.param(HALF_RIGHT, [256_000] * 3, 15_000, 256_000, id="and harms as the margin says, however narrow that is"),
    ],
)
def test_a_young_models_offers_are_held_against_what_the_round_gains(
    known: int, gains: list[int], margin: int, most: int
) -> None:
    params = Params(score_margin=MicroNats(30_000)) if known == HALF_RIGHT else Params()
    measure = measure_of(params, PartsPerMillion(known), [MicroNats(gain) for gain in gains])
    assert (measure.margin, measure.most) == (margin, most)


def test_who_harms_where_most_help_is_in_debt_however_young_the_model() -> None:
    """Given a model that knows nothing, three offers that help much and one that harms, then that one's trainer owes for it, and
    its next offers are not packed before what they gain has made up for that."""
    community = replace(START, state=replace(START.state, known=PartsPerMillion(0)))
    harmful = community.outsiders[3]
    after = play_gains(community, dict(zip(community.outsiders, [64_000, 64_000, 64_000, -1], strict=False))).after
    assert _of(after, harmful) == -(64_000 // 4 // 4 // ROUNDS)
    young = replace(community, state=replace(after.state, committee=community.state.committee, round=community.state.round))
    assert reasons(young, HELPS, HELPS, HELPS, HELPS)[3] is Reason.IN_DEBT


def test_praise_of_a_few_in_a_round_of_little_counts_little() -> None:
    """Given liars that say of two offers what no honest one gains, then these count at most twice the middle one."""
    community = replace(START, state=replace(START.state, known=PartsPerMillion(0)))
    after = play_gains(community, dict(zip(community.outsiders, [4_000] * 3 + [256_000] * 2, strict=False))).after
    assert [_of(after, node) for node in community.outsiders[:5]] == [500, 500, 500, 1_000, 1_000]


def _of(community: Community, node: NodeId) -> int:
    account = account_of(community.state, node)
    assert account is not None
    return account.reputation


@pytest.mark.parametrize(("members", "seats", "needed"), [(10, 4, 2), (12, 7, 4), (14, 10, 5)])
def test_f_liars_and_fewer_than_half_of_the_honest_judges_bring_nobody_into_debt(members: int, seats: int, needed: int) -> None:
    community = make_community(members, seats, seats, reputation_rounds=ROUNDS)
    community = replace(community, state=replace(community.state, known=PartsPerMillion(800_000)))
    node = community.outsiders[0]
    found = []
    for count in (needed - 1, needed):
        offer, good = make_offer(community, node), make_offer(community, community.outsiders[1])
        judges = sorted(community.state.committee[: community.q])
        said = [-1] * count + [0] * (community.q - count)
        cards = tuple(
            make_card(community, seat, [make_entry(offer, gain), make_entry(good)])
            for seat, gain in zip(judges, said, strict=True)
        )
        found.append(_of(play(community, cards, [offer, good]).after, node))
    assert found == [0, HARM // ROUNDS]
    assert 2 * (needed - community.f) >= community.q - community.f


def test_harm_pays_no_debt_and_no_gain_counts_more_than_the_highest_word() -> None:
    """Given a debt from when the margin was wider, then harm at a narrow one leaves it; and who says more than a card can adds nothing."""
    narrow = replace(MEASURE, margin=MicroNats(400))
    assert reputation_after(MicroNats(-9_000), MicroNats(-1), narrow) == -9_000
    assert (
        reputation_after(MicroNats(0), MicroNats(2**53), MEASURE)
        == reputation_after(MicroNats(0), MicroNats(256_000), MEASURE)
        == 32_000
    )


def test_the_highest_word_pays_whatever_the_noise() -> None:
    assert measure_of(Params(score_noise=12_000, score_rows=256), PartsPerMillion(MILLION), []).least == 256_000
