"""Sealed cards: each judge is bound to its card before it sees another's, so that none can be copied (design 5.3).

A seal names a card without telling it. A card is shown once all seats are bound to theirs; or q of them are and a grace has
passed; or so many have shown theirs that an honest one was among them; or a little after the collect deadline. Bound is whoever's
seal, or card, is held. A leader prefers the cards whose seals it held in time: before half of that grace was over, and before
anybody could have copied one. No rule of the ledger knows of seals: what is packed is valid whoever sealed it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bflcd.core.round.context import RoundContext
from bflcd.types import Digest, Millis, NodeId
from bflcd.wire.envelope import Signed, sealed_digest
from bflcd.wire.messages import CardSeal, ScoreCard

GRACE: Final = 8
"""The grace for the seats whose seal is not there: an eighth of what the round has taken."""

MOST: Final = 4
"""The longest of each wait here: a quarter of T0, so that a leader who waits keeps most of its view."""


class Sealing:
    """Who is bound to which card in one round and epoch. Pure; every time is an argument. Memory: one seal a seat."""

    def __init__(self, context: RoundContext, opened: Millis, cards: Mapping[NodeId, Signed[ScoreCard]]) -> None:
        """`cards`: those that have been shown, ours among them once it is, as they come."""
        self.enabled = context.params.sealed_cards
        self._context = context
        self._opened = opened
        self._cards = cards
        self._most = Millis(context.view_timeout // MOST)
        self.seals: dict[NodeId, Signed[CardSeal]] = {}
        self._in_time: set[NodeId] = set()
        self._told: set[Digest] = set()
        self._bound_from: Millis | None = None
        """Since when q seats are bound."""
        self._sealed_at: Millis | None = None
        self._cards_from: Millis | None = None
        """Since when q cards are held."""

    # -- what comes in ------------------------------------------------------------------------------------------------

    def add(self, seal: Signed[CardSeal], now: Millis) -> None:
        """Keep the first seal of a seat, ours too; its signature was verified."""
        if seal.author not in self.seals:
            self.seals[seal.author] = seal
            if not self._may_be_copied(now):
                self._in_time.add(seal.author)
        if seal.author == self._context.me:
            self._sealed_at = now
        self.look(now)

    def look(self, now: Millis) -> None:
        """Note what holds now."""
        if self._bound_from is None and len(self._bound()) >= self._context.q:
            self._bound_from = now
        if self._cards_from is None and len(self._cards) >= self._context.q:
            self._cards_from = now

    def broken_by(self, card: Signed[ScoreCard]) -> Signed[CardSeal] | None:
        """The seal that a card breaks, once for each such card: whoever was given another seal has evidence by it."""
        seal = self.seals.get(card.author)
        same_epoch = card.body.epoch == self._context.state.epoch
        if seal is None or not same_epoch or self._is_of(seal, card) or card.digest in self._told:
            return None
        self._told.add(card.digest)
        return seal

    # -- our own card -------------------------------------------------------------------------------------------------

    def may_show(self, now: Millis) -> bool:
        """Whether our sealed card may be sent; a proposal that names it shows that it was, before a restart."""
        at = self.show_at()
        return self.enabled and (self._context.me in self._cards or (at is not None and now >= at))

    def show_at(self) -> Millis | None:
        """When our card may be sent, as far as is known now; None if there is nothing to send."""
        if self._sealed_at is None or self._context.me in self._cards:
            return None
        if len(self._bound()) == len(self._context.committee) or len(self._cards) > self._context.f:
            return self._sealed_at
        last = max(self._opened + self._context.collect_deadline, self._sealed_at) + self._most
        if self._bound_from is not None:
            last = min(last, self._bound_from + self._grace(self._bound_from))
        return Millis(last)

    # -- what we pack -------------------------------------------------------------------------------------------------

    def leader_waits_until(self) -> Millis | None:
        """Until when a leader waits for q cards that were sealed in time; None if it has them, or has no q cards at all."""
        if not self.enabled or self._cards_from is None:
            return None
        held = sum(self._was_in_time(card) for card in self._cards.values())
        return None if held >= self._context.q else Millis(self._cards_from + self._most)

    def in_time_first(self, cards: Sequence[Signed[ScoreCard]]) -> list[Signed[ScoreCard]]:
        """The cards as they stand, those behind that were not sealed in time."""
        return sorted(cards, key=lambda card: self.enabled and not self._was_in_time(card))

    def _was_in_time(self, card: Signed[ScoreCard]) -> bool:
        return card.author in self._in_time and self._is_of(self.seals[card.author], card)

    def _is_of(self, seal: Signed[CardSeal], card: Signed[ScoreCard]) -> bool:
        return seal.body.card == sealed_digest(card.envelope)

    def _bound(self) -> set[NodeId]:
        return {*self.seals, *self._cards}

    def _may_be_copied(self, now: Millis) -> bool:
        """Whether some honest card may have been shown to whoever binds itself now.

        The others open one grace after they saw q seats bound. We saw that when they did, up to the time of a message; so half of
        the grace is what a copy would have to be faster than the seals.
        """
        if self._context.me in self._cards or len(self._cards) > self._context.f:
            return True
        return self._bound_from is not None and now > self._bound_from + self._grace(self._bound_from) // 2

    def _grace(self, since: Millis) -> Millis:
        return min(Millis((since - self._opened) // GRACE), self._most)
