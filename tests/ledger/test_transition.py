"""From one model block to the next: outcome, segment, and the check of somebody else's (design 4, 5 and 7)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.errors import InvariantError, PeerError, Rejection, UsageError
from bflcd.ledger.accounts import availability_after
from bflcd.ledger.election import lead_order
from bflcd.ledger.judgement import Reason
from bflcd.ledger.pace import Pace
from bflcd.ledger.roles import offering, seed, seed_of, tie_break
from bflcd.ledger.state import HALF, MAX_SUPPLY, NEVER, State, genesis_state, state_hash
from bflcd.ledger.transition import (
    Outcome,
    apply,
    build_segment,
    check_conservation,
    check_time,
    decide,
    proposal_time,
)
from bflcd.params import ELECTIONS, MILLION
from bflcd.types import Digest, Millis, PartsPerMillion, Round, View
from bflcd.wire.blocks import KIND_MODEL, KIND_UPDATE, UpdateBody, body_hash, committee_hash, header_hash
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import verify_envelope
from tests.helpers.ledger import (
    NEXT_MODEL,
    POOL,
    Community,
    Played,
    by_digest,
    make_card,
    make_cards,
    make_community,
    make_draw,
    make_entry,
    make_genesis,
    make_offer,
    play,
    play_gains,
)

START = make_community(reward_share=100_000)
GAINS = dict(zip(START.outsiders, [500, 100, 0, 0, -1], strict=False))
"""Five of six trainers offer: two gain, two are tolerated, one is refused."""

OFFERED, MISSED = 562_500, 437_500
"""What one round makes of an account's `offering` at genesis."""


def refusal_of(*arguments: Any, time: int | None = None) -> PeerError:
    with pytest.raises(PeerError) as caught:
        decide(*arguments, draw=make_draw(START), time=Millis(START.state.time + 1 if time is None else time))
    return caught.value


def test_a_round_by_hand() -> None:
    """Given unanimous cards, when the round is decided, then packed, weights, rewards, committee and ledger are these."""
    played = play_gains(START, GAINS)
    outcome, outs = played.outcome, START.outsiders
    equals = sorted(outs[2:4], key=lambda node: tie_break(seed_of(START.state), node))
    assert [packed.judgement.uploader for packed in outcome.packed] == [*outs[:2], *equals]
    assert [packed.weight for packed in outcome.packed] == [2**16, 2**16, 2**15, 2**15], "the two that help, twice the others"
    payout = POOL // 10
    first = payout * 5 // 6
    assert outcome.rewards == ((outs[0], first), (outs[1], payout - first))
    before, draw = START.state, make_draw(START)
    assert outcome.committee == lead_order(before, outs[:4], seed(before.chain, Round(1), draw.lot))
    assert not outcome.degraded
    paid = dict(outcome.rewards)
    assert outcome.state == State(
        chain=before.chain,
        round=1,
        epoch=0,
        time=before.time + 1000,
        committee=outcome.committee,
        managers=before.managers,
        lot=draw.lot,
        accounts=tuple(
            replace(
                account,
                balance=account.balance + paid.get(account.node, 0),
                packed_round=0 if account.node in outs[:4] else NEVER,
                packed_score=GAINS[account.node] if account.node in outs[:4] else 0,
                seat_round=1 if account.node in outs[:4] else account.seat_round,
                availability=125_000,
                offering=OFFERED if account.node in GAINS else MISSED if account.node in outs else HALF,
                refusals=int(account.node == outs[4]),
            )
            for account in before.accounts
        ),
        pool=POOL - payout,
        burnt=0,
        supply=before.supply,
        usual_norm=4096,
        known=250_000,
        pace=Pace(calm=1, heard=1),
    )


