"""The function of the q cards: what each offer is worth, which are packed, who was present (design 5).

Every number is an integer that a member signed; nothing here is measured again. An order statistic takes the worse of two
middles, so that half of the committee can't lift a value: with at most f Byzantine members among q = M - f cards,
sorted[(q - 1) // 2] lies between two honest values. The paired gain decides who qualifies and who is paid, whatever the
ranking: a zero update keeps the base's accuracy, which is often better than an honest one's, and gains nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeVar

from bflcd.errors import InvariantError
from bflcd.ledger.cards import entry_key
from bflcd.ledger.disclosure import APART, HALF_RIGHT, REFUSED
from bflcd.ledger.influence.norms import MIN_RATED, middles
from bflcd.ledger.medians import lower_median
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import seed_of, tie_break
from bflcd.ledger.state import State, members_of
from bflcd.ledger.trust.alike import copies
from bflcd.ledger.trust.reputation import LEAST_GAIN, repute_among
from bflcd.params import MILLION, Params
from bflcd.registry import entry_of
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import CardEntry, ScoreCard

NORM_BAND_LOW: Final = 16
"""A norm under a 16th of the usual one is a free rider's."""

NORM_BAND_HIGH: Final = 16
"""A norm above 16 times the usual one is no training's, however many rows; what is below weighs less (`influence.weights`)."""

FEW_HARMFUL: Final = 2
"""Harmful offers of trainers who are drawn, from which nothing is told of their committee."""

ScoreRule = Callable[[MicroNats, PartsPerMillion], MicroNats]
"""What ranks an offer, of its median gain and its median accuracy."""

SCORES: Final[Mapping[str, ScoreRule]] = {
    "gain": lambda gain, _: gain,
    "accuracy": lambda _, accuracy: MicroNats(accuracy),
}
"""By the names of `bflcd.params.SCORE_RULES`."""

T = TypeVar("T", MicroNats, PartsPerMillion, int)


class Reason(Enum):
    """Why an offer is not packed; the value is what people read."""

    FEW_ENTRIES = "fewer than f+1 members scored it"
    TWO_OFFERS = "its uploader made two offers"
    UNSCORED = "most members did not score it"
    BELOW_MARGIN = "its gain is below the margin"
    ZERO_NORM = "its norm is zero"
    NORM_TOO_SMALL = "its norm is far below the usual"
    NORM_TOO_LARGE = "its norm is far above the usual"
    IN_DEBT = "its uploader has done harm and not made up for it yet"
    COPY = "it is a copy of an earlier one, or of the last step"
    NO_PLACE = "better offers took all places"


