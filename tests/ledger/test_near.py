"""Where judges look near, and what an offer is worth there that clearly most gain by (design 5.2 and 5, Reputation)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.ledger.disclosure import HALF_RIGHT
from bflcd.ledger.judging import judging_of
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import trainers
from bflcd.ledger.state import account_of, with_accounts
from bflcd.ledger.trust.margin import NEAR_MARGIN, margin_of
from bflcd.ledger.trust.nearness import MANY, MOST_NEAR, near_of
from bflcd.ledger.trust.reputation import (
    HARM_PART,
    LEAST_GAIN,
    Measure,
    debt_of,
    helps_clearly,
    measure_of,
    reputation_after,
)
from bflcd.params import MILLION, Params
from bflcd.types import MicroNats, NodeId, PartsPerMillion
from tests.helpers.ledger import Community, make_card, make_community, make_entry, make_offer, play, play_gains

KNOWN = PartsPerMillion(800_000)
"""A margin of 240,000."""


def community(members: int, known: int = KNOWN, **params: object) -> Community:
    start = make_community(members, 4, **{"reputation_rounds": 8, "near_gains": True} | params)
    return replace(start, state=replace(start.state, known=PartsPerMillion(known)))


@pytest.mark.parametrize(
    ("training", "params", "known", "near"),
    [
        pytest.param(MANY, {}, KNOWN, 1, id="of few trainers each is much of the step"),
        pytest.param(MANY + 1, {}, KNOWN, 4, id="of more it is a part, by the damping"),
        pytest.param(26, {}, KNOWN, 6, id="rounded down"),
        pytest.param(26, {}, HALF_RIGHT, 6, id="from when the model is right on half"),
        pytest.param(26, {}, HALF_RIGHT - 1, 1, id="not of a young model"),
        pytest.param(200, {}, KNOWN, MOST_NEAR, id="no nearer than numbers allow"),
        pytest.param(26, {"score_damping": 13}, KNOWN, 2, id="the damping is the way's first part"),
        pytest.param(26, {"score_damping": 64}, KNOWN, 1, id="which may be short enough"),
        pytest.param(26, {"near_gains": Params().near_gains}, KNOWN, 1, id="where genesis wants it alone"),
        pytest.param(26, {"score_noise": 1_000}, KNOWN, 1, id="not where judges add noise"),
        pytest.param(26, {"score_rule": "accuracy"}, KNOWN, 1, id="a short step changes no accuracy that ranks"),
    ],
)
def test_how_near(training: int, params: dict[str, object], known: int, near: int) -> None:
    start = community(training + 4, known, **params)
    assert len(trainers(start.params, start.state)) == training
    assert near_of(start.params, start.state) == near
    assert judging_of(start.params, start.state, start.outsiders[0]).near == near, "whoever offers can know it"


def test_it_follows_from_who_may_train_in_the_round() -> None:
    """Given a hundred members of whom a quarter is at work, then it is by the quarter and not by the hundred."""
    start = community(104, active_fraction=PartsPerMillion(MILLION // 4))
    training = len(trainers(start.params, start.state))
    assert MANY < training < 40
    assert near_of(start.params, start.state) == training // 4


@pytest.mark.parametrize(("offering", "near"), [(MILLION, 6), (MILLION // 2, 6), (MILLION // 2 - 1, 1)])
def test_who_may_train_and_does_not_brings_nobody_nearer(offering: int, near: int) -> None:
    """Given 26 of whom ten have missed most of their rounds, then it is by the others, who are sixteen."""
    start = community(30)
    idle = [account_of(start.state, node) for node in start.outsiders[:10]]
    state = with_accounts(start.state, *(replace(one, offering=PartsPerMillion(offering)) for one in idle if one is not None))
    assert near_of(start.params, state) == near


def test_near_an_offer_may_cost_half_as_much() -> None:
    near, far = community(30), community(30, near_gains=False)
    assert margin_of(near.params, near.state) == margin_of(far.params, far.state) // NEAR_MARGIN == 120_000
    few = community(MANY + 4)
    assert margin_of(few.params, few.state) == 240_000


@given(st.integers(4, 64), st.integers(0, 64))
def test_who_clearly_helps_has_an_honest_judge_that_says_so(m: int, helps: int) -> None:
    """Given any committee, then f cards alone never suffice, more than half is needed, and all of them are enough."""
    f, q = faults(m), quorum(m)
    assert helps_clearly(q, m)
    if helps_clearly(helps, m):
        assert helps > f
        assert 2 * helps > q
        assert helps_clearly(helps + 1, m)


@pytest.mark.parametrize(("m", "least"), [(4, 3), (6, 4), (7, 4), (10, 5), (19, 9), (64, 25)])
def test_of_how_many_cards_it_is_clear(m: int, least: int) -> None:
    assert [helps_clearly(helps, m) for helps in (least - 1, least)] == [False, True]


NEAR = measure_of(Params(), KNOWN, [], near=2)


@pytest.mark.parametrize(("before", "after"), [(-7_500, 0), (-30_000, -22_500), (0, 7_500), (60_000, 60_000), (70_000, 68_750)])
def test_who_clearly_helps_makes_up_for_as_much_as_one_harm(before: int, after: int) -> None:
    """Whatever the gain is: most honest offers of many gain some thousandths, where a harmful one counts sixty."""
    found = reputation_after(MicroNats(before), LEAST_GAIN, NEAR, clearly=True)
    assert found == after
    assert NEAR.helped == NEAR.margin // HARM_PART == debt_of(NEAR) * NEAR.rounds


@pytest.mark.parametrize(
    ("measure", "gain", "clearly"),
    [
        pytest.param(NEAR, LEAST_GAIN, False, id="by a card or two more than half"),
        pytest.param(measure_of(Params(), KNOWN, []), LEAST_GAIN, True, id="where judges don't look near"),
        pytest.param(NEAR, MicroNats(0), True, id="what gains nothing"),
        pytest.param(
            Measure(8, MicroNats(240_000), MicroNats(1_000), helped=NEAR.helped), LEAST_GAIN, True, id="what noise says"
        ),
    ],
)
@pytest.mark.parametrize("before", [MicroNats(-30_000), MicroNats(0)])
def test_nothing_else_does(measure: Measure, gain: MicroNats, clearly: bool, before: MicroNats) -> None:
    plain = replace(measure, helped=MicroNats(0))
    assert reputation_after(before, gain, measure, clearly=clearly) == reputation_after(before, gain, plain)
    assert reputation_after(before, gain, measure, clearly=clearly) <= before + LEAST_GAIN


def test_harm_counts_as_before_however_many_say_that_it_helps() -> None:
    assert reputation_after(MicroNats(0), MicroNats(-1), NEAR, clearly=True) == -debt_of(NEAR)


def reputation(played: Community, node: NodeId) -> int:
    account = account_of(played.state, node)
    assert account is not None
    return account.reputation


@pytest.mark.parametrize(("members", "paid"), [(MANY + 5, True), (MANY + 4, False)])
def test_of_many_trainers_who_harmed_once_is_heard_again_after_one_offer_that_all_gain_by(members: int, paid: bool) -> None:
    """Given a community in which sixteen train, and one with another, then only in the latter it pays for one harm, whatever it gains."""
    start = community(members)
    one = start.outsiders[0]
    account = account_of(start.state, one)
    assert account is not None
    owing = replace(start, state=with_accounts(start.state, replace(account, reputation=MicroNats(-7_500))))
    after = play_gains(owing, dict.fromkeys(start.outsiders, int(LEAST_GAIN))).after
    assert reputation(after, one) == (0 if paid else LEAST_GAIN // 8 - 7_500)


def test_two_of_three_judges_are_not_clear() -> None:
    """Given an offer that two of three cards gain by and one does not, then it pays what it gains, and no more."""
    start = community(MANY + 5)
    one = start.outsiders[0]
    offers = [make_offer(start, node) for node in start.outsiders]
    seats = sorted(start.state.committee[: start.q])
    said = {one: (16, 16, 0)}
    cards = [
        make_card(start, seat, [make_entry(offer, said.get(offer.author, (16, 16, 16))[line]) for offer in offers])
        for line, seat in enumerate(seats)
    ]
    after = play(start, cards, offers).after
    assert reputation(after, one) == 2
    assert reputation(after, start.outsiders[1]) == 7_500