@pytest.mark.parametrize(("said", "noted"), [((3, 3, 3), 3), ((0, 1, 9), 1), ((0, 0, 2**32), 0), ((2, 2, 0), 2)])
def test_one_card_of_three_says_nothing_about_the_view_of_the_parent(said: tuple[int, ...], noted: int) -> None:
    """Given cards of which one may lie, then the ledger notes the middle of the views that they say; a round in which nobody
    offered counts as such."""
    seats = sorted(START.state.committee[: START.q])
    stood = replace(START, state=replace(START.state, pace=Pace(calm=1)))
    cards = tuple(make_card(stood, seat, decided=View(view)) for seat, view in zip(seats, said, strict=True))
    assert play(stood, cards).outcome.state.pace == Pace(views=(noted,), calm=2, stretches=1)


def test_what_the_last_judged_model_knew_stays_in_the_ledger() -> None:
    """Given a round in which nobody scored anything, then the margin of the next is that of the round before."""
    judged = play_gains(START, GAINS).after
    assert judged.state.known == 250_000
    assert play_gains(judged, {}).outcome.state.known == 250_000


def test_what_a_model_knows_rises_by_a_quarter_a_round_and_falls_at_once() -> None:
    """Given cards that say that a model is always right, then it takes a second committee to make it no young one any more."""
    community, known = START, []
    for said in (MILLION, MILLION, 300_000, 400_000, MILLION, 0):
        offers = [make_offer(community, node) for node in community.outsiders[:2]]
        cards = tuple(
            make_card(community, seat, [make_entry(one) for one in offers], base_accuracy=PartsPerMillion(said))
            for seat in sorted(community.state.committee[: community.q])
        )
        community = play(community, cards, offers).after
        known.append(community.state.known)
    assert known == [250_000, 500_000, 300_000, 400_000, 650_000, 0]


@pytest.mark.parametrize("rule", ["gain", "accuracy"])
def test_a_zero_update_is_paid_nothing_and_ranks_last(rule: str) -> None:
    """Row 50: whatever ranks, a gain of nothing earns nothing; by gain it ranks behind every update that helped."""
    start = make_community(score_rule=rule, reward_share=MILLION)
    useful, idle = start.outsiders[0], start.outsiders[1]
    offers = by_digest(make_offer(start, node) for node in (useful, idle))
    one, two = offers.values()
    entries = [make_entry(one, 10, accuracy=300_000), make_entry(two, 0, accuracy=400_000)]
    cards = tuple(make_card(start, seat, entries) for seat in sorted(start.state.committee[:3]))
    outcome = play(start, cards, offers.values()).outcome
    assert outcome.rewards == ((useful, POOL),)
    ranked = [packed.judgement.uploader for packed in outcome.packed]
    assert ranked == ([useful, idle] if rule == "gain" else [idle, useful])


def test_a_copied_update_is_scored_by_liars_only_and_earns_nothing() -> None:
    """Row 39: a copy names another uploader inside, so no honest member gives it an entry; f liars can't make it count."""
    start = make_community(reward_share=MILLION)
    owner, copier = start.outsiders[:2]
    real = make_offer(start, owner)
    copy = make_offer(start, copier, blob=real.body.blob)
    seats = sorted(start.state.committee[:3])
    lists = ([make_entry(real)], [make_entry(real)], [make_entry(real, -1), make_entry(copy, 10**6)])
    cards = tuple(make_card(start, seat, listed) for seat, listed in zip(seats, lists, strict=True))
    outcome = play(start, cards, [real, copy]).outcome
    assert [packed.offer for packed in outcome.packed] == [real]
    assert outcome.rewards == ((owner, POOL),)
    assert {o.uploader: o.reason for o in outcome.judgement.offers}[copier] is Reason.FEW_ENTRIES


