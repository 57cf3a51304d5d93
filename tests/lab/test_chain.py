"""The laboratory's ledger is the daemons': the same decision from the same cards, whether somebody signed them or not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.errors import PeerError, Rejection
from bflcd.lab.chain import POOL, CardLines, LabChain
from bflcd.lab.rng import Draw, generator
from bflcd.ledger.election import Merit, elect
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import seed_of, trainers
from bflcd.ledger.transition import Outcome
from bflcd.params import ELECTIONS, MILLION, SCORE_RULES, Params
from bflcd.types import PartsPerMillion
from tests.helpers.ledger import make_card, make_community, make_draw, make_entry, make_offer, play

gains = st.one_of(st.integers(-1, 300_000), st.sampled_from([-1, 0, 1_000, 256_000, 10**9]))
norms = st.one_of(st.integers(0, 2**22), st.sampled_from([0, 4096, 4 * 4096, 4 * 4096 + 1, 256, 255]))
accuracies = st.integers(0, MILLION)


def members_word(outcome: Outcome):
    """All that an outcome decides; digests of offers and cards depend on who signed what, and are left out."""
    judged = [replace(offer, offer=bytes(32), root=bytes(32)) for offer in outcome.judgement.offers]
    packed = [(item.judgement.uploader, item.weight, item.judgement.score) for item in outcome.packed]
    parts = (outcome.judgement.present, outcome.judgement.base_loss, outcome.judgement.base_accuracy)
    return judged, parts, packed, outcome.rewards, outcome.committee, outcome.degraded, outcome.state


@settings(max_examples=60)
@given(st.data())
def test_it_decides_what_daemons_decide_of_sealed_cards(data):
    """Given three rounds of real members, with offers and cards that are sealed and signed, cards that lack entries, members that
    were not seen, claims and rates of all sizes,
    When the laboratory closes the same rounds from the bare numbers,
    Then packed, weights, scores, rewards, committee and every account are the same, round after round.
    """
    community = make_community(
        nodes=11,
        committee=5,
        places=data.draw(st.sampled_from([5, 6, 11])),
        election=data.draw(st.sampled_from(ELECTIONS)),
        score_rule=data.draw(st.sampled_from(SCORE_RULES)),
        norm_clip=PartsPerMillion(data.draw(st.sampled_from([0, 500_000, MILLION]))),
        active_fraction=PartsPerMillion(data.draw(st.sampled_from([600_000, MILLION]))),
        reward_share=PartsPerMillion(50_000),
    )
    heads = {}
    chain = LabChain(
        community.params,
        community.members,
        community.state,
        lambda state: heads[state.round],
        7,
        draw_of=lambda _: make_draw(community),
    )
    number = {node: device for device, node in enumerate(community.members)}
    for _ in range(3):
        heads[community.state.round] = community.head
        active = sorted(trainers(community.params, community.state))
        assert [chain.nodes[device] for device in chain.trainers] == active
        assert [chain.nodes[device] for device in chain.committee] == list(community.state.committee)
        offering = [node for node in active if data.draw(st.integers(0, 3))]
        claims = [data.draw(st.one_of(st.integers(1, 300), st.integers(1, 2**40))) for _ in offering]
        offers = [make_offer(community, node, samples=claim) for node, claim in zip(offering, claims, strict=True)]
        seats = data.draw(st.permutations(community.state.committee))[: community.q]
        sealed, lines = [], []
        for seat in seats:
            rows = [tuple(data.draw(s) for s in (gains, accuracies, norms, st.integers(0, 2000))) for _ in offers]
            entered = [data.draw(st.integers(0, 5)) > 0 for _ in offers]
            listed = [make_entry(offer, *row) for offer, row, there in zip(offers, rows, entered, strict=True) if there]
            card = make_card(community, seat, listed, [node for node in community.members if data.draw(st.integers(0, 4))])
            sealed.append(card)
            table = np.array(rows, dtype=np.int64).reshape(len(offers), 4)
            present = tuple(number[node] for node in card.body.present)
            columns = (table[:, 0], table[:, 1], table[:, 2])
            said = CardLines(*columns, 2_000_000, 400_000, np.array(entered, dtype=bool), table[:, 3], present)
            lines.append((number[seat], said))
        played = play(community, tuple(sorted(sealed, key=lambda card: card.author)), offers)
        found = chain.close([number[node] for node in offering], claims, lines)
        at = chain.state.time
        assert members_word(replace(found.outcome, state=replace(chain.state, time=played.outcome.state.time))) == members_word(
            played.outcome
        )
        assert found.packed == tuple(number[item.judgement.uploader] for item in played.outcome.packed)
        assert found.weights == tuple(item.weight for item in played.outcome.packed)
        assert chain.rewards(found) == {number[node]: amount for node, amount in played.outcome.rewards}
        assert at == community.state.time + 1
        community = played.after
        chain.state = community.state


# -- a simulated community ----------------------------------------------------------------------------------------------------


def unanimous(chain, offering, *, norm=4096):
    """Cards of the first q seats on which the first offers are the best."""
    column = np.arange(len(offering), 0, -1, dtype=np.int64)
    said = CardLines(column * 1000, column, np.full(len(offering), norm), 2_000_000, 300_000)
    return [(member, said) for member in chain.committee[: chain.quorum]]


def small(**params):
    return LabChain.simulated(Params(**({"committee_size": 4, "places": 20, "norm_clip": 0} | params)), 20, seed=3)


def test_a_new_community():
    chain = small()
    assert len(set(chain.committee)) == 4
    assert chain.quorum == 3
    assert sorted(chain.committee + chain.trainers) == list(range(20))
    assert list(chain.trainers) == sorted(chain.trainers)
    assert [chain.device_of(node) for node in chain.nodes] == list(range(20))
    assert chain.state.pool == chain.state.supply == POOL
    assert [account.seat_round for account in chain.state.accounts].count(0) == 4
    assert small().state == chain.state
    other = LabChain.simulated(chain.params, 20, seed=4)
    assert other.state.chain != chain.state.chain
    assert set(other.committee) != set(chain.committee)


def test_rounds_follow_each_other():
    """Given twenty devices, when five rounds are closed by unanimous cards, then trainers are everybody without a seat, the best
    four get the next seats and nobody judges twice in a row, everybody who gained is paid, and no unit is lost.
    """
    chain = small(reward_share=PartsPerMillion(100_000), card_share=PartsPerMillion(0), election="score")
    heads = set()
    for round_ in range(5):
        assert chain.state.round == round_
        heads.add(chain._head_of(chain.state))
        offering, seated = list(chain.trainers), set(chain.committee)
        assert set(offering) == set(range(20)) - seated
        before = chain.state
        decision = chain.close(offering, [100] * len(offering), unanimous(chain, offering))
        assert decision.packed == tuple(offering)
        assert decision.weights == (100,) * len(offering)
        assert set(chain.committee) == set(offering[:4])
        assert not decision.outcome.degraded
        paid = chain.rewards(decision)
        assert sorted(paid, key=paid.get, reverse=True) == offering
        assert sum(paid.values()) == before.pool - chain.state.pool == before.pool // 10
    assert len(heads) == 5
    assert sum(account.balance for account in chain.state.accounts) + chain.state.pool == POOL


@pytest.mark.parametrize("election", ELECTIONS)
def test_links_that_are_not_given_are_the_simulated_ones(election):
    """A multi-factor election looks at the transfer rate: it must be the device's own, the same in every round."""
    chain = small(election=election)
    offering = list(chain.trainers)
    before = chain.state
    decision = chain.close(offering, [100] * len(offering), unanimous(chain, offering))
    links = generator(3, Draw.LINKS).lognormal(np.log(1024), 1.0, 20).astype(np.int64)
    rates = {item.judgement.uploader: item.judgement.rate for item in decision.outcome.packed}
    assert rates == {chain.nodes[device]: links[device] for device in offering}
    merits = {item.judgement.uploader: Merit(item.judgement.score, item.judgement.rate) for item in decision.outcome.packed}
    drawn = seed_of(decision.outcome.state)
    elected = elect(chain.params, before, merits, frozenset(chain.nodes), drawn).committee
    assert set(decision.outcome.committee) == set(elected)