@dataclass(frozen=True, slots=True)
class OfferJudgement:
    """What q cards say of one offer.

    `entries`: how many list it; `gain`, `accuracy`, `rate` (KiB/s; a pull that wasn't measured counts 0): their medians over all
    q, None where the median falls on an absent entry or the offer doesn't count; `norm`: lower median of the entries; `score`:
    what ranks it by the community's rule; `reason`: None exactly if it is packed; `refusals`: cards that say that it harms;
    `helps`: cards that say that it gains at least `reputation.LEAST_GAIN`.
    """

    uploader: NodeId
    offer: Digest
    root: Digest
    entries: int
    gain: MicroNats | None
    accuracy: PartsPerMillion | None
    norm: int | None
    rate: int | None
    score: MicroNats | None
    reason: Reason | None
    refusals: int = 0
    helps: int = 0

    @property
    def clear_gain(self) -> int:
        """What it gains, as far as norms are rated by it: 0 of less than `APART`, which any long step gains by chance."""
        return self.gain if self.gain is not None and self.gain >= APART else 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What q cards say of a round.

    `offers`: every offer on any card, sorted by (uploader, offer, root); `packed`: the best, at most k, in block order;
    `present`: members on f + 1 cards, sorted; `base_loss`, `base_accuracy`: of the round's model, lower medians over the
    cards that have them, None if none has; `proves_nothing`: whether nobody is the worse or the better for it (`_most_harm`).
    """

    offers: tuple[OfferJudgement, ...]
    packed: tuple[OfferJudgement, ...]
    present: tuple[NodeId, ...]
    base_loss: MicroNats | None
    base_accuracy: PartsPerMillion | None
    proves_nothing: bool = False

    @property
    def gains(self) -> list[MicroNats]:
        """The medians of the offers that count."""
        return [offer.gain for offer in self.offers if offer.gain is not None]


def judge(params: Params, state: State, cards: Sequence[Signed[ScoreCard]]) -> Judgement:
    """Judge a round by exactly q checked cards of distinct members, in any order; n log n in the number of entries.

    1. The cards are q, of distinct members.
    2. What the base is worth is the lower median over the cards that measured it, its accuracy if they are more than f.
    3. An offer counts with f + 1 entries under one key, unless its uploader has two such offers.
    4. Each offer by itself: medians over all q cards, then norm and gain, which is `REFUSED` below the margin of most judges.
    5. All of them together: copies (`ledger.trust.alike`), the band of norms, who is in debt, then the k best have places.
    6. Present is who f + 1 cards list.

    Raises InvariantError at another number of cards, or a score rule that there is not.
    """
    m = len(state.committee)
    f, q = faults(m), quorum(m)
    # 1. q cards.
    if len(cards) != q or len({card.author for card in cards}) != q:
        raise InvariantError(f"a round of {m} seats is judged by {q} cards of distinct members, not by {len(cards)}")
    # 2. The base.
    bodies = [card.body for card in cards]
    losses = [body.base_loss for body in bodies if body.base_loss is not None]
    accuracies = [body.base_accuracy for body in bodies if body.base_accuracy is not None]
    base_accuracy = lower_median(accuracies) if len(accuracies) > f else None
    # 3. Entries by offer.
    entries = _entries_by_offer(cards)
    two = _uploaders_of_two(entries, f)
    score_of = entry_of(SCORES, params.score_rule, "score rule")
    # 4. Each by itself.
    offers = [_rate(score_of, key, found, m, two=key[0] in two) for key, found in entries.items()]
    # 5. All together.
    if params.copy_likeness:
        fine = frozenset(offer.offer for offer in _held(params, state, offers) if offer.reason is None)
        offers = _without(copies(bodies, f, seed_of(state), fine), offers)
    offers = _rank(params, state, _held(params, state, offers))
    offers.sort(key=lambda offer: (offer.uploader, offer.offer, offer.root))
    return Judgement(
        offers=tuple(offers),
        packed=tuple(_in_order(state, [offer for offer in offers if offer.reason is None])),
        present=_present(bodies, f),  # 6.
        base_loss=lower_median(losses) if losses else None,
        base_accuracy=base_accuracy,
        proves_nothing=_most_harm(params, state, offers),
    )


def _most_harm(params: Params, state: State, offers: Sequence[OfferJudgement]) -> bool:
    """Whether more than half of the offers that were measured harm, and more than can all be a third of the members'.

    Those who trained are honest more often than one committee is; if they are not harmful, it is, or its model knows nothing yet.
    Where members are drawn to train, a third of all may be more than train at all: there more than two have to harm.
    """
    measured = [offer.gain for offer in offers if offer.gain is not None]
    harmful = measured.count(REFUSED)
    least = faults(sum(1 for _ in members_of(state))) if params.active_fraction == MILLION else FEW_HARMFUL
    return 2 * harmful > len(measured) and harmful > least


Key = tuple[NodeId, Digest, Digest]


def _entries_by_offer(cards: Sequence[Signed[ScoreCard]]) -> dict[Key, list[CardEntry]]:
    entries: dict[Key, list[CardEntry]] = {}
    for card in cards:
        for entry in card.body.entries:
            entries.setdefault(entry_key(entry), []).append(entry)
    return entries


def _uploaders_of_two(entries: dict[Key, list[CardEntry]], f: int) -> frozenset[NodeId]:
    """Uploaders with two offers on f + 1 cards each: an honest member holds both, so the uploader did sign both."""
    counts = Counter(key[0] for key, found in entries.items() if len(found) > f)
    return frozenset(uploader for uploader, count in counts.items() if count > 1)


def _rate(score_of: ScoreRule, key: Key, found: list[CardEntry], m: int, *, two: bool) -> OfferJudgement:
    """Judge one offer by itself in a committee of m: everything but the norm band and the places."""
    uploader, offer, root = key
    f, q = faults(m), quorum(m)
    if len(found) <= f:
        return OfferJudgement(uploader, offer, root, len(found), None, None, None, None, None, Reason.FEW_ENTRIES)
    if two:
        return OfferJudgement(uploader, offer, root, len(found), None, None, None, None, None, Reason.TWO_OFFERS)
    gain = _worst_filled_median([entry.gain for entry in found], q)
    accuracy = _worst_filled_median([entry.accuracy for entry in found], q)
    rate = _worst_filled_median([entry.rate for entry in found], q)
    norm = lower_median([entry.norm for entry in found])
    reason = None
    if gain is None:
        reason = Reason.UNSCORED
    elif norm == 0:
        reason = Reason.ZERO_NORM
    elif gain < 0:
        reason = Reason.BELOW_MARGIN
    score = None if gain is None or accuracy is None else score_of(gain, accuracy)
    refusals = sum(entry.gain == REFUSED for entry in found)
    helps = sum(entry.gain >= LEAST_GAIN for entry in found)
    return OfferJudgement(uploader, offer, root, len(found), gain, accuracy, norm, rate, score, reason, refusals, helps)


def _held(params: Params, state: State, offers: list[OfferJudgement]) -> list[OfferJudgement]:
    """The offers, with the reason of what the norms or its uploader's debt refuse."""
    told = _hold_to_ledger(offers, 0 if _is_told_wrong(state, offers) else state.usual_norm)
    return _hold_to_repute(params, state, _hold_to_band(told, state.usual_norm))


