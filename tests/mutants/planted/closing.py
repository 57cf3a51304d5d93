"""Defects of late serving: an update that is given away while others may still be offered, an offer that is judged all the same."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

CLOSING = "bflcd/core/round/closing.py"
COLLECTION = "bflcd/core/round/collection.py"

CLOSED: Final = selection("core/test_closing.py")
SERVED: Final = selection("node/test_services.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "update-served-before-offers-are-closed",
        "a judge is given an update while others may still be offered (section 5.2)",
        "bflcd/node/services.py",
        "        if not self._core.serves_updates(closed):\n",
        "        if self._core is None:\n",
        SERVED,
    ),
    mutant(
        "few-words-open",
        "words of f seats and one more open a trainer's update (section 5.2)",
        CLOSING,
        "        if len(words) < context.q:\n",
        "        if len(words) <= context.f:\n",
        CLOSED,
    ),
    mutant(
        "words-are-believed",
        "whoever makes up other seats' words is given updates (section 5.2)",
        CLOSING,
        "return all(verify(Envelope(seat, payload, signature)) for seat, signature in words.items())",
        "return all(verify is not None and Envelope(seat, payload, signature) for seat, signature in words.items())",
        CLOSED,
    ),
    mutant(
        "words-of-strangers-open",
        "members without a seat open updates (section 5.2)",
        CLOSING,
        "words = {seat: signature for seat, signature in shown if seat in context.committee}",
        "words = {seat: signature for seat, signature in shown}",
        CLOSED,
    ),
    mutant(
        "late-offer-is-judged",
        "an offer that comes after this seat closed is on its card (section 5.2)",
        COLLECTION,
        "        if self.closing.closed_at is None:\n            self.slots",
        "        if self.closing is not None:\n            self.slots",
        CLOSED,
    ),
    mutant(
        "asks-before-a-quorum-has-closed",
        "a judge asks for updates that nobody gives yet (section 5.2)",
        COLLECTION,
        "        if not self.closing.may_ask:\n",
        "        if self.closing.is_open:\n",
        CLOSED,
    ),
    mutant(
        "an-honest-word-closes-nobody",
        "one seat stays open for as long as a liar wants when an honest one has closed (section 5.2)",
        CLOSING,
        "return len(self.seats - {self._context.me}) > self._context.f",
        "return len(self.seats - {self._context.me}) > self._context.q",
        CLOSED,
    ),
    mutant(
        "waits-for-who-can-offer-no-more",
        "once offers are closed a card waits for those that have made none (section 5.3)",
        COLLECTION,
        "offered=frozenset(), closed=True)",
        "offered=frozenset())",
        CLOSED,
    ),
    mutant(
        "offers-fill-places",
        "as many liars as there are places close the round by offers that they give to nobody (section 5.2)",
        COLLECTION,
        "places = MAX_PLACES if context.params.late_serving else None",
        "places = None if context.params.late_serving else None",
        CLOSED,
    ),
    mutant(
        "who-has-just-started-closes",
        "a seat that has heard of nobody closes for all others (section 5.2)",
        COLLECTION,
        "        if self._knows_nobody and elapsed < RESTART_VIEWS * t0:\n",
        "        if self._knows_nobody and elapsed < 0 * t0:\n",
        CLOSED,
    ),
    mutant(
        "a-word-is-forgotten",
        "a seat that starts again takes offers after it said that it takes none (section 5.2)",
        "bflcd/core/restart.py",
        "        elif isinstance(signed.body, OffersClosed):\n",
        "        elif isinstance(signed.body, OffersClosed) and context is None:\n",
        CLOSED,
    ),
)
