"""The lot: what a leader adds to it, what it can't move, and who pays for a view that failed (design 5, Lot)."""

from dataclasses import replace
from itertools import combinations

import pytest

from bflcd.crypto import vrf
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.accounts import failed_before
from bflcd.ledger.election import FAILED_ROUNDS, lead_order
from bflcd.ledger.lot import Draw, checked_draw, first_lot, lot_after, lot_input
from bflcd.ledger.roles import lead_lot, seed, seed_of
from bflcd.ledger.state import NEVER, State, account_of
from bflcd.ledger.transition import apply, build_segment, decide, draw_of
from bflcd.types import Digest, Epoch, Millis, NodeId, Proof, Round, View
from bflcd.wire.envelope import verify_envelope
from tests.helpers.ledger import (
    NEXT_MODEL,
    Community,
    by_digest,
    make_card,
    make_community,
    make_draw,
    make_entry,
    make_offer,
    play_gains,
    prove_lot,
)

START = make_community(12, 4, 8, election="random")


def test_the_lot_is_a_hash_of_the_last_one_and_of_what_its_leader_says() -> None:
    chain, lot = Digest(b"c" * 32), Digest(b"l" * 32)
    assert first_lot(chain) == digest(Domain.LOT, chain)
    assert lot_after(lot, b"said") == digest(Domain.LOT, lot, b"said")
    assert lot_input(chain, Round(3), lot) == digest(Domain.DRAW, chain, integer(3), lot)
    state = START.state
    leader, proof = state.committee[2], prove_lot(START, 2)
    said = vrf.verify_proof(leader, lot_input(state.chain, state.round, state.lot), proof)
    assert said is not None
    assert draw_of(state, View(2), proof) == Draw(View(2), proof, lot_after(state.lot, said))
    assert draw_of(state, View(6), proof).lot == draw_of(state, View(2), proof).lot, "it leads both, and has one thing to say"


def test_nothing_that_a_leader_or_manager_can_choose_is_in_what_it_must_speak_of() -> None:
    """Given two epochs, committees, views or times of one round, then a key says the same in all of them."""
    state = START.state
    other = replace(state, epoch=Epoch(7), committee=state.committee[::-1], time=Millis(state.time + 9))
    proof = prove_lot(START, 1)
    assert draw_of(state, View(1), proof).lot == draw_of(other, View(2), proof).lot


@pytest.mark.parametrize("case", ["another's", "of another view", "of another round", "of another lot", "nonsense"])
def test_a_draw_that_is_not_the_leaders_is_refused_by_name(case: str) -> None:
    """Given a segment that is right but for its proof, then no member takes it, and the refusal says who should have drawn."""
    state = START.state
    key = START.keys[state.committee[0]]
    proofs = {
        "another's": prove_lot(START, 0, START.keys[START.outsiders[0]]),
        "of another view": prove_lot(START, 1),
        "of another round": key.prove(lot_input(state.chain, Round(1), state.lot)),
        "of another lot": key.prove(lot_input(state.chain, state.round, state.chain)),
        "nonsense": Proof(bytes(80)),
    }
    with pytest.raises(PeerError, match="leader of view 0, says of that round's lot") as caught:
        draw_of(state, View(0), proofs[case])
    assert caught.value.rejection is Rejection.BAD_DRAW


def other_proof(community: Community) -> Proof:
    """Another valid proof of what the leader says: the nonce is its own to choose, and with it all but the first 32 bytes."""
    state = community.state
    key = community.keys[state.committee[0]]
    alpha = lot_input(state.chain, state.round, state.lot)
    secret = vrf._clamped(vrf.sha512(key.seed).digest()[:32])
    point = vrf._hash_to_curve(key.node_id, alpha)
    gamma, nonce = vrf.crypto_scalarmult_ed25519_noclamp(secret, point), (5).to_bytes(32, "little")
    commitments = (vrf.crypto_scalarmult_ed25519_base_noclamp(nonce), vrf.crypto_scalarmult_ed25519_noclamp(nonce, point))
    challenge = vrf._challenge(key.node_id, point, gamma, *commitments)
    scaled = vrf.crypto_core_ed25519_scalar_mul(vrf._scalar(challenge), secret)
    return Proof(gamma + challenge + vrf.crypto_core_ed25519_scalar_add(nonce, scaled))


def test_a_second_proof_of_the_same_word_draws_the_same() -> None:
    """A proof's bytes can be ground; nothing follows from them but the block's hash, and nothing is drawn from that."""
    first, second = prove_lot(START), other_proof(START)
    assert first != second
    assert draw_of(START.state, View(0), first).lot == draw_of(START.state, View(0), second).lot