def test_numbering_links_and_vacant_blocks() -> None:
    """Model of round t at #t(k+1), its updates before it, one chain of parents, and vacant blocks for the places nobody took."""
    community, parent = START, START.head
    for t in range(3):
        played = play_gains(community, dict.fromkeys(community.outsiders[: 2 * t], 5))
        headers = played.segment.headers
        assert [h.height for h in headers] == list(range(7 * t + 1, 7 * t + 8))
        assert [h.round for h in headers] == [t] * 6 + [t + 1]
        assert [h.kind for h in headers] == [KIND_UPDATE] * 6 + [KIND_MODEL]
        assert {h.time for h in headers} == {community.state.time + 1000}
        for header in headers:
            assert header.parent == parent
            parent = header_hash(header)
        for i, body in enumerate(played.segment.updates):
            assert headers[i].body == body_hash(body)
            vacant = i >= 2 * t
            assert (body == UpdateBody(None, None, None, None)) is vacant
            assert (headers[i].blob is None) is vacant
        assert headers[-1].body == body_hash(played.segment.model)
        assert headers[-1].blob == (NEXT_MODEL if t else community.header.blob)
        assert headers[-1].model is not None
        assert headers[-1].model.state == state_hash(played.after.state)
        community = played.after


@pytest.mark.parametrize(
    ("before", "present", "after"),
    [
        (0, True, 125_000),
        (0, False, 0),
        (125_000, True, 234_375),
        (125_000, False, 109_375),
        (999_999, True, MILLION),
        (MILLION, True, MILLION),
        (MILLION, False, 875_000),
        (7, False, 7),
        (8, False, 7),
    ],
)
def test_availability_gives_way_by_an_eighth_each_round(before: int, present: bool, after: int) -> None:
    assert availability_after(PartsPerMillion(before), present=present) == after


@given(st.lists(st.booleans(), max_size=300))
def test_availability_stays_a_share_and_grows_with_presence_alone(rounds: list[bool]) -> None:
    share = PartsPerMillion(0)
    for present in rounds:
        before, share = share, availability_after(share, present=present)
        assert 0 <= share <= MILLION
        assert share > before or share == MILLION if present else share <= before


def offerings(community: Community) -> dict[bytes, int]:
    return {account.node: account.offering for account in community.state.accounts}


def test_an_offer_on_f_plus_one_cards_counts_whatever_it_is_worth_and_a_seat_costs_nobody_its_name() -> None:
    """Given offers on one, two and three of three cards, one of them harmful, when the round closes, then the first counts as
    missed, who held a seat is where it was, and the others' offers came in most rounds."""
    one, two, harmful = START.outsiders[:3]
    offers = [make_offer(START, node) for node in (one, two, harmful)]
    entries = [make_entry(offer, gain) for offer, gain in zip(offers, (5, 5, -1), strict=True)]
    seats = sorted(START.state.committee[:3])
    cards = tuple(make_card(START, seat, entries[n:]) for seat, n in zip(seats, (0, 1, 2), strict=True))
    after = play(START, cards, offers).after
    expected = dict.fromkeys(START.outsiders, MISSED) | dict.fromkeys(START.state.committee, HALF)
    assert offerings(after) == expected | {two: OFFERED, harmful: OFFERED}
    assert offering(after.state) == {two, harmful, *START.state.committee}


def test_adversaries_hide_no_offer_that_all_honest_members_hold() -> None:
    """Given f liars among the q cards that leave out an honest trainer's offer, then it counts as having come."""
    victim = START.outsiders[0]
    offer = make_offer(START, victim)
    seats = sorted(START.state.committee[:3])
    lists = ([make_entry(offer)], [make_entry(offer)], [])
    cards = tuple(make_card(START, seat, listed) for seat, listed in zip(seats, lists, strict=True))
    assert victim in offering(play(START, cards, [offer]).after.state)


def test_a_round_in_which_no_offer_counts_says_nothing_about_anybody() -> None:
    offer = make_offer(START, START.outsiders[0])
    seats = sorted(START.state.committee[:3])
    cards = tuple(make_card(START, seat, [make_entry(offer)] if seat == seats[0] else []) for seat in seats)
    assert set(offerings(play(START, cards).after).values()) == {HALF}


