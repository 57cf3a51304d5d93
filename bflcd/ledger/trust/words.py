"""What the judges of the last rounds said of offers, a byte a word: kept until it can no more be shown that one was a canary."""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from bflcd.ledger.disclosure import APART, GAIN_LEVELS, REFUSED
from bflcd.limits import Between, Size
from bflcd.params import MILLION
from bflcd.types import MAX_COMMITTEE, Amount, Digest, MicroNats, NodeId, PartsPerMillion, Round

SHOWN_ROUNDS: Final = 2
"""Blocks after the one that closed its round in which a canary may be shown: its author says so as soon as that one is there."""

MAX_OFFERS_KEPT: Final = 64
"""Offers of a round of which the words are kept; where there are more, the round's seed draws which."""

ABSENT: Final = 0
"""The word of a card that does not name the offer."""

REFUSES: Final = 1
"""The word of a card that says that the offer harms; what accepts it is above, by its level."""

ACCEPTS: Final = 2
"""The least word that accepts: the offer costs no more than the margin, and gains less than `APART`; the next ones say that it
helps."""

_LEVELS: Final = (GAIN_LEVELS[0], *(level for level in GAIN_LEVELS if level >= APART))
"""Of cards, those that are told apart here."""


@dataclass(frozen=True, slots=True)
class OfferWords:
    """One offer: its uploader; a word of each judge, in the order of `RoundWords.judges`; whether it was `packed`, and whether a
    block says that it was a canary, `shown`."""

    uploader: NodeId
    words: Annotated[bytes, Size(1, MAX_COMMITTEE)]
    packed: bool
    shown: bool = False


@dataclass(frozen=True, slots=True)
class RoundWords:
    """A round: its `lot` and the `share` of its trainers that were canaries, from which follows who was one; how many `seats` its
    committee had, and the `judges` whose cards decided it, sorted by id; `pay`: what the median of its packed offers was paid;
    `debt`: what an offer below the margin took off its uploader's reputation;
    the `offers`, sorted by uploader."""

    round: Round
    lot: Digest
    share: Annotated[PartsPerMillion, Between(1, MILLION)]
    seats: Annotated[int, Between(1, MAX_COMMITTEE)]
    judges: Annotated[tuple[NodeId, ...], Size(1, MAX_COMMITTEE)]
    pay: Amount
    debt: MicroNats
    offers: Annotated[tuple[OfferWords, ...], Size(0, MAX_OFFERS_KEPT)]

    def of(self, uploader: NodeId) -> OfferWords | None:
        """What was said of the offer of `uploader`; None if nothing is kept of it."""
        return next((offer for offer in self.offers if offer.uploader == uploader), None)

    def with_shown(self, uploader: NodeId) -> "RoundWords":
        """The same, with the offer of `uploader` shown."""
        return replace(self, offers=tuple(replace(one, shown=True) if one.uploader == uploader else one for one in self.offers))


def word_of(gain: MicroNats | None) -> int:
    """What a card says of an offer, as a byte: `ABSENT`, `REFUSES`, or `ACCEPTS` and above by its level."""
    if gain is None:
        return ABSENT
    if gain <= REFUSED:
        return REFUSES
    return REFUSES + sum(level <= gain for level in _LEVELS)