def test_whatever_else_a_leader_chooses_the_next_draws_are_the_same() -> None:
    """Given all choices of q cards, two times, and two proofs, when the round is decided, then the blocks differ, and lot,
    committee, its order and the next seed do not."""
    state, head = START.state, START.head
    offers = [make_offer(START, node) for node in START.outsiders]
    entries = [make_entry(offer, 10) for offer in offers]
    cards = [make_card(START, seat, entries) for seat in sorted(state.committee)]
    blocks, draws = set(), set()
    for chosen in combinations(cards, 3):
        for later in (1, 5_000):
            for proof in (prove_lot(START), other_proof(START)):
                outcome = decide(
                    START.params,
                    state,
                    head,
                    chosen,
                    by_digest(offers),
                    draw=draw_of(state, View(0), proof),
                    time=Millis(state.time + later),
                )
                blocks.add(build_segment(START.params, state, START.header, outcome, NEXT_MODEL))
                draws.add((outcome.state.lot, outcome.committee, seed_of(outcome.state)))
    assert len(blocks) == 16
    assert len(draws) == 1


def test_the_next_committee_is_drawn_by_the_seed_of_its_own_round() -> None:
    for view in range(4):
        played = decided_in(START, view)
        assert played.lot == make_draw(START, view).lot
        assert seed_of(played) == seed(played.chain, Round(1), played.lot)
    assert len({decided_in(START, view).lot for view in range(4)}) == 4, "each leader adds its own"


def decided_in(community: Community, view: int) -> State:
    """The ledger after a round that all trainers were packed in, first proposed in this view."""
    state = community.state
    offers = [make_offer(community, node) for node in community.outsiders]
    entries = [make_entry(offer, 10) for offer in offers]
    cards = tuple(make_card(community, seat, entries) for seat in sorted(state.committee)[: community.q])
    draw = make_draw(community, view)
    outcome = decide(community.params, state, community.head, cards, by_digest(offers), draw=draw, time=Millis(state.time + 1))
    segment = build_segment(community.params, state, community.header, outcome, NEXT_MODEL)
    assert apply(community.params, state, community.header, segment, verify_envelope) == outcome.state
    return outcome.state


@pytest.mark.parametrize(
    ("view", "failed"), [(0, ()), (1, (0,)), (3, (0, 1, 2)), (4, (1, 2, 3)), (5, (0, 2, 3)), (99, (0, 1, 2))]
)
def test_who_led_a_view_before_the_first_proposal_has_failed_and_its_proposer_never(view: int, failed: tuple[int, ...]) -> None:
    seats = START.state.committee
    expected = frozenset(seats[seat] for seat in failed)
    assert failed_before(seats, View(view)) == expected
    after = decided_in(START, view)
    assert {account.node for account in after.accounts if account.failed_round != NEVER} == expected
    assert all(account.failed_round in (NEVER, 0) for account in after.accounts)


def test_who_failed_leads_last_for_some_rounds_and_keeps_its_right_to_a_seat() -> None:
    state = replace(START.state, round=Round(20))
    drawn = Digest(b"d" * 32)
    seats = sorted(START.members[:6], key=lambda node: lead_lot(drawn, node))
    assert lead_order(state, START.members[:6], drawn) == tuple(seats)
    for ago, last in ((0, True), (FAILED_ROUNDS - 1, True), (FAILED_ROUNDS, False)):
        marked = with_failed(state, seats[0], 20 - ago)
        expected = (*seats[1:], seats[0]) if last else tuple(seats)
        assert lead_order(marked, START.members[:6], drawn) == expected, ago
    all_failed = with_failed(with_failed(state, seats[0], 20), seats[3], 19)
    assert lead_order(all_failed, START.members[:6], drawn) == (seats[1], seats[2], seats[4], seats[5], seats[0], seats[3])


def test_a_failure_in_round_0_counts() -> None:
    """Only NEVER is none."""
    drawn = Digest(b"d" * 32)
    first = min(START.members, key=lambda node: lead_lot(drawn, node))
    assert lead_order(with_failed(START.state, first, 0), START.members, drawn)[-1] == first


def with_failed(state: State, node: NodeId, round_: int) -> State:
    accounts = tuple(replace(a, failed_round=round_) if a.node == node else a for a in state.accounts)
    return replace(state, accounts=accounts)


def test_no_card_moves_the_order_of_leaders() -> None:
    """Given the same committee elected by cards that call a member of it absent, then it leads in the same order."""
    community = make_community(6, 4, 4)
    everybody, without = (
        play_gains(community, dict.fromkeys(community.outsiders, 5), present=present).outcome
        for present in (None, [*community.outsiders, *community.state.committee[:3]])
    )
    common = set(everybody.committee) & set(without.committee)
    assert [node for node in everybody.committee if node in common] == [node for node in without.committee if node in common]


def test_the_proposer_is_of_the_committee_of_the_proposals_own_epoch() -> None:
    """Given a round that managers gave another committee, then its leaders draw, from the same lot."""
    state = replace(START.state, epoch=Epoch(1), committee=START.outsiders[:4])
    proof = prove_lot(START, by=START.keys[START.outsiders[0]])
    assert draw_of(state, View(0), proof).lot != make_draw(START).lot
    with pytest.raises(PeerError):
        draw_of(START.state, View(0), proof)
    account = account_of(state, START.outsiders[0])
    assert account is not None
    assert checked_draw(state.chain, state.round, state.lot, proposer=account.node, view=View(0), proof=proof).view == 0