def test_presence_is_what_f_plus_one_cards_say_in_empty_rounds_too() -> None:
    """Given rounds that pack nothing, when two of three cards list a member, then it counts as there; by one card it does not."""
    seen, doubted, absent = START.outsiders[:3]
    community, lists = START, ([seen, doubted], [seen], [])
    for _ in range(2):
        seats = sorted(community.state.committee[:3])
        cards = tuple(make_card(community, seat, present=listed) for seat, listed in zip(seats, lists, strict=True))
        community = play(community, cards).after
    shares = {account.node: account.availability for account in community.state.accounts}
    assert [shares[node] for node in (seen, doubted, absent)] == [234_375, 0, 0]


@pytest.mark.parametrize("rule", ELECTIONS)
def test_a_round_elects_as_genesis_says_from_cards_and_ledger(rule: str) -> None:
    """Given three good and three worse trainers, each pulled faster than the one before, and the last always there, when the round
    closes, then each rule seats whom it should."""
    found = (_elected(rule, share) for share in range(100, 200))
    outcome, seats, expected = next(one for one in found if len(set(one[2].values())) >= 3)  # two rules may agree by lot
    assert seats == expected[rule]
    assert not outcome.degraded


def _elected(rule: str, reward_share: int) -> tuple[Outcome, frozenset[int], dict[str, frozenset[int]]]:
    """The round that `test_a_round_elects_as_genesis_says_from_cards_and_ledger` describes, whom it seats, and whom each rule should;
    `reward_share` gives it lots of its own."""
    start = make_community(election=rule, reward_share=reward_share)
    nodes = start.outsiders
    accounts = tuple(replace(a, availability=PartsPerMillion(MILLION * (a.node == nodes[5]))) for a in start.state.accounts)
    start = replace(start, state=replace(start.state, accounts=accounts))
    offers = [make_offer(start, node) for node in nodes]
    entries = [make_entry(offer, 60 if i < 3 else 50, rate=1 + i) for i, offer in enumerate(offers)]
    cards = tuple(make_card(start, seat, entries) for seat in sorted(start.state.committee[:3]))
    outcome = play(start, cards, offers).outcome
    lots = sorted(range(6), key=lambda i: tie_break(seed_of(outcome.state), nodes[i]))
    by_score = [i for i in lots if i < 3] + [i for i in lots if i > 2]
    expected = {
        "score": by_score,
        "random": lots,
        "top-half": sorted(by_score[:4], key=lots.index),
        "multi-factor": [2, 1, *(i for i in lots if i in (0, 5))],  # 4, 5, and twice 6: score 0 + rate 5 + 1, 2 * 3 + 0 + 0
    }
    seats = frozenset(nodes.index(seat) for seat in outcome.committee)
    return outcome, seats, {name: frozenset(order[:4]) for name, order in expected.items()}


def test_a_round_without_packed_updates_keeps_the_model() -> None:
    outcome = play_gains(START, {START.outsiders[0]: -1}).outcome
    assert (outcome.packed, outcome.rewards, outcome.state.pool) == ((), (), POOL)
    with pytest.raises(PeerError, match="packs nothing") as caught:
        build_segment(START.params, START.state, START.header, outcome, NEXT_MODEL)
    assert caught.value.rejection is Rejection.BAD_SEGMENT


def test_a_segment_applies_to_the_state_that_it_was_decided_with() -> None:
    community = START
    for gains in (GAINS, {}, None, {}):
        played = play_gains(community, dict.fromkeys(community.outsiders, 9) if gains is None else gains)
        wire = decode(encode(played.segment), type(played.segment))
        after = apply(community.params, community.state, community.header, wire, verify_envelope)
        assert after == played.outcome.state
        community = played.after


