"""Judges whose words can't come from measuring: how doubt of one grows and goes, and what it costs (design 5, Canaries).

A judge is compared with the words that decided its round. Honest ones differ, those with odd rows widely; so no single word is
looked at, only on what share of a round's offers a card is far from the middle word, beyond what most cards are and a fifth. The
excess adds up over rounds, and wears off by as much as it stays below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bflcd.ledger.cards import entry_key
from bflcd.ledger.judgement import Judgement
from bflcd.ledger.medians import lower_median
from bflcd.ledger.state import MAX_DOUBT, Account
from bflcd.ledger.trust.words import ABSENT, ACCEPTS, REFUSES, word_of
from bflcd.params import Params
from bflcd.types import NodeId
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import ScoreCard

FAR: Final = 2
"""Levels between a word and the middle one that are far. To refuse what the middle accepts, or the reverse, always is."""

WHOLE: Final = 1_000
"""A share of all offers, in the unit of doubt."""

ALLOWED: Final = 200
"""Of its words a card may have so many more far from the middle than most cards (docs/measurements/judges.md)."""

LIMIT: Final = 2_000
"""Doubt from which on a judge gets no seat, and no pay for a card."""

WRONG: Final = 700
"""What a card adds that says that a canary helps."""

RIGHT: Final = 700
"""What a card takes away that refuses a canary."""

UNSEATED_ROUNDS: Final = 32
"""Rounds that who has come to the limit sits out. Then it is a step below: what it does next decides."""

_STEP: Final = (MAX_DOUBT - LIMIT) // UNSEATED_ROUNDS
"""By so much doubt beyond the limit falls in each round."""


@dataclass(frozen=True, slots=True)
class Bearing:
    """A card beside the others of its round. `said`: of the offers that count, on how many it has a word; `excess`: by how much
    the share of those that are far from the middle word is above the middle share of all cards, in thousandths."""

    said: int
    excess: int


def bearings(judgement: Judgement, cards: Sequence[Signed[ScoreCard]]) -> dict[NodeId, Bearing]:
    """How each of the q cards stands to the words of all."""
    gains = [{entry_key(entry): entry.gain for entry in card.body.entries} for card in cards]
    words = [
        [word_of(one.get((offer.uploader, offer.offer, offer.root))) for one in gains]
        for offer in judgement.offers
        if offer.gain is not None
    ]
    middles = [lower_median([word for word in row if word != ABSENT]) for row in words]
    pairs = list(zip(words, middles, strict=True))
    shares = [_far_share([(row[place], middle) for row, middle in pairs]) for place in range(len(cards))]
    usual = lower_median([share for _, share in shares])
    return {card.author: Bearing(said, share - usual) for card, (said, share) in zip(cards, shares, strict=True)}


def _far_share(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """How many words there are beside the middle ones, and which share of them is far, in thousandths."""
    said = [(word, middle) for word, middle in pairs if word != ABSENT]
    far = sum(is_far(word, middle) for word, middle in said)
    return len(said), WHOLE * far // len(said) if said else 0


def is_far(word: int, middle: int) -> bool:
    """Whether a word says something else than the middle one: apart by two levels, or on the other side of the margin."""
    return (word < ACCEPTS) != (middle < ACCEPTS) or abs(word - middle) >= FAR


def after_card(account: Account, bearing: Bearing | None) -> Account:
    """An account after a round in which its member's card stood as `bearing` says; None: it had none among the q."""
    if is_doubted(account):
        return replace(account, doubt=max(account.doubt - _STEP, LIMIT - 1))
    return account if bearing is None or not bearing.said else _doubted(account, bearing.excess - ALLOWED)


def after_canary(account: Account, word: int) -> Account:
    """An account after a canary was shown of which its member's card said `word`, while most others refuse it."""
    if word in (ABSENT, ACCEPTS) or is_doubted(account):
        return account
    return _doubted(account, -RIGHT if word == REFUSES else WRONG)


def doubts_count(params: Params) -> bool:
    """Whether a doubted judge loses seat and pay: where the genesis says so, and cards say what was measured. Noise puts honest
    words far from the middle too."""
    return bool(params.doubts) and params.score_noise == 0


def is_doubted(account: Account) -> bool:
    """Whether a member's words are thought to be made up: it gets a seat only where nobody else can have it."""
    return account.doubt >= LIMIT


def rounds_out(account: Account) -> int:
    """In how many of the next elections, that of the running round first, a doubted judge stands behind all others yet.

    Each round takes its step off the doubt before its election.
    """
    return (account.doubt - LIMIT) // _STEP if is_doubted(account) else 0


def _doubted(account: Account, change: int) -> Account:
    doubt = max(0, account.doubt + change)
    return replace(account, doubt=MAX_DOUBT if doubt >= LIMIT else doubt)


def earns(account: Account, bearing: Bearing, counted: int, *, doubts: bool) -> bool:
    """Whether a card is paid: with words on at least half of the `counted` offers, if there are any, and by who is not doubted,
    where a community's `doubts` count."""
    return 0 < counted <= 2 * bearing.said and not (doubts and is_doubted(account))


def of_cards(accounts: Sequence[Account], found: Mapping[NodeId, Bearing]) -> tuple[Account, ...]:
    """The accounts after a round whose cards stood to each other as `found` says."""
    return tuple(after_card(account, found.get(account.node)) for account in accounts)
