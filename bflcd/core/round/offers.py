"""An offer's way through one round, from its announcement to what the own card says of it (design 5.2, 5.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bflcd.learn.protocol import UpdateScore
from bflcd.ledger.cards import entry_key
from bflcd.ledger.disclosure import REFUSED, said_accuracy, said_gain
from bflcd.ledger.trust.alike import likes_of
from bflcd.ledger.trust.noise import Noise
from bflcd.ledger.trust.oddness import odd_offers
from bflcd.types import Digest, MicroNats, PartsPerMillion
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import CardEntry, Offer


class OfferProgress(Enum):
    """How far an offer has come here."""

    WANTED = "wanted"
    FETCHING = "fetching"
    HELD = "held"
    SCORING = "scoring"
    SCORED = "scored"
    FAILED = "failed"


@dataclass(slots=True)
class OfferSlot:
    """One offer and its way to a score. `rate`: KiB/s at which its payload was pulled, 0 if it was not, or not measured."""

    offer: Signed[Offer]
    progress: OfferProgress = OfferProgress.WANTED
    score: UpdateScore | None = None
    fetches: int = 0
    rate: int = 0
    text: str = ""


def entries_of(
    slots: Mapping[Digest, OfferSlot], noise: Noise, odd_limit: PartsPerMillion, least: MicroNats, parent: Digest
) -> tuple[CardEntry, ...]:
    """What the own card says of the offers that are scored, by their digests in the order in which they came.

    `least`: the gain that qualifies on our rows; `parent`: the hash of the header that opens the round, which stands for the
    last step.
    """
    scored = [(slot, slot.score) for slot in slots.values() if slot.score is not None]
    odd = odd_offers([score.cost for _, score in scored], odd_limit)
    likes = _likes(slots, parent)
    said = (_entry(noise, slot, score, least, likes, odd=out) for (slot, score), out in zip(scored, odd, strict=True))
    return tuple(sorted(said, key=entry_key))


def _likes(slots: Mapping[Digest, OfferSlot], parent: Digest) -> dict[Digest, Digest]:
    """What the scored offers are like."""
    scores = {key: slot.score for key, slot in slots.items() if slot.score is not None}
    alike = {key: frozenset(score.alike) | ({parent} if score.repeats else set()) for key, score in scores.items()}
    return likes_of(parent, tuple(scores), alike)


def _entry(
    noise: Noise, slot: OfferSlot, score: UpdateScore, least: MicroNats, likes: Mapping[Digest, Digest], *, odd: bool
) -> CardEntry:
    """What the own card says of an offer (design 5.3); `least`: the gain that qualifies on our rows; `odd`: refused anyway."""
    offer = slot.offer.digest
    gain = REFUSED if odd else said_gain(noise.gain(score.gain, offer), least)
    return CardEntry(
        uploader=slot.offer.author,
        offer=offer,
        root=slot.offer.body.blob.root,
        gain=gain,
        accuracy=said_accuracy(noise.params, gain, noise.accuracy(score.accuracy, offer)),
        norm=score.norm,
        rate=slot.rate,
        like=likes.get(slot.offer.digest),
    )