def _is_told_wrong(state: State, offers: list[OfferJudgement]) -> bool:
    """Whether a young model's ledger has a usual norm that is none by either middle of the offers that gain.

    It is what one committee packed before anybody had learnt anything. Then the round's own middles decide, or honest offers stay
    too short, however much they gain, for as long as a single long one qualifies.
    """
    rated = _gaining(offers)
    if state.known >= HALF_RIGHT or len(rated) < MIN_RATED:
        return False
    found = middles(rated)
    return state.usual_norm > found.high * NORM_BAND_HIGH or state.usual_norm * NORM_BAND_LOW < found.low


def _without(gone: frozenset[Digest], offers: list[OfferJudgement]) -> list[OfferJudgement]:
    """Refuse the copies among the offers that are not refused yet."""
    return [replace(offer, reason=Reason.COPY) if offer.reason is None and offer.offer in gone else offer for offer in offers]


def _hold_to_ledger(offers: list[OfferJudgement], usual: int) -> list[OfferJudgement]:
    """Refuse norms beyond the band around what was `usual` in the rounds before (0: nothing yet), if others are within it.

    Judges measure a long offer's first step only, and of a damaged model a step in any direction may seem to help. One offer that
    is as usual is enough, since small communities have few trainers; where all are so long, as when honest norms grow at once,
    nobody is refused for it.
    """
    within = [offer.reason is None and _in_band(offer, usual, usual).reason is None for offer in offers]
    return [_in_band(offer, usual, usual) for offer in offers] if usual and any(within) else offers


def _hold_to_band(offers: list[OfferJudgement], usual: int) -> list[OfferJudgement]:
    """Refuse norms outside the band around what is usual among the qualified offers that gain clearly (`ledger.influence.norms`).

    `usual`: what was so before. Where that is nothing (0), or the two middles of the round are too far apart for one norm to be
    near both, only what is outside by both is refused. Norms of zero are out before: free riders can't make zero the usual norm.
    """
    rated = _gaining(offers)
    if len(rated) < MIN_RATED:
        return offers
    found = middles(rated)
    middle = found.nearest(usual)
    low, high = (middle, middle) if usual and not found.apart else (found.low, found.high)
    return [_in_band(offer, low, high) for offer in offers]


def _gaining(offers: list[OfferJudgement]) -> list[tuple[int, int]]:
    """Norm and gain of the qualified offers that gain clearly."""
    return [(offer.norm, offer.clear_gain) for offer in offers if offer.reason is None and offer.norm and offer.clear_gain]


def _in_band(offer: OfferJudgement, low: int, high: int) -> OfferJudgement:
    if offer.reason is not None or offer.norm is None:
        return offer
    if offer.norm * NORM_BAND_LOW < low:
        return replace(offer, reason=Reason.NORM_TOO_SMALL)
    if offer.norm > high * NORM_BAND_HIGH:
        return replace(offer, reason=Reason.NORM_TOO_LARGE)
    return offer


def _hold_to_repute(params: Params, state: State, offers: list[OfferJudgement]) -> list[OfferJudgement]:
    """Refuse what is offered by those that have done harm and not made up for it; where that is most, the deeper in debt."""
    if params.reputation_rounds == 0:
        return offers
    m, reputations = len(state.committee), {account.node: account.reputation for account in state.accounts}
    repute = repute_among(reputations[offer.uploader] for offer in offers if offer.reason is None)
    return [
        replace(offer, reason=Reason.IN_DEBT)
        if offer.reason is None and not repute.takes(reputations[offer.uploader], offer.helps, m)
        else offer
        for offer in offers
    ]


def _rank(params: Params, state: State, offers: list[OfferJudgement]) -> list[OfferJudgement]:
    """Leave the k best qualified offers without a reason, and give the others theirs."""
    qualified = _in_order(state, [offer for offer in offers if offer.reason is None])
    late = [replace(offer, reason=Reason.NO_PLACE) for offer in qualified[params.places :]]
    return [offer for offer in offers if offer.reason is not None] + qualified[: params.places] + late


def _in_order(state: State, offers: list[OfferJudgement]) -> list[OfferJudgement]:
    """By score, best first; ties by the round's seed."""
    seed = seed_of(state)
    return sorted(offers, key=lambda offer: (-(offer.score or 0), tie_break(seed, offer.uploader)))


def _present(cards: list[ScoreCard], f: int) -> tuple[NodeId, ...]:
    """Members that f + 1 cards list: at least one honest member saw each of them."""
    counts = Counter(node for card in cards for node in card.present)
    return tuple(sorted(node for node, count in counts.items() if count > f))


def _worst_filled_median(values: list[T], q: int) -> T | None:
    """sorted[(q - 1) // 2] of q values of which the absent ones are worst; None where it falls on an absent one."""
    index = (q - 1) // 2 - (q - len(values))
    return sorted(values)[index] if index >= 0 else None
