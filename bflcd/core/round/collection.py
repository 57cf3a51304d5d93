"""The collection of one round: offers, their blobs and scores, the own score card, the cards of others (design 5.2, 5.3).

Invariants: at most one own card a round and epoch; a card names only offers whose blobs are here, and relies on them; nothing of
a stranger is kept; at most `MAX_OFFERS_EACH` offers of one uploader and `MAX_CARDS_EACH` cards of one member are held.
"""

from dataclasses import dataclass, replace
from typing import Final

from bflcd.core.round.closing import Closing
from bflcd.core.round.context import RoundContext, update_label_of
from bflcd.core.round.offers import OfferProgress, OfferSlot, entries_of
from bflcd.core.round.sealing import Sealing
from bflcd.core.round.waiting import PATIENT_EVERY, CardTimer, Expectations
from bflcd.errors import PeerError, Rejection
from bflcd.learn.protocol import ScoreResult
from bflcd.ledger.cards import CardRules, by_lot, check_beacon, check_offer, fit_card
from bflcd.ledger.disclosure import coarse_accuracy, coarse_loss
from bflcd.ledger.roles import offering, seed_of, trainers
from bflcd.ledger.state import members_of
from bflcd.ledger.trust.margin import margin_of
from bflcd.ledger.trust.noise import Noise, Rows
from bflcd.params import BlobRef
from bflcd.types import MAX_PLACES, Digest, MicroNats, Millis, NodeId, PartsPerMillion, View
from bflcd.wire.blocks import committee_hash
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import Beacon, Offer, ScoreCard
from bflcd.wire.tensors import payload_size

MAX_OFFERS_EACH: Final = 2
"""A second offer is evidence; a third tells nothing new."""

MAX_CARDS_EACH: Final = 3
"""The first, a conflicting one, and one that a leader packed."""

STARTUP_VIEWS: Final = 16
"""In round 0 every trainer of genesis is expected for up to this many T0: daemons of one community start one after another."""

RESTART_VIEWS: Final = 4
"""Where updates are served late, who has just started knows of nobody and yet closes for all: it waits so many T0 for beacons,
which are said again after two."""

MAX_FETCHES: Final = 3
"""Times that an offered blob is asked for before the offer is left out of the card."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is remembered of the round before: who was `present`, and the `view` in which it was decided."""

    present: frozenset[NodeId] = frozenset()
    view: View = View(0)


@dataclass(frozen=True, slots=True)
class Words:
    """What connected members say of themselves now: who is `idle`, and does not train, and who is `training`."""

    idle: frozenset[NodeId] = frozenset()
    training: frozenset[NodeId] = frozenset()


