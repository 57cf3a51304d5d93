"""Canary: who was drawn shows it in the two blocks after its round; its judges are doubted or borne out, and it loses nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.keys import rotated
from bflcd.ledger.operations.application import apply_operations, check_operation, expires, is_pending, is_settled
from bflcd.ledger.operations.canary import CANARY
from bflcd.ledger.standing import PATIENCE, standing_after, standing_without
from bflcd.ledger.state import NEVER, Account, State, account_of, with_accounts
from bflcd.ledger.transition import check_conservation
from bflcd.ledger.trust.canaries import canary_input, own_proof
from bflcd.ledger.trust.doubts import WRONG
from bflcd.ledger.trust.words import MAX_OFFERS_KEPT, OfferWords
from bflcd.params import MILLION
from bflcd.types import NodeId, Proof, Round
from bflcd.wire.canary import Canary
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation
from tests.helpers.ledger import Community, by_digest, make_cards, make_community, make_identities, make_offer, play

HALF: Final = MILLION // 2
START = make_community(24, 7, 17, canary_share=HALF, reward_share=100_000)
JUDGES = sorted(START.state.committee[: START.q])
"""Five, of whom two may lie."""


def drawn(community: Community, node: NodeId) -> Proof | None:
    state, params = community.state, community.params
    return own_proof(params.canary_share, state.chain, state.round, state.lot, community.keys[node])


SINGS = next(node for node in START.outsiders if drawn(START, node) is not None)
SILENT = next(node for node in START.outsiders if drawn(START, node) is None)
HELPS = next(node for node in START.outsiders if node not in (SINGS, SILENT))


def after_round(community: Community, said: Sequence[int | None]) -> Community:
    """After a round in which the judges say `said` of SINGS' offer, and that all others help."""
    offers = by_digest(make_offer(community, node) for node in (SINGS, SILENT, HELPS))
    rows = {d: list(said) if offer.author == SINGS else [4_000] * community.q for d, offer in offers.items()}
    return play(community, make_cards(community, rows, offers), offers.values()).after


def canary(
    community: Community, node: NodeId, round_: int = 0, proof: Proof | None = None, by: Identity | None = None
) -> Operation:
    """`node` shows that it was drawn in `round_` of the community that stood before it."""
    state, key = community.state, by or community.keys[node]
    proof = proof or key.prove(canary_input(state.chain, Round(round_), state.lot))
    return Operation("canary", (seal(Canary(state.chain, Round(round_), proof), key).envelope,))


def held(state: State, node: NodeId) -> Account:
    account = account_of(state, node)
    assert account is not None
    return account


def doubts(state: State) -> list[int]:
    return [held(state, judge).doubt for judge in JUDGES]


REFUSED_BY_ALL = after_round(START, [-1] * 5)
STATE = REFUSED_BY_ALL.state
SHOWN = canary(START, SINGS)


def test_the_words_of_the_last_two_rounds_are_kept_by_judge_and_offer() -> None:
    (words,) = after_round(START, [-1, 0, None, 1_000, 256_000]).state.words
    assert (words.round, words.lot, words.share, words.seats, words.judges) == (0, START.state.lot, HALF, 7, tuple(JUDGES))
    assert words.of(SINGS) == OfferWords(SINGS, bytes((1, 2, 0, 3, 7)), packed=True)
    assert [offer.uploader for offer in words.offers] == sorted((SINGS, SILENT, HELPS))
    community, rounds = START, []
    for _ in range(4):
        community = idle(community) if rounds else after_round(community, [-1] * 5)
        rounds.append([one.round for one in community.state.words])
    assert rounds == [[0], [0, 1], [1, 2], [2, 3]]
    assert decode(encode(community.state), State) == community.state


def idle(community: Community) -> Community:
    return play(community, make_cards(community, {}, {})).after


def test_of_more_offers_than_are_kept_the_seed_draws() -> None:
    large = make_community(80, 7, 80, canary_share=HALF)
    offers = by_digest(make_offer(large, node) for node in large.outsiders)
    (words,) = play(large, make_cards(large, {d: [1_000] * large.q for d in offers}, offers), offers.values()).after.state.words
    kept = [offer.uploader for offer in words.offers]
    assert (len(kept), kept) == (MAX_OFFERS_KEPT, sorted(kept))
    assert kept != list(large.outsiders[:MAX_OFFERS_KEPT])


def test_without_canaries_nothing_is_kept() -> None:
    assert after_round(make_community(24, 7, 17), [-1] * 5).state.words == ()


@pytest.mark.parametrize(
    ("operation", "state", "why"),
    [
        (SHOWN, START.state, "nothing of round 0 can be shown in round 0"),
        (canary(START, SINGS, round_=1), STATE, "nothing of round 1 can be shown in round 1"),
        (canary(START, START.outsiders[-1]), STATE, "no words are kept of an offer"),
        (canary(START, SILENT), STATE, "does not show that .* was drawn in round 0"),
        (canary(START, SINGS, proof=START.keys[SINGS].prove(canary_input(START.state.chain, Round(0), STATE.lot))), STATE, "does not show that"),
        (canary(START, SILENT, proof=drawn(START, SINGS)), STATE, "does not show that"),
        (canary(START, SINGS, by=next(one for one in make_identities(25) if one.node_id not in START.keys)), STATE, "no words are kept"),
    ],
    ids=["its round runs", "one to come", "no offer", "not drawn", "of another lot", "another's proof", "a stranger"],
)  # fmt: skip
def test_what_shows_nothing_is_refused(operation: Operation, state: State, why: str) -> None:
    with pytest.raises(PeerError, match=f"canary: .*{why}") as caught:
        check_operation(state, operation)
    assert caught.value.rejection is Rejection.BAD_OPERATION
    assert not is_settled(state, operation)


