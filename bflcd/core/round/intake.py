"""Beacons, offers, seals and cards of the running round as they come in: checked, verified, kept, contradictions noted."""

from bflcd.core.effects import Blame, Effect, Send, notice
from bflcd.core.equivocation import EquivocationHandler
from bflcd.core.events import EnvelopesFetched, Instant
from bflcd.core.node_events import EventKind
from bflcd.core.round.collection import Collection
from bflcd.core.round.context import RoundContext
from bflcd.core.signatures import require_signature
from bflcd.errors import PeerError
from bflcd.ledger.cards import check_closed, check_seal
from bflcd.types import short
from bflcd.wire.envelope import Envelope, Signed, Verify, open_envelope
from bflcd.wire.messages import Beacon, CardSeal, Offer, OffersClosed, ScoreCard


class MessageIntake:
    """Fills one round's collection. Whatever is not signed by its author raises PeerError and changes nothing."""

    def __init__(self, context: RoundContext, collection: Collection, equivocation: EquivocationHandler, verify: Verify) -> None:
        self._context = context
        self._collection = collection
        self._equivocation = equivocation
        self._verify = verify

    def beacon(self, beacon: Signed[Beacon]) -> list[Effect]:
        """A member is present. No effect if that was known."""
        if beacon.author in self._collection.beacons:
            return []
        require_signature(self._verify, beacon.envelope)
        self._collection.add_beacon(beacon)
        return [notice(self._context.round, EventKind.PRESENT, f"{short(beacon.author)} is present", node=beacon.author.hex())]

    def offer(self, offer: Signed[Offer]) -> list[Effect]:
        """A trainer's offer. No effect if it is known, or one too many."""
        self._collection.check_offer(offer)
        if offer.digest in self._collection.offers or not self._collection.has_room_for_offer(offer.author):
            return []
        require_signature(self._verify, offer.envelope)
        effects = self._add_offer(offer)
        text = f"{short(offer.author)} offers an update from {offer.body.samples} samples"
        effects.append(notice(self._context.round, EventKind.OFFER, text, node=offer.author.hex(), samples=offer.body.samples))
        return effects

    def closed(self, closed: Signed[OffersClosed]) -> list[Effect]:
        """A member takes no further offers. No effect where that counts for nothing, or if it is known."""
        closing, round_ = self._collection.closing, self._context.round
        if not closing.enabled or closing.knows(closed.author):
            return []
        check_closed(self._context.state, self._context.head_hash, closed)
        require_signature(self._verify, closed.envelope)
        closing.said(closed)
        text = f"{short(closed.author)} takes no further offers"
        return [notice(round_, EventKind.OFFERS_CLOSED, text, node=closed.author.hex())]

    def seal(self, seal: Signed[CardSeal], now: Instant) -> list[Effect]:
        """A member binds itself to a card. No effect where none are sealed, or if it is known; another one convicts it."""
        sealing, round_ = self._collection.sealing, self._context.round
        held = sealing.seals.get(seal.author)
        if not sealing.enabled or (held is not None and held.digest == seal.digest):
            return []
        check_seal(self._context.state, self._context.head_hash, seal)
        require_signature(self._verify, seal.envelope)
        if held is not None:
            return self._equivocation.conflict(round_, held, seal, "two seals in one round")
        sealing.add(seal, now.mono)
        self._collection.closing.heard(seal.author)
        return [notice(round_, EventKind.SEALED, f"{short(seal.author)} has sealed its card", node=seal.author.hex())]

    def card(self, card: Signed[ScoreCard]) -> list[Effect]:
        """A member's score card. No effect if it is known, or one too many."""
        if card.digest in self._collection.cards:
            return []
        self._collection.check_card(card)
        if not self._collection.has_room_for_card(card.author):
            return []
        require_signature(self._verify, card.envelope)
        effects = self._add_card(card)
        text = f"{short(card.author)} sent its card with {len(card.body.entries)} scores"
        effects.append(notice(self._context.round, EventKind.CARD, text, node=card.author.hex(), entries=len(card.body.entries)))
        return effects

    def pulled(self, event: EnvelopesFetched) -> list[Effect]:
        """Cards and offers that a proposal needs, as a peer gave them."""
        effects: list[Effect] = []
        for envelope in event.envelopes:
            try:
                require_signature(self._verify, envelope)
                effects += self.keep(envelope)
            except PeerError as error:
                effects.append(Blame(event.source, error.rejection, str(error)))
        return effects

    def keep(self, envelope: Envelope) -> list[Effect]:
        """Add a verified card or offer that a proposal needs, also beyond what is kept unasked. Raises PeerError."""
        signed: Signed[Offer | ScoreCard] = open_envelope(envelope, (Offer, ScoreCard))
        if isinstance(signed.body, Offer):
            offer = Signed(signed.body, envelope)
            self._collection.check_offer(offer, wanted=True)
            return self._add_offer(offer)
        card = Signed(signed.body, envelope)
        self._collection.check_card(card, wanted=True)
        return self._add_card(card)

    def _add_offer(self, offer: Signed[Offer]) -> list[Effect]:
        held = self._collection.conflicting_offer(offer)
        self._collection.add_offer(offer)
        return self._equivocation.conflict(self._context.round, held, offer, "two offers in one round")

    def _add_card(self, card: Signed[ScoreCard]) -> list[Effect]:
        held = self._collection.conflicting_card(card)
        self._collection.add_card(card)
        effects = self._equivocation.conflict(self._context.round, held, card, "two score cards in one round")
        broken = self._collection.sealing.broken_by(card)
        return effects if broken is None else [*effects, Send(broken.envelope, self._context.judges_but_me)]
