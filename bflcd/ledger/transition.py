"""From one model block to the next: the decision of a round, its segment, and the check of somebody else's (design 4 and 5).

A round's outcome is a function of the parent state, q cards, a leader's draw and a time. `decide` computes it, `build_segment`
writes it down as blocks. `apply` takes a segment apart into what it was made of, makes it again and compares: whatever is not
what the function gives is refused, field by field, so no check can be forgotten. Two things it leaves to others: that the model
blob is the aggregate (recomputed in `bflcd.learn.aggregate`), or that of the round to which managers go back (compared with the
headers in `bflcd.core.round.old_models`), and the certificate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.ledger.accounts import Findings, accounts_after, expected_in, failed_before, offered_in
from bflcd.ledger.alliance.keys import holder_of
from bflcd.ledger.alliance.parameters import in_force
from bflcd.ledger.cards import CardRules, check_offer
from bflcd.ledger.difference import compare_segments
from bflcd.ledger.election import Merit, elect, lead_order
from bflcd.ledger.influence.rounds import step_limit_of, usual_after
from bflcd.ledger.influence.weights import weigh
from bflcd.ledger.judgement import Judgement, OfferJudgement, judge
from bflcd.ledger.lot import Draw, checked_draw
from bflcd.ledger.medians import lower_median
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.rollback import rolled_back_in
from bflcd.ledger.pace import Pace, pace_after
from bflcd.ledger.quorum import leader, quorum
from bflcd.ledger.rewards import card_pay, rewards, together
from bflcd.ledger.roles import seed
from bflcd.ledger.state import State, account_of, state_hash
from bflcd.ledger.trust.canaries import forgotten, words_after
from bflcd.ledger.trust.doubts import Bearing, bearings, doubts_count, earns
from bflcd.ledger.trust.margin import known_after
from bflcd.params import BlobRef, Params
from bflcd.types import Amount, Digest, Height, MicroNats, Millis, NodeId, Proof, Round, View, short
from bflcd.wire.blocks import (
    KIND_MODEL,
    KIND_UPDATE,
    Header,
    ModelBody,
    ModelFields,
    Segment,
    UpdateBody,
    body_hash,
    header_hash,
    model_height,
)
from bflcd.wire.envelope import Signed, Verify, open_envelope
from bflcd.wire.messages import Offer, ScoreCard
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import RULE

MAX_CLOCK_LEAD: Final = Millis(10_000)
"""How far a block's time may be ahead of a member's own clock (design 4)."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One packed update: what the cards say of it, its signed offer, its weight in the aggregate."""

    judgement: OfferJudgement
    offer: Signed[Offer]
    weight: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What a round learns from, whoever leads it.

    `cards`: the q that decided, sorted by author; `packed` in block order; `step_limit`: what holds the aggregate's
    step (`influence.rounds`).
    """

    cards: tuple[Signed[ScoreCard], ...]
    judgement: Judgement
    packed: tuple[Packed, ...]
    step_limit: int | None


@dataclass(frozen=True, slots=True)
class Outcome(Selection):
    """All that a round decides but the aggregate.

    `draw`: what its first proposer added to the lot; `rewards` sorted by node, positive amounts only; `committee`: the next one,
    in the order in which it leads; `state`: the ledger after the round; `operations` in the order in which they were applied;
    `rollback`: the model that managers put in the aggregate's place, None where they don't.
    """

    draw: Draw
    rewards: tuple[tuple[NodeId, Amount], ...]
    committee: tuple[NodeId, ...]
    degraded: bool
    state: State
    operations: tuple[Operation, ...] = ()
    rollback: BlobRef | None = None


def proposal_time(now: Millis, parent_time: Millis) -> Millis:
    """The time that a leader gives a segment (design 4)."""
    return Millis(max(now, parent_time + 1))


def check_time(header_time: Millis, now: Millis, parent_time: Millis) -> None:
    """Raise PeerError(BAD_TIME) if a proposed time is too far ahead of `now`; justified re-proposals are exempt (design 4)."""
    limit = max(now + MAX_CLOCK_LEAD, parent_time + 1)
    if header_time > limit:
        raise PeerError(
            Rejection.BAD_TIME, f"the segment's time {header_time} is {header_time - limit} ms above what our clock allows"
        )


def draw_of(state: State, view: View, proof: Proof) -> Draw:
    """The draw of whoever leads `view` of the round that `state` opens. Raises PeerError(BAD_DRAW) if the proof is not its."""
    return checked_draw(state.chain, state.round, state.lot, proposer=leader(state.committee, view), view=view, proof=proof)


def select(
    params: Params,
    state: State,
    head: Digest,
    cards: tuple[Signed[ScoreCard], ...],
    offers: Mapping[Digest, Signed[Offer]],
) -> Selection:
    """What round `state.round` learns from by q cards sorted by author; `head` is the hash of its model header.

    `offers`, by their digests, must hold the packed ones; others don't matter. The caller has verified all signatures. Raises
    PeerError: BAD_SEGMENT (not q cards of distinct members in order, an offer that isn't what the cards say), UNAVAILABLE (a
    packed offer is missing; `judge` tells which ones), and whatever `CardRules.check` and `check_offer` refuse.
    """
    params = in_force(params, state)
    _check_cards(params, state, head, cards)
    judgement = judge(params, state, cards)
    packed = _find_offers(params, state, head, judgement, offers)
    return Selection(cards, judgement, packed, step_limit_of(params, state, judgement))


def decide(
    params: Params,
    state: State,
    head: Digest,
    cards: tuple[Signed[ScoreCard], ...],
    offers: Mapping[Digest, Signed[Offer]],
    *,
    draw: Draw,
    time: Millis,
    operations: tuple[Operation, ...] = (),
) -> Outcome:
    """The outcome of round `state.round` by q cards sorted by author; `head` is the hash of its model header.

    Learning comes first, operations change what it leaves, and who is elected is seen from what they leave, by the lot after
    `draw` (`draw_of`). `offers` as in `select`; the caller has verified all signatures, those of the operations too. Raises
    PeerError: BAD_TIME, BAD_OPERATION, and whatever `select` does. What managers have set in `state` goes before `params`.
    """
    if time <= state.time:
        raise PeerError(Rejection.BAD_TIME, f"the segment's time {time} is not above its parent's, {state.time}")
    params = in_force(params, state)
    selection = select(params, state, head, cards, offers)
    judgement, packed = selection.judgement, selection.packed
    credited = () if judgement.proves_nothing else packed
    gains = {p.judgement.uploader: p.judgement.gain or 0 for p in credited}
    trained = dict(rewards(state.pool, params.reward_share, gains, cards=params.card_share))
    stood = bearings(judgement, cards)
    paid = together(trained.items(), _cards_paid(params, state, judgement, stood))
    merits = {p.judgement.uploader: Merit(_score(p.judgement), p.judgement.rate or 0) for p in credited}
    found = Findings(merits, dict(paid), failed_before(state.committee, draw.view), stood)
    learned = replace(
        state,
        accounts=accounts_after(params, state, judgement, found),
        pool=Amount(state.pool - sum(amount for _, amount in paid)),
        usual_norm=usual_after(state, judgement),
        known=known_after(state.known, judgement.base_accuracy),
        pace=_pace_after(params, state, cards, judgement),
        words=words_after(params, state, judgement, cards, [trained.get(p.judgement.uploader, Amount(0)) for p in packed]),
    )
    operated = forgotten(apply_operations(learned, operations))
    next_seed = seed(state.chain, Round(state.round + 1), draw.lot)
    merits, present = _under_new_keys(operated, merits, frozenset(judgement.present))
    election = elect(params, operated, merits, present, next_seed)
    if not election.committee:
        raise PeerError(Rejection.BAD_OPERATION, "the operations would leave nobody to hold a seat")
    committee = lead_order(operated, election.committee, next_seed)
    after = replace(_seated(operated, committee), round=Round(state.round + 1), time=time, lot=draw.lot)
    check_conservation(after)
    limit, degraded = selection.step_limit, election.degraded
    return Outcome(cards, judgement, packed, limit, draw, paid, committee, degraded, after, operations, rolled_back_in(operated))


def build_segment(params: Params, state: State, head_header: Header, outcome: Outcome, model: BlobRef) -> Segment:
    """The k update blocks and the model block of an outcome; `model` is the aggregate's blob, or what stands in its place.

    Raises PeerError(BAD_SEGMENT) if managers went back and `model` is not what they went back to, or nothing is packed and it is
    not the head's own blob (design 4).
    """
    if outcome.rollback is not None and model != outcome.rollback:
        text = f"round {state.round} goes back to model {short(outcome.rollback.root)}, and its model is {short(model.root)}"
        raise PeerError(Rejection.BAD_SEGMENT, text)
    if outcome.rollback is None and not outcome.packed and model != head_header.blob:
        raise PeerError(Rejection.BAD_SEGMENT, f"round {state.round} packs nothing, so its model must be the parent's own blob")
    updates = tuple(_update_body(packed) for packed in outcome.packed)
    updates += (UpdateBody(None, None, None, None),) * (params.places - len(updates))
    body = ModelBody(
        cards=tuple(card.envelope for card in outcome.cards),
        rule=params.aggregation if outcome.rollback is None else RULE,
        weights=tuple(packed.weight for packed in outcome.packed),
        rewards=outcome.rewards,
        operations=outcome.operations,
        step_limit=outcome.step_limit,
    )
    headers = _update_headers(params, head_header, outcome, updates)
    headers.append(
        Header(
            chain=state.chain,
            height=model_height(outcome.state.round, params.places),
            round=outcome.state.round,
            kind=KIND_MODEL,
            parent=header_hash(headers[-1]),
            body=body_hash(body),
            blob=model,
            time=outcome.state.time,
            model=ModelFields(
                epoch=state.epoch,
                view=outcome.draw.view,
                proof=outcome.draw.proof,
                lot=outcome.draw.lot,
                state=state_hash(outcome.state),
                committee=outcome.committee,
                degraded=outcome.degraded,
            ),
        )
    )
    return Segment(tuple(headers), updates, body)


def apply(params: Params, state: State, head_header: Header, segment: Segment, verify: Verify) -> State:
    """The ledger after `segment`, as `validate_segment` finds it."""
    return validate_segment(params, state, head_header, segment, verify).state


def validate_segment(params: Params, state: State, head_header: Header, segment: Segment, verify: Verify) -> Outcome:
    """What `segment` decided, all of it checked but the aggregate's value and the certificate; signatures come last.

    `verify` says whether an envelope's signature is its author's. Raises PeerError whose text names the block and the field.
    """
    _check_shape(params, state, segment)
    header = segment.model_header
    if header.blob is None or header.model is None or header.model.proof is None:
        raise PeerError(
            Rejection.BAD_SEGMENT, f"block #{header.height} closes a segment and has no model blob, no model fields or no proof"
        )
    draw = draw_of(state, header.model.view, header.model.proof)
    cards = tuple(open_envelope(envelope, (ScoreCard,)) for envelope in segment.model.cards)
    signed = [open_envelope(update.offer, (Offer,)) for update in segment.updates if update.offer is not None]
    offers = {offer.digest: offer for offer in signed}
    try:
        outcome = decide(
            params,
            state,
            header_hash(head_header),
            cards,
            offers,
            draw=draw,
            time=header.time,
            operations=segment.model.operations,
        )
    except PeerError as error:
        if error.rejection is not Rejection.UNAVAILABLE:
            raise
        raise PeerError(Rejection.BAD_SEGMENT, f"the segment of round {state.round} lacks a block: {error}") from error
    compare_segments(build_segment(params, state, head_header, outcome, header.blob), segment)
    operated = (envelope for operation in segment.model.operations for envelope in operation.signed)
    for envelope in (*segment.model.cards, *(offer.envelope for offer in signed), *operated):
        if not verify(envelope):
            raise PeerError(
                Rejection.BAD_SIGNATURE,
                f"the segment of round {state.round} carries a message that {short(envelope.author)} did not sign",
            )
    return outcome


def _check_shape(params: Params, state: State, segment: Segment) -> None:
    if len(segment.headers) != params.places + 1 or len(segment.updates) != params.places:
        raise PeerError(
            Rejection.BAD_SEGMENT,
            f"the segment of round {state.round} has {len(segment.headers)} headers and {len(segment.updates)} updates, "
            f"not {params.places + 1} and {params.places}",
        )


def _check_cards(params: Params, state: State, head: Digest, cards: Sequence[Signed[ScoreCard]]) -> None:
    """Exactly q valid cards of distinct members, sorted by author (design 5.4)."""
    q = quorum(len(state.committee))
    if len(cards) != q:
        raise PeerError(Rejection.BAD_SEGMENT, f"round {state.round} is decided by {q} cards, not by {len(cards)}")
    if any(low.author >= high.author for low, high in pairwise(cards)):
        raise PeerError(Rejection.BAD_SEGMENT, f"the cards of round {state.round} are not sorted by author, or repeat one")
    rules = CardRules(params, state, head)
    for card in cards:
        rules.check(card)


def _find_offers(
    params: Params, state: State, head: Digest, judgement: Judgement, offers: Mapping[Digest, Signed[Offer]]
) -> tuple[Packed, ...]:
    """Each packed judgement with its signed offer, held against it, and its weight."""
    found = []
    for packed in judgement.packed:
        offer = offers.get(packed.offer)
        name = f"offer {short(packed.offer)} of {short(packed.uploader)}"
        if offer is None:
            raise PeerError(Rejection.UNAVAILABLE, f"{name} is packed and not at hand")
        if (offer.author, offer.digest, offer.body.blob.root) != (packed.uploader, packed.offer, packed.root):
            raise PeerError(Rejection.BAD_SEGMENT, f"{name} is not by the uploader, or not of the blob, that the cards name")
        check_offer(params, state, head, offer)
        found.append(offer)
    shares = weigh(params, state, judgement.packed, [offer.body.samples for offer in found])
    return tuple(Packed(*parts) for parts in zip(judgement.packed, found, shares, strict=True))


def _pace_after(params: Params, state: State, cards: Sequence[Signed[ScoreCard]], judgement: Judgement) -> Pace:
    """How long the community waits after the round."""
    expected = expected_in(params, state, judgement)
    offered = bool(offered_in(state, judgement) & expected) if expected else None
    return pace_after(state.pace, lower_median([card.body.decided for card in cards]), offered=offered)


def _cards_paid(
    params: Params, state: State, judgement: Judgement, stood: Mapping[NodeId, Bearing]
) -> Iterator[tuple[NodeId, Amount]]:
    """What the authors of the q cards are paid that measured; `stood`: how each card stands to the others."""
    each = card_pay(state.pool, params.reward_share, params.card_share, len(stood))
    counted = sum(offer.gain is not None for offer in judgement.offers)
    for author, bearing in stood.items():
        account = account_of(state, author)
        if account is not None and earns(account, bearing, counted, doubts=doubts_count(params)):
            yield author, each


def _score(packed: OfferJudgement) -> MicroNats:
    if packed.score is None:
        raise InvariantError(f"offer {short(packed.offer)} is packed without a score")
    return packed.score


def _under_new_keys(
    state: State, merits: Mapping[NodeId, Merit], present: frozenset[NodeId]
) -> tuple[dict[NodeId, Merit], frozenset[NodeId]]:
    """What a round found of keys that its operations have rotated, of those that follow them."""
    by_holder = {holder_of(state, node): merit for node, merit in merits.items()}
    return by_holder, frozenset(holder_of(state, node) for node in present)


def _seated(state: State, committee: tuple[NodeId, ...]) -> State:
    """The ledger with the elected on the seats of the next round."""
    seated = frozenset(committee)
    accounts = (replace(account, seat_round=state.round + 1) if account.node in seated else account for account in state.accounts)
    return replace(state, committee=committee, accounts=tuple(accounts))


def check_conservation(state: State) -> None:
    """Raise InvariantError unless balances, deposits, pool and burnt are not negative and sum to the supply (design 7)."""
    total = sum(account.balance + account.deposit for account in state.accounts) + state.pool + state.burnt
    lowest = min(state.pool, state.burnt, *(min(account.balance, account.deposit) for account in state.accounts))
    if total != state.supply or lowest < 0:
        raise InvariantError(f"the ledger of round {state.round} holds {total} of {state.supply} units, its lowest is {lowest}")


def _update_body(packed: Packed) -> UpdateBody:
    judged = packed.judgement
    return UpdateBody(packed.offer.envelope, judged.score, judged.gain, judged.accuracy)


def _update_headers(params: Params, head_header: Header, outcome: Outcome, updates: Sequence[UpdateBody]) -> list[Header]:
    """Headers #t(k+1)+1 to #t(k+1)+k, each linked to the one before; without a blob where the block is vacant."""
    headers: list[Header] = []
    parent, round_ = header_hash(head_header), Round(outcome.state.round - 1)
    first = model_height(round_, params.places) + 1
    for index, body in enumerate(updates):
        header = Header(
            chain=outcome.state.chain,
            height=Height(first + index),
            round=round_,
            kind=KIND_UPDATE,
            parent=parent,
            body=body_hash(body),
            blob=outcome.packed[index].offer.body.blob if index < len(outcome.packed) else None,
            time=outcome.state.time,
            model=None,
        )
        headers.append(header)
        parent = header_hash(header)
    return headers