@pytest.mark.parametrize("size", range(1, 8))
def test_communities_of_one_to_seven_play_rounds(size: int) -> None:
    """Row 36: every size commits, where the committee trains too, and every seat is taken in every round."""
    community = make_community(size, min(size, 4), 4, small_community=True)
    for _ in range(3):
        played = play_gains(community, dict.fromkeys(community.members, 3))
        assert apply(community.params, community.state, community.header, played.segment, verify_envelope) == played.after.state
        assert len(played.outcome.committee) == min(size, 4)
        assert len(played.outcome.packed) == min(size, 4)
        community = played.after


def test_the_order_of_offers_at_hand_and_further_ones_do_not_matter() -> None:
    offers = [make_offer(START, node) for node in START.outsiders[:3]]
    cards = tuple(make_card(START, s, [make_entry(o) for o in offers]) for s in sorted(START.state.committee[:3]))
    spare = make_offer(START, START.outsiders[4])
    assert play(START, cards, offers).segment == play(START, cards, [spare, *offers[::-1]]).segment


def test_six_seats_need_five_cards() -> None:
    start = make_community(10, 6)
    cards = tuple(make_card(start, seat) for seat in sorted(start.state.committee))
    for count in (3, 4, 6):
        refusal = refusal_of(start.params, start.state, start.head, cards[:count], {})
        assert (refusal.rejection, "decided by 5 cards" in str(refusal)) == (Rejection.BAD_SEGMENT, True)
    time = Millis(start.state.time + 1)
    assert decide(start.params, start.state, start.head, cards[:5], {}, draw=make_draw(start), time=time).degraded


def test_decide_refuses_what_no_leader_may_propose() -> None:
    p, s, head = START.params, START.state, START.head
    seats = sorted(s.committee)
    offer = make_offer(START, START.outsiders[0])
    good = tuple(make_card(START, seat, [make_entry(offer)]) for seat in seats)
    at_hand = by_digest([offer])
    assert refusal_of(p, s, head, (good[1], good[0], good[2]), at_hand).rejection is Rejection.BAD_SEGMENT
    assert refusal_of(p, s, head, (good[0], good[0], good[2]), at_hand).rejection is Rejection.BAD_SEGMENT
    assert refusal_of(p, s, head, good[:3], {}).rejection is Rejection.UNAVAILABLE
    assert refusal_of(p, s, head, good[:3], at_hand, time=s.time).rejection is Rejection.BAD_TIME
    assert refusal_of(p, s, Digest(b"x" * 32), good[:3], at_hand).rejection is Rejection.WRONG_PARENT
    stranger = make_card(START, START.outsiders[0])
    by_author = tuple(sorted((*good[:2], stranger), key=lambda card: card.author))
    assert refusal_of(p, s, head, by_author, at_hand).rejection is Rejection.NOT_COMMITTEE
    bad = make_card(START, seats[2], base_loss=1)
    assert refusal_of(p, s, head, (*good[:2], bad), at_hand).rejection is Rejection.BAD_CARD


def test_an_offer_must_be_what_the_cards_name() -> None:
    """Given f + 1 cards that name an offer of another round, uploader or root, then there is no segment."""
    p, s, head, node = START.params, START.state, START.head, START.outsiders[0]
    real, old = make_offer(START, node), make_offer(START, node, round=7)
    other = make_offer(START, START.outsiders[1])
    cases = [
        (make_entry(old), old, Rejection.WRONG_ROUND),
        (replace(make_entry(real), root=Digest(b"x" * 32)), real, Rejection.BAD_SEGMENT),
        (replace(make_entry(other), uploader=node), other, Rejection.BAD_SEGMENT),
    ]
    for entry, offer, rejection in cases:
        cards = tuple(make_card(START, seat, [entry]) for seat in sorted(s.committee[:3]))
        assert refusal_of(p, s, head, cards, by_digest([offer])).rejection is rejection
    cards = tuple(make_card(START, seat, [make_entry(real)]) for seat in sorted(s.committee[:3]))
    assert refusal_of(p, s, head, cards, {real.digest: other}).rejection is Rejection.BAD_SEGMENT