def test_a_committee_of_more_than_64_seats():
    chain = LabChain.simulated(Params(committee_size=160, places=400, active_fraction=PartsPerMillion(500_000)), 400, seed=1)
    assert (len(chain.committee), chain.quorum) == (160, 107)
    for _ in range(2):
        offering = list(chain.trainers)
        assert 60 < len(offering) < 180
        decision = chain.close(offering, [50] * len(offering), unanimous(chain, offering))
        assert decision.packed == tuple(offering)
        assert len(decision.outcome.committee) == 160
        assert decision.outcome.degraded is (len(offering) < 160)


def test_a_round_without_offers_packs_nothing_and_keeps_the_committee():
    chain = small()
    before = chain.committee
    decision = chain.close([], [], unanimous(chain, []))
    assert (decision.packed, decision.weights, chain.rewards(decision)) == ((), (), {})
    assert decision.outcome.degraded
    assert set(chain.committee) == set(before), "nobody was ever packed"


def test_a_claim_of_nothing_counts_as_one_sample():
    chain = small()
    offering = list(chain.trainers)
    decision = chain.close(offering, [0] * len(offering), unanimous(chain, offering))
    assert decision.weights == (1,) * len(offering)


@pytest.mark.parametrize(
    ("harm", "rejection"),
    [
        (lambda chain, offering, cards: (offering, cards[:-1]), Rejection.BAD_SEGMENT),
        (lambda chain, offering, cards: (offering, [cards[0], *cards[:-1]]), Rejection.BAD_SEGMENT),
        (lambda chain, offering, cards: (offering, [(offering[0], cards[0][1]), *cards[1:]]), Rejection.NOT_COMMITTEE),
        (lambda chain, offering, cards: ([chain.committee[0], *offering[1:]], cards), Rejection.BAD_CARD),
        (lambda chain, offering, cards: (offering, [(m, replace(c, present=(m,))) for m, c in cards]), Rejection.BAD_CARD),
    ],
    ids=["too few", "one twice", "by a trainer", "an offer from the committee", "uploaders not seen"],
)
def test_what_no_daemon_would_take_is_refused(harm, rejection):
    chain = small()
    before = chain.state
    offering, cards = harm(chain, list(chain.trainers), unanimous(chain, chain.trainers))
    with pytest.raises(PeerError) as caught:
        chain.close(offering, [1] * len(offering), cards)
    assert caught.value.rejection is rejection
    assert chain.state is before