class Collection:
    """What one node has gathered in one round. Pure; every time is an argument."""

    def __init__(self, context: RoundContext, opened: Millis, before: Before, words: Words) -> None:
        """`before`: of the previous round; who was present in it is waited for until T0 has passed."""
        self._context = context
        self.opened = opened
        self.words = words
        """Who says that it does not train is not waited for. What it offers all the same counts like any other's."""
        self._before = before
        self.slots: dict[Digest, OfferSlot] = {}
        self.offers: dict[Digest, Signed[Offer]] = {}
        self.cards: dict[Digest, Signed[ScoreCard]] = {}
        self.blobs: set[Digest] = set()
        self.first_cards: dict[NodeId, Signed[ScoreCard]] = {}
        self.beacons: set[NodeId] = set()
        self.base: tuple[MicroNats, PartsPerMillion] | None = None
        self.rows = Rows(1, 1)
        """On which the base and the offers were measured."""
        self.own_card: Signed[ScoreCard] | None = None
        self.sealing = Sealing(context, opened, self.first_cards)
        self.closing = Closing(context)
        # That an offer is here does not fill a place: nobody knows what it is worth, or whether there is anything to fetch.
        places = MAX_PLACES if context.params.late_serving else None
        self._timer = CardTimer(context.params, context.round, opened, context.collect_deadline, places=places)
        self._card_rules = CardRules(context.params, context.state, context.head_hash)
        self._trainers = trainers(context.params, context.state)
        self._offering = offering(context.state)
        spec = context.genesis.task.tensors
        self._payload_bytes = payload_size(spec, update_label_of(context, context.me))

    def inherit(self, older: "Collection") -> None:
        """Take over what an older epoch of this round has gathered: payloads, and what its re-proposed segment needs."""
        self.blobs |= older.blobs
        self.offers |= older.offers
        self.cards |= older.cards

    # -- what comes in ------------------------------------------------------------------------------------------------

    def add_beacon(self, beacon: Signed[Beacon]) -> bool:
        """Keep a member's beacon; True if it is new. Raises PeerError."""
        check_beacon(self._context.state, self._context.head_hash, beacon)
        known = beacon.author in self.beacons
        self.beacons.add(beacon.author)
        return not known

    def check_offer(self, offer: Signed[Offer], *, wanted: bool = False) -> None:
        """The checks that cost nothing. Raises PeerError. `wanted`: a proposal needs it, so it may be of the older epoch whose
        segment is re-proposed."""
        context = self._context
        state = context.state_of(offer.body.epoch) if wanted else context.state
        check_offer(context.params, state, context.head_hash, offer)
        if offer.body.blob.size != self._payload_bytes:
            raise PeerError(
                Rejection.BAD_TENSOR,
                f"an update has {self._payload_bytes} bytes by the genesis specification, {offer.body.blob.size} are offered",
            )

    def has_room_for_offer(self, uploader: NodeId) -> bool:
        """Whether another offer of its uploader would tell anything new; nobody is to blame for passing one on."""
        epoch = self._context.state.epoch
        return sum((held.author, held.body.epoch) == (uploader, epoch) for held in self.offers.values()) < MAX_OFFERS_EACH

    def add_offer(self, offer: Signed[Offer]) -> bool:
        """Keep a verified offer; True if it is new. One of an older epoch, or that came after offers were closed, waits for
        nothing but its proposal."""
        if offer.digest in self.offers:
            return False
        self.offers[offer.digest] = offer
        if offer.body.epoch != self._context.state.epoch:
            return True
        self.beacons.add(offer.author)
        if self.closing.closed_at is None:
            self.slots[offer.digest] = OfferSlot(offer)
        return True

    def conflicting_offer(self, offer: Signed[Offer]) -> Signed[Offer] | None:
        """Another offer that the uploader signed in this round and epoch, if one is held."""
        same = (held for held in self.offers.values() if held.author == offer.author and held.body.epoch == offer.body.epoch)
        return next((held for held in same if held.digest != offer.digest), None)

    def check_card(self, card: Signed[ScoreCard], *, wanted: bool = False) -> None:
        """The checks that cost nothing. Raises PeerError. `wanted`: a proposal needs it, so it may be of the older epoch whose
        segment is re-proposed."""
        context = self._context
        if wanted and card.body.epoch != context.state.epoch:
            CardRules(context.params, context.state_of(card.body.epoch), context.head_hash).check(card)
        else:
            self._card_rules.check(card)

    def has_room_for_card(self, member: NodeId) -> bool:
        """As `has_room_for_offer`, for cards."""
        epoch = self._context.state.epoch
        return sum((held.author, held.body.epoch) == (member, epoch) for held in self.cards.values()) < MAX_CARDS_EACH

    def add_card(self, card: Signed[ScoreCard]) -> bool:
        """Keep a verified card; True if it is new. One of an older epoch decides nothing but its own proposal."""
        if card.digest in self.cards:
            return False
        self.cards[card.digest] = card
        if card.body.epoch != self._context.state.epoch:
            return True
        self.first_cards.setdefault(card.author, card)
        self.beacons.add(card.author)
        self.closing.heard(card.author)
        return True

    def conflicting_card(self, card: Signed[ScoreCard]) -> Signed[ScoreCard] | None:
        """Another card that the member signed in this round and epoch, if one is held."""
        held = self.first_cards.get(card.author)
        if held is None or held.body.epoch != card.body.epoch or held.digest == card.digest:
            return None
        return held

    def hold_own(self, card: Signed[ScoreCard]) -> None:
        """Our card of this epoch: nothing more is scored for it. A sealed one is given to nobody before it is shown."""
        self.own_card = card
        self.closing.close(self.opened)  # as it did before a restart, if it has not yet
        if not self.sealing.enabled:
            self.add_card(card)

    # -- blobs and scores ---------------------------------------------------------------------------------------------

    def blob_fetched(self, root: Digest, rate: int = 0) -> None:
        """A blob is complete and met its specification; `rate` as in `BlobFetched`.

        Only a first pull counts as measured: what a broken one leaves here would make the next look fast.
        """
        self.blobs.add(root)
        for slot in self._with_root(root):
            if slot.progress in (OfferProgress.WANTED, OfferProgress.FETCHING):
                slot.progress = OfferProgress.HELD
                if slot.fetches == 1:
                    slot.rate = rate

    def blob_lost(self, root: Digest) -> None:
        """A blob that was held is damaged and dropped: it is fetched again."""
        self.blobs.discard(root)
        for slot in self._with_root(root):
            if slot.progress in (OfferProgress.HELD, OfferProgress.SCORING):
                slot.progress = OfferProgress.WANTED

    def blob_missing(self, root: Digest, label: str | None, *, refused: bool, text: str) -> None:
        """A blob could not be had for the uploader in `label`; after `MAX_FETCHES` tries, or if its content is refused, that
        offer is left out. An offer of the same root by somebody else is asked for, and answered, by itself."""
        for slot in self._with_root(root):
            asked = update_label_of(self._context, slot.offer.author) == label
            if asked and slot.progress is OfferProgress.FETCHING:
                gone = refused or slot.fetches >= MAX_FETCHES
                slot.progress = OfferProgress.FAILED if gone else OfferProgress.WANTED
                slot.text = text

    def _with_root(self, root: Digest) -> list[OfferSlot]:
        return [slot for slot in self.slots.values() if slot.offer.body.blob.root == root]

    def wanted_blobs(self) -> list[OfferSlot]:
        """Offers whose blob is to be fetched now, none before it may be asked for; marks them as being fetched."""
        if not self.closing.may_ask:
            return []
        wanted = [slot for slot in self.slots.values() if slot.progress is OfferProgress.WANTED]
        for slot in wanted:
            if slot.offer.body.blob.root in self.blobs:
                slot.progress = OfferProgress.HELD
            else:
                slot.progress, slot.fetches = OfferProgress.FETCHING, slot.fetches + 1
        return [slot for slot in wanted if slot.progress is OfferProgress.FETCHING]

    def to_score(self) -> tuple[tuple[Digest, BlobRef, str], ...]:
        """Offers whose blob is held and that wait for a score; marks them as being scored."""
        held = [slot for slot in self.slots.values() if slot.progress is OfferProgress.HELD]
        for slot in held:
            slot.progress = OfferProgress.SCORING
        return tuple(
            (slot.offer.digest, slot.offer.body.blob, update_label_of(self._context, slot.offer.author)) for slot in held
        )

    @property
    def scoring(self) -> bool:
        """Whether a scoring job runs."""
        return any(slot.progress is OfferProgress.SCORING for slot in self.slots.values())

    def scored(self, result: ScoreResult) -> None:
        """Note the worker's answer."""
        rows = Rows(result.drawn, result.held)
        if rows != self.rows:  # other rows than before: what was measured on those is measured again
            for done in self.slots.values():
                if done.progress is OfferProgress.SCORED:
                    done.progress, done.score = OfferProgress.HELD, None
        self.base, self.rows = (result.base_loss, result.base_accuracy), rows
        for score in result.scores:
            slot = self.slots.get(score.key)
            if slot is not None and slot.progress is OfferProgress.SCORING:
                slot.progress, slot.score = OfferProgress.SCORED, score
        for key, text in result.invalid:
            slot = self.slots.get(key)
            if slot is not None and slot.progress is OfferProgress.SCORING:
                slot.progress, slot.text = OfferProgress.FAILED, text

    def scoring_failed(self) -> None:
        """The worker died: the offers wait for the next one."""
        for slot in self.slots.values():
            if slot.progress is OfferProgress.SCORING:
                slot.progress = OfferProgress.HELD

    # -- the own card -------------------------------------------------------------------------------------------------

    def expected(self, now: Millis) -> frozenset[NodeId]:
        """E: the trainers that are here and whose offers came in most rounds; all that are here, if these are less than a third.

        Otherwise adversaries who offer what they never trained would set the pace alone once the others had failed for a while.
        """
        here = self._here(now)
        reliable = here & self._offering
        return reliable if 3 * len(reliable) >= len(here) else here

    def _here(self, now: Millis) -> frozenset[NodeId]:
        """Active trainers, not idle, known to be present, or that were in the previous round and have T0 to say so again."""
        context = self._context
        elapsed, t0 = now - self.opened, context.params.view_timeout
        present = set(self.beacons)
        if context.round == 0 and elapsed < STARTUP_VIEWS * t0:
            accounts = members_of(context.state)  # without those whom managers have just declared gone
            present |= {account.node for account in accounts if account.retired_round != context.round}
        elif elapsed < t0:
            present |= self._before.present
        if self._knows_nobody and elapsed < RESTART_VIEWS * t0:
            present |= context.members
        return (self._trainers & present) - self.words.idle

    @property
    def _knows_nobody(self) -> bool:
        """Whether this node has just started, where that matters to others."""
        return self.closing.enabled and not self._before.present

    def _far(self) -> frozenset[NodeId]:
        """In a patient round also the connected trainers of which nothing has come yet: the word of a slow or far one takes
        longer than a short round, so it would be here in none.
        """
        patient = self._context.round % PATIENT_EVERY == 0
        return self._trainers & self.words.training if patient else frozenset()

    def _expectations(self, now: Millis) -> Expectations:
        """How far the offers have come."""
        final = (OfferProgress.SCORED, OfferProgress.FAILED)
        expected = self.expected(now)
        return Expectations(
            expected=expected,
            others=(self._here(now) | self._far()) - expected,
            scored=frozenset(slot.offer.author for slot in self.slots.values() if slot.progress is OfferProgress.SCORED),
            settled=frozenset(slot.offer.author for slot in self.slots.values() if slot.progress in final),
            pending=any(slot.progress not in final for slot in self.slots.values()),
            offered=frozenset(slot.offer.author for slot in self.slots.values()),
        )

    def close_due(self, now: Millis) -> bool:
        """Whether this seat is to take no further offers (design 5.2): at once where an honest one has closed, else as a card is
        due, by what is offered instead of scored."""
        return self.closing.is_open and (self.closing.others_have or self._is_due(now))

    def close(self, now: Millis) -> None:
        """Take no further offers: the card waits for what is here, at most as long as for offers, or the collect deadline."""
        self.closing.close(now)
        params = self._context.params
        longest = Millis(max(params.collect_deadline, now - self.opened))
        self._timer = CardTimer(params, self._context.round, now, longest)

    def card_due(self, now: Millis) -> bool:
        """Whether the own card is to be sent now (design 5.3): at once, after a grace, or at the collect deadline."""
        return not self.closing.is_open and self._is_due(now)

    def _is_due(self, now: Millis) -> bool:
        awaited = self._awaited(now)
        self._timer.look(now, awaited)
        return now >= self._timer.due_at(now, awaited)

    def _awaited(self, now: Millis) -> Expectations:
        """What is waited for next: with late serving first that all have offered, then that what is offered is settled."""
        seen, closing = self._expectations(now), self.closing
        if closing.is_open:
            return replace(seen, scored=seen.offered, settled=seen.offered, pending=False)
        if closing.closed_at is None:
            return seen
        # How long they trained tells nothing of those that have offered, and what nobody can settle is not waited for.
        expected, others = seen.expected & seen.offered, seen.others & seen.offered
        return replace(seen, expected=expected, others=others, offered=frozenset(), closed=True)

    def deadline(self, now: Millis) -> Millis | None:
        """When offers are closed, or the own card is due, or `expected` changes by time alone; then when the card is shown."""
        if self.own_card is not None:
            return self.sealing.show_at()
        context = self._context
        t0 = context.params.view_timeout
        views = [1] + [STARTUP_VIEWS] * (context.round == 0) + [RESTART_VIEWS] * self._knows_nobody
        edges = [self.opened + count * t0 for count in views]
        due = self._timer.due_at(now, self._awaited(now))
        return Millis(min([edge for edge in edges if edge > now] + [due]))

    def card_body(self, noise: Noise, *, silent: bool = False) -> ScoreCard:
        """The own card as it stands, with `noise` in all that it says of our rows; a `silent` one says nothing of them."""
        context, state = self._context, self._context.state
        least = MicroNats(-margin_of(context.params, state))
        entries = () if silent else entries_of(self.slots, noise, context.params.odd_limit, least, context.head_hash)
        loss, accuracy = self.base or (MicroNats(0), PartsPerMillion(0))
        card = ScoreCard(
            chain=state.chain,
            round=state.round,
            epoch=state.epoch,
            parent=context.head_hash,
            committee=committee_hash(state.epoch, state.committee),
            base_loss=coarse_loss(noise.loss(loss, context.head_hash)) if entries else None,
            base_accuracy=coarse_accuracy(noise.accuracy(accuracy, context.head_hash)) if entries else None,
            entries=entries,
            present=tuple(sorted((self.beacons | {context.me}) & context.members)),
            decided=self._before.view,
        )
        return fit_card(card, context.me, seed_of(state))

    def ready_cards(self) -> list[Signed[ScoreCard]]:
        """Each member's first card, in the order in which a leader packs them (design 5.4)."""
        return self.sealing.in_time_first(by_lot(self.first_cards.values(), self._context.f, seed_of(self._context.state)))