@pytest.mark.parametrize(("now", "parent", "expected"), [(100, 50, 100), (100, 99, 100), (100, 100, 101), (100, 5000, 5001)])
def test_a_leader_never_goes_back_in_time(now: int, parent: int, expected: int) -> None:
    assert proposal_time(Millis(now), Millis(parent)) == expected
    check_time(proposal_time(Millis(now), Millis(parent)), Millis(now), Millis(parent))


@pytest.mark.parametrize(
    ("time", "now", "parent", "passes"),
    [
        (10_100, 100, 0, True),
        (10_101, 100, 0, False),
        (50_001, 100, 50_000, True),
        (50_002, 100, 50_000, False),
        (1, 10**9, 0, True),
    ],
)
def test_members_refuse_only_a_time_that_is_too_far_ahead(time: int, now: int, parent: int, passes: bool) -> None:
    if passes:
        check_time(Millis(time), Millis(now), Millis(parent))
        return
    with pytest.raises(PeerError, match="1 ms above") as caught:
        check_time(Millis(time), Millis(now), Millis(parent))
    assert caught.value.rejection is Rejection.BAD_TIME


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_random_histories_conserve_every_unit_and_replay_alike(data: st.DataObject) -> None:
    """Whatever is scored, seen and paid in three rounds: the sum is kept, the segments apply, the seats are full."""
    share = data.draw(st.sampled_from([0, 1, 333_333, MILLION]))
    community = make_community(8, 4, 4, reward_share=share)
    for _ in range(3):
        offers = by_digest(make_offer(community, n, samples=data.draw(st.integers(1, 2**40))) for n in community.outsiders)
        gain = st.one_of(st.none(), st.integers(-1, 2_000))
        rows = {digest: data.draw(st.lists(gain, min_size=3, max_size=3)) for digest in offers}
        seen = data.draw(st.sets(st.sampled_from(community.members)))
        played = play(community, make_cards(community, rows, offers, seen), offers.values())
        state = apply(community.params, community.state, community.header, played.segment, verify_envelope)
        assert state == played.outcome.state
        assert (
            sum(account.balance + account.deposit for account in state.accounts) + state.pool + state.burnt
            == community.state.supply
        )
        assert len(set(state.committee)) == 4
        community = played.after


def test_a_ledger_that_does_not_add_up_is_our_bug() -> None:
    state = START.state
    for broken in (
        replace(state, pool=state.pool + 1),
        replace(state, burnt=1),
        replace(state, pool=-1, burnt=state.pool + 1),
    ):
        with pytest.raises(InvariantError):
            check_conservation(broken)


def test_a_genesis_hands_out_no_more_than_an_amount_can_hold() -> None:
    genesis, _ = make_genesis()
    rich = tuple(replace(member, balance=2**53) for member in genesis.members)
    assert genesis_state(replace(genesis, members=rich)).supply == 10 * 2**53 + POOL
    with pytest.raises(UsageError, match="hands out"):
        genesis_state(replace(genesis, members=rich, pool=MAX_SUPPLY))


def test_the_next_round_speaks_to_the_next_committee() -> None:
    """Row 35: a member of the old committee has no say in the new round, and yesterday's card is worth nothing."""
    played = play_gains(START, GAINS)
    after: Community = played.after
    stale: Played = played
    assert committee_hash(after.state.epoch, after.state.committee) != committee_hash(0, START.state.committee)
    refusal = refusal_of(after.params, after.state, after.head, stale.cards, {}, time=after.state.time + 1)
    assert refusal.rejection is Rejection.WRONG_ROUND
    late = tuple(make_card(after, seat) for seat in sorted(START.state.committee[:3]))
    refusal = refusal_of(after.params, after.state, after.head, late, {}, time=after.state.time + 1)
    assert refusal.rejection is Rejection.NOT_COMMITTEE