def test_a_draw_can_be_made_for_no_other_purpose_and_by_no_other_key() -> None:
    """Given what a key says of the lot for a leader's draw, or for another domain, then it draws no canary."""
    state = START.state
    other = START.keys[SINGS].prove(digest(Domain.DRAW, state.chain, bytes(8), state.lot))
    assert not is_pending(STATE, canary(START, SINGS, proof=other))


def test_it_is_shown_once_and_runs_out_with_the_second_block_after_its_round() -> None:
    assert expires(SHOWN) == 2
    done = apply_operations(STATE, (SHOWN,))
    assert (is_settled(done, SHOWN), is_pending(done, SHOWN), is_pending(STATE, SHOWN)) == (True, False, True)
    later = idle(REFUSED_BY_ALL)
    assert is_pending(later.state, SHOWN)
    assert not is_pending(idle(later).state, SHOWN)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([-1] * 5, [0] * 5),
        ([-1, -1, -1, -1, 1_000], [500] * 4 + [500 + WRONG]),
        ([-1, -1, -1, -1, 0], [500] * 5),
        ([-1, -1, -1, -1, None], [500] * 5),
        ([-1, -1, -1, 0, 4_000], [500] * 5),
        ([-1, -1, 4_000, 4_000, 4_000], [500] * 5),
        ([4_000] * 5, [500] * 5),
    ],
    ids=["all refuse", "one says it helps", "one accepts it", "one has no word", "too few refuse", "liars refuse", "it helps"],
)
def test_judges_answer_for_a_canary_only_where_the_others_refuse_it_without_f_liars(
    said: list[int | None], expected: list[int]
) -> None:
    """Given seven seats and five cards: a judge is wrong, or right, where all four others refuse, so that two liars frame nobody."""
    state = after_round(START, said).state
    state = with_accounts(state, *(replace(held(state, judge), doubt=500) for judge in JUDGES))
    assert doubts(apply_operations(state, (SHOWN,))) == expected


def test_its_author_gets_its_refusal_back_and_what_the_middle_of_the_packed_was_paid() -> None:
    before = held(STATE, SINGS)
    pay = min(held(STATE, node).balance - held(START.state, node).balance for node in (SILENT, HELPS))
    assert (before.refusals, pay > 0) == (1, True)
    done = apply_operations(STATE, (SHOWN,))
    account = held(done, SINGS)
    assert (account.refusals, account.balance - before.balance, STATE.pool - done.pool) == (0, pay, pay)
    check_conservation(done)
    poor = replace(STATE, pool=type(STATE.pool)(3), supply=type(STATE.pool)(STATE.supply - STATE.pool + 3))
    done = apply_operations(poor, (SHOWN,))
    assert (done.pool, held(done, SINGS).balance - before.balance) == (0, 3)
    check_conservation(done)


def test_a_canary_that_was_packed_is_paid_as_any_other_and_no_more() -> None:
    state = after_round(START, [4_000] * 5).state
    done = apply_operations(state, (SHOWN,))
    assert (held(done, SINGS), done.pool, is_settled(done, SHOWN)) == (held(state, SINGS), state.pool, True)


def test_what_follows_goes_to_the_keys_that_have_taken_the_others_places() -> None:
    """Given a judge and an author that have rotated their keys since, then their accounts of now are doubted and paid."""
    state = after_round(START, [-1, -1, -1, -1, 1_000]).state
    one, other = (key.node_id for key in make_identities(26) if key.node_id not in START.keys)
    state = rotated(rotated(state, held(state, JUDGES[4]), one), held(state, SINGS), other)
    balance = held(state, other).balance
    done = apply_operations(state, (SHOWN,))
    assert (held(done, one).doubt, held(done, other).refusals) == (held(state, one).doubt + WRONG, 0)
    assert held(done, other).balance > balance


def test_a_rest_that_began_with_the_canary_ends_and_another_does_not() -> None:
    account = replace(held(STATE, SINGS), refusals=PATIENCE)
    rested = standing_after(account, Round(7), harmed=True, packed=False)
    assert rested.rest_round != NEVER
    assert standing_without(rested, Round(7)) == replace(account, rest_round=NEVER)
    older = replace(rested, rest_round=Round(rested.rest_round + 1))
    assert standing_without(older, Round(7)).rest_round == older.rest_round


def test_about_so_many_are_drawn_as_the_genesis_says_whoever_they_are() -> None:
    state = START.state
    for share in (0, MILLION // 16, HALF):
        found = [
            own_proof(share, state.chain, Round(round_), state.lot, key) is not None  # type: ignore[arg-type]
            for key in START.keys.values()
            for round_ in range(25)
        ]
        assert abs(sum(found) / len(found) - share / MILLION) < 0.05


def test_its_text_names_author_and_round() -> None:
    assert CANARY.describe(SHOWN).endswith("offered in round 0 was a canary")