# -- the leader's choice ------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), lying=st.sets(st.integers(0, 6)), round_=st.integers(0, 20), leads=st.booleans())
def test_a_leader_packs_q_cards_and_an_adversary_leaves_out_honest_ones_first(seed, lying, round_, leads):
    chain = LabChain.simulated(Params(committee_size=7, places=20), 20, seed)
    chain.state = replace(chain.state, round=round_)
    members = chain.committee
    leader = members[0]
    adversaries = {members[position] for position in lying}
    adversaries = frozenset(adversaries | {leader} if leads else adversaries - {leader})
    chosen = chain.chosen_cards(adversaries)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == chain.quorum == quorum(7) == 7 - faults(7)
    assert set(chosen) <= set(range(7))
    if leads:
        left_out = [members[position] for position in range(7) if position not in chosen]
        honest = 7 - len(adversaries)
        assert sum(member not in adversaries for member in left_out) == min(honest, faults(7))
    assert chain.chosen_cards(adversaries) == chosen


def test_an_honest_leader_leaves_out_anybody():
    """Over many rounds every seat's card is left out about as often: f of M."""
    chain = LabChain.simulated(Params(committee_size=7, places=20), 20, 1)
    counts = np.zeros(7)
    for round_ in range(700):
        chain.state = replace(chain.state, round=round_)
        left = set(range(7)) - set(chain.chosen_cards(frozenset()))
        counts[list(left)] += 1
    assert counts.sum() == 700 * faults(7)
    assert counts.min() > 150
    assert counts.max() < 250
