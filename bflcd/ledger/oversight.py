"""Whether a member's own scores can explain what q cards decided: a majority that colludes can't be prevented, but it is noticed.

The q cards bind everybody, and no honest member can prove that others lied about their own data. But it can see that the
decision has nothing to do with what it measured. Honest members differ widely (under a label mix of Dirichlet(0.1) by several
nats for one offer), so no single offer is looked at: only whether most of what helps on its rows was refused, or most of what was
taken does harm there. A collusion that stays within that is bounded by it, and isn't noticed.
"""

from typing import Final

from bflcd.ledger.cards import entry_key
from bflcd.ledger.disclosure import HALF_RIGHT, REFUSED
from bflcd.ledger.judgement import Judgement, OfferJudgement, Reason
from bflcd.types import PartsPerMillion
from bflcd.wire.messages import ScoreCard

MIN_OFFERS: Final = 5
"""Offers that must contradict. Of 800 cards of honest members with labels dealt by Dirichlet(0.1) five had three that did, and
one had four."""

MIN_HARMFUL: Final = 4
"""The same for packed offers that do harm: three of three were seen."""

_REFUSED: Final = (Reason.BELOW_MARGIN, Reason.UNSCORED, Reason.FEW_ENTRIES)
"""Refused for what the cards say of its gain; not for its norm, or because others took the places."""


def unexplained(judgement: Judgement, card: ScoreCard, known: PartsPerMillion) -> str | None:
    """What of the decision the author of `card`, an honest member, can't explain by its own scores; None if it can.

    At least 5 offers that gain on its rows, and more than half of those that do, were refused; or at least 4 of the packed, and
    more than two thirds of them, lose more than the margin there, while the model is right on half of the rows (`known`, as the
    ledger has it): of one that knows less the margin is next to nothing, and honest updates of others fall below it.
    """
    own = {entry_key(entry): entry.gain for entry in card.entries}
    scored = [(offer, own[key]) for offer in judgement.offers if (key := _key(offer)) in own]
    useful = [offer for offer, gain in scored if gain > 0]
    refused = [offer for offer in useful if offer.reason in _REFUSED]
    if len(refused) >= MIN_OFFERS and 2 * len(refused) > len(useful):
        return f"{len(refused)} of the {len(useful)} updates that help on our data were refused as useless"
    packed = [gain for offer, gain in scored if offer.reason is None]
    harmful = packed.count(REFUSED) if known >= HALF_RIGHT else 0
    if harmful >= MIN_HARMFUL and 3 * harmful > 2 * len(packed):
        return f"{harmful} of the {len(packed)} updates that were taken do harm on our data"
    return None


def _key(offer: OfferJudgement) -> tuple[object, object, object]:
    return offer.uploader, offer.offer, offer.root
