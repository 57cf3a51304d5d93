"""Late serving: updates are given to judges once these take no further offers (design 5.2).

Who sees an update before offers are closed can pass it on to a trainer that offers its like. So a seat says to the others when it
takes no further offers, and asks for updates by the words of q seats: more than f of them are honest, and by their words every
other honest seat closes too, within the time of a message. Whoever signs a card, or seals one, has closed as well. No rule of the
ledger knows of it.
"""

from bflcd.core.round.context import RoundContext
from bflcd.types import Millis, NodeId, Signature
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, Signed, Verify
from bflcd.wire.messages import ClosedBy, OffersClosed


class Closing:
    """Which seats take no further offers in one round and epoch. Pure; every time is an argument. Memory: a word a seat."""

    def __init__(self, context: RoundContext) -> None:
        self.enabled = context.params.late_serving
        self._context = context
        self.closed_at: Millis | None = None
        """Since when this node takes no further offers; None where it does, or where updates are served at once."""
        self.seats: set[NodeId] = set()
        """Those that have closed, ours too."""
        self._words: dict[NodeId, Signature] = {}

    @property
    def is_open(self) -> bool:
        """Whether this node waits for further offers, and asks for nothing before it has them."""
        return self.enabled and self.closed_at is None

    @property
    def may_ask(self) -> bool:
        """Whether the round's updates may be asked for: with the words of q seats, where that is needed."""
        return not self.enabled or self._context.bound or bool(self.shown)

    @property
    def shown(self) -> ClosedBy:
        """The words of q seats, by which updates are asked for; none before so many are here."""
        words = sorted(self._words.items())
        return tuple(words) if len(words) >= self._context.q else ()

    @property
    def others_have(self) -> bool:
        """Whether an honest one of the other seats has closed."""
        return len(self.seats - {self._context.me}) > self._context.f

    def may_serve(self, shown: ClosedBy, verify: Verify) -> bool:
        """Whether a judge may be given the round's updates: q seats have closed, as we know or as it shows by their words."""
        context = self._context
        if not self.enabled or context.bound or len(self.seats) >= context.q:
            return True
        words = {seat: signature for seat, signature in shown if seat in context.committee}
        if len(words) < context.q:
            return False
        payload = encode(OffersClosed(*context.place))
        return all(verify(Envelope(seat, payload, signature)) for seat, signature in words.items())

    def said(self, word: Signed[OffersClosed]) -> None:
        """Keep a seat's word, ours too; its signature was verified."""
        if self.enabled:
            self.seats.add(word.author)
            self._words[word.author] = word.envelope.signature

    def heard(self, seat: NodeId) -> None:
        """A seat shows by its card, or by its seal, that it has closed."""
        if self.enabled:
            self.seats.add(seat)

    def knows(self, seat: NodeId) -> bool:
        """Whether a seat's word is here."""
        return seat in self._words

    def close(self, now: Millis) -> None:
        """Take no further offers from now on."""
        if self.is_open:
            self.closed_at = now
            self.seats.add(self._context.me)
