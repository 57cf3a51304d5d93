"""This node's own work in one round: get the model, train and offer; in the committee fetch, score and send the card.

Invariants: one offer and one card a round and epoch, durable before they are said; nothing is trained or scored before the
round's model is here; whatever failed is tried again after T0, training at most three times.
"""

from dataclasses import replace
from typing import Final

from bflcd.core.effects import Blame, Effect, FetchBlob, Persist, Score, Send, Train, notice
from bflcd.core.events import BlobMissing, Instant, Scored, Trained, WorkFailed
from bflcd.core.node_events import EventKind
from bflcd.core.records import OfferRecord, OwnRecord, Pin
from bflcd.core.round.collection import Collection
from bflcd.core.round.context import RoundContext, update_label_of
from bflcd.core.round.retransmission import Retransmissions
from bflcd.core.trust.judging_account import JudgingAccount, Told
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.identity import Signer
from bflcd.errors import Rejection
from bflcd.ledger.influence.step_limit import step_limit
from bflcd.ledger.trust.canaries import own_proof
from bflcd.ledger.trust.noise import Noise
from bflcd.params import BlobRef
from bflcd.types import Digest, Millis, short
from bflcd.wire.blocks import committee_hash
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Signed, seal, sealed_digest
from bflcd.wire.messages import CardSeal, Offer, OffersClosed, ScoreCard, SignedBody
from bflcd.wire.privacy import PrivacyClaim

MAX_TRAINING_FAILURES: Final = 2
"""After more of them in one round it goes on without our offer."""


class LocalWork:
    """What is done and under way in the running round. `may_sign` comes with each call: it can change within a round."""

    def __init__(
        self,
        context: RoundContext,
        collection: Collection,
        retransmissions: Retransmissions,
        signer: Signer,
        private_seed: bytes,
        *,
        account: JudgingAccount,
    ) -> None:
        """`private_seed`: from which the round's draws follow; `account`: of what our cards have told of our rows."""
        self._context = context
        self._collection = collection
        self._retransmissions = retransmissions
        self._signer = signer
        self._private_seed = private_seed
        self._account = account
        self.model_here = False
        self._retry_at: Millis | None = None
        """When what failed is tried again."""
        self.own_offer: Signed[Offer] | None = None
        self.trained: tuple[BlobRef, int, PrivacyClaim | None] | None = None
        """What was trained in this round, its samples and its claim of privacy: a recovery doesn't make it worthless."""
        self.training = self.busy = False
        self._failures = 0
        self._closed_said = self._card_shown = False

    def inherit(self, before: "LocalWork") -> None:
        """Go on in a new epoch of the same round: the model, the work under way and what was trained stay."""
        self.model_here, self.trained = before.model_here, before.trained
        self.training, self.busy = before.training, before.busy

    def has_offered(self, offer: Offer) -> None:
        """What was trained before a restart, or in an older epoch, is not trained again."""
        self.trained = (offer.blob, offer.samples, offer.privacy)

    def deadline(self) -> Millis | None:
        """When what failed wants to be tried again."""
        return self._retry_at

    # -- payloads -----------------------------------------------------------------------------------------------------

    def fetch_model(self) -> list[Effect]:
        """The round's model: the committee that made it has it, and whoever has fetched it since.

        Nobody gives it to us if we owe.
        """
        context = self._context
        return [] if context.owes else [FetchBlob(context.head_blob, context.committee, context.round, None, anyone=True)]

    def blob_fetched(self, root: Digest, rate: int) -> None:
        """A payload is complete and met its specification; `rate` as in `BlobFetched`."""
        self.model_here = self.model_here or root == self._context.head_blob.root
        self._collection.blob_fetched(root, rate)

    def blob_lost(self, root: Digest, now: Instant) -> list[Effect]:
        """A payload turned out damaged on our disk: forget it and fetch it again."""
        self._collection.blob_lost(root)
        if root == self._context.head_blob.root:
            self.model_here = False
            self._retry_at = now.mono
        return [notice(self._context.round, EventKind.BLOB_LOST, f"the payload {short(root)} was damaged and is fetched again")]

    def blob_missing(self, event: BlobMissing, now: Instant) -> list[Effect]:
        """Nobody gave a payload, or it broke its specification."""
        self._collection.blob_missing(event.root, event.label, refused=event.refused, text=event.text)
        if event.root == self._context.head_blob.root and not self.model_here:
            self._retry_later(now)
        return [notice(self._context.round, EventKind.BLOB_MISSING, event.text, root=event.root.hex())]

    # -- results ------------------------------------------------------------------------------------------------------

    def has_trained(self, event: Trained, now: Instant, *, may_sign: bool) -> list[Effect] | None:
        """Offer what was trained. None if nobody waits for it any more."""
        if event.round != self._context.round or not self.training:
            return None
        self.training = self.busy = False
        self.trained = (event.blob, event.samples, event.claim)
        text = f"trained on {event.samples} samples, loss {event.loss:.4f}"
        done = notice(self._context.round, EventKind.TRAINED, text, samples=event.samples)
        return [*self.offer(now, may_sign=may_sign), done]

    def scored(self, event: Scored) -> list[Effect]:
        """Scores of this round; who offered what can't be judged is blamed."""
        self.busy = False
        self._collection.scored(event.result)
        slots = ((self._collection.slots.get(key), text) for key, text in event.result.invalid)
        return [Blame(slot.offer.author, Rejection.BAD_TENSOR, text) for slot, text in slots if slot is not None]

    def failed(self, event: WorkFailed, now: Instant) -> list[Effect]:
        """The worker could not train or score in this round."""
        self.busy = False
        if event.final:
            self.training, self._failures = False, MAX_TRAINING_FAILURES + 1
            return []
        self._retry_later(now)
        if event.training:
            self.training = False
            self._failures += 1
        else:
            self._collection.scoring_failed()
        return [notice(self._context.round, EventKind.WORK_FAILED, event.text)]

    # -- what can go on -----------------------------------------------------------------------------------------------

    def fetch_again(self, now: Instant) -> list[Effect]:
        """After a failure's pause: the model, if that is what is missing."""
        if self._retry_at is None or now.mono < self._retry_at:
            return []
        self._retry_at = None
        return [] if self.model_here else self.fetch_model()

    def start_training(self, *, may_sign: bool) -> list[Effect]:
        """Train once the model is here, if our offer would count."""
        context = self._context
        wanted = may_sign and context.trains and not context.bound
        wanted = wanted and self.trained is None and not self.training
        if not wanted or not self._can_begin() or self._failures > MAX_TRAINING_FAILURES:
            return []
        self.training = self.busy = True
        state = context.state
        canary = own_proof(context.params.canary_share, state.chain, state.round, state.lot, self._signer) is not None
        return [Train(context.round, context.head_blob, self._draw(b"train"), canary, state.known)]

    def judge(self, now: Instant, *, may_sign: bool) -> list[Effect]:
        """A member's work up to its card: get the updates, score them, sign the card when it is due, show it in its time."""
        context, collection = self._context, self._collection
        collection.sealing.look(now.mono)
        effects = self._close_offers(now) if may_sign and not context.bound else []
        if collection.own_card is not None:
            return effects + self._show_card(now)
        for slot in collection.wanted_blobs():
            label = update_label_of(context, slot.offer.author)
            holders = (slot.offer.author, *context.judges_but_me)  # whoever of us has it already serves it too
            effects.append(FetchBlob(slot.offer.body.blob, holders, context.round, label, anyone=False))
        if self._can_begin() and not context.bound:
            offers = collection.to_score()
            if offers:
                self.busy = True
                limit = step_limit(context.params.norm_clip, context.state.usual_norm)
                known, seed = context.state.known, self._draw(b"score")
                effects.append(Score(context.round, context.head_blob, offers, seed, limit, known))
        if may_sign and not context.bound and collection.card_due(now.mono):
            effects += self._send_card(now)
        return effects

    def has_closed(self, word: Signed[OffersClosed]) -> None:
        """Before a restart this seat said that it takes no further offers than those that it holds."""
        self._closed_said = True
        self._collection.closing.said(word)

    def _close_offers(self, now: Instant) -> list[Effect]:
        """Take no further offers once that is due, and say so to the other seats."""
        collection = self._collection
        if collection.close_due(now.mono):
            collection.close(now.mono)
        if collection.closing.closed_at is None or self._closed_said:
            return []
        self._closed_said = True
        word = seal(OffersClosed(*self._context.place), self._signer)
        collection.closing.said(word)
        text = f"we take no further offers, {len(collection.slots)} are here"
        state = self._context.state
        own = OwnRecord(state.round, state.epoch, number_of(OffersClosed), word.envelope)
        here = tuple(OfferRecord(state.round, slot.offer.envelope) for slot in collection.slots.values())
        return [
            Persist((*here, own)),  # who starts again has them, and takes no others
            self.speak(word, now, durable=True),
            notice(self._context.round, EventKind.OFFERS_CLOSED, text, node=self._context.me.hex()),
        ]

    def offer(self, now: Instant, *, may_sign: bool) -> list[Effect]:
        """Offer what was trained, if that is not done in this epoch: a recovery changes who is asked, not the work."""
        state = self._context.state
        if self.trained is None or self.own_offer is not None or not self._context.trains or not may_sign:
            return []
        blob, samples, claim = self.trained
        body = Offer(
            chain=state.chain,
            round=state.round,
            epoch=state.epoch,
            parent=self._context.head_hash,
            committee=committee_hash(state.epoch, state.committee),
            blob=blob,
            samples=samples,
            privacy=claim,
        )
        offer = seal(body, self._signer)
        self.hold_own(offer)
        own = OwnRecord(state.round, state.epoch, number_of(Offer), offer.envelope)
        return [Persist((own, Pin(blob.root, state.round)), (blob,)), self.speak(offer, now, durable=True)]

    def hold_own(self, offer: Signed[Offer]) -> None:
        """Our offer of this epoch; in a small community a member judges its own update too."""
        self.own_offer = offer
        if self._context.judges:
            self._collection.blob_fetched(offer.body.blob.root)
            self._collection.add_offer(offer)

    def speak(self, signed: Signed[SignedBody], now: Instant, *, durable: bool) -> Send:
        """Say to the committee what we signed, now and again until the round closes; the `durable`, or awaited, more often."""
        to = self._context.judges_but_me
        if to:
            self._retransmissions.add(signed.envelope, now.mono, to=to, urgent=durable)
        return Send(signed.envelope, to)

    def _send_card(self, now: Instant) -> list[Effect]:
        state, collection = self._context.state, self._collection
        noise = Noise.of(self._context.params, self._private_seed, state.round, state.epoch, collection.rows)
        body = collection.card_body(noise)
        told = Told(state.round, state.epoch, noise.answers(len(body.entries)), state.chain)
        spent = bool(body.entries) and not self._account.affords(told)
        if spent:
            body, told = collection.card_body(noise, silent=True), replace(told, answers=noise.answers(0))
        card = seal(body, self._signer)
        collection.hold_own(card)
        pins = tuple(Pin(entry.root, state.round) for entry in card.body.entries)
        offers = [collection.offers[entry.offer] for entry in card.body.entries]
        named = tuple(OfferRecord(state.round, offer.envelope) for offer in offers)
        own = OwnRecord(state.round, state.epoch, number_of(ScoreCard), card.envelope)
        blobs = tuple(offer.body.blob for offer in offers)
        silent = [notice(state.round, EventKind.BUDGET_SPENT, self._account.refusal)] if spent else []
        if not collection.sealing.enabled:
            return [Persist((own, *named, *pins), blobs, told), *self._say_card(card, now), *silent]
        bound = self._seal_of(card)
        collection.sealing.add(bound, now.mono)
        before = OwnRecord(state.round, state.epoch, number_of(CardSeal), bound.envelope)
        return [
            Persist((before, own, *named, *pins), blobs, told),  # the card last, so that it is what the mark names
            self.speak(bound, now, durable=True),
            notice(state.round, EventKind.SEALED, "sealed our card", node=self._context.me.hex()),
            *self._show_card(now),
            *silent,
        ]

    def _seal_of(self, card: Signed[ScoreCard]) -> Signed[CardSeal]:
        body = card.body
        place = (body.chain, body.round, body.epoch, body.parent, body.committee)
        return seal(CardSeal(*place, sealed_digest(card.envelope)), self._signer)

    def _show_card(self, now: Instant) -> list[Effect]:
        """Send the sealed card, once its time has come."""
        card = self._collection.own_card
        if card is None or self._card_shown or not self._collection.sealing.may_show(now.mono):
            return []
        self._card_shown = True
        self._collection.add_card(card)
        self._collection.sealing.look(now.mono)
        return self._say_card(card, now)

    def _say_card(self, card: Signed[ScoreCard], now: Instant) -> list[Effect]:
        entries, me = len(card.body.entries), self._context.me.hex()
        text = f"sent our card with {entries} scores"
        return [
            self.speak(card, now, durable=True),
            notice(self._context.round, EventKind.CARD, text, node=me, entries=entries),
        ]

    def _can_begin(self) -> bool:
        return self.model_here and not self.busy and self._retry_at is None

    def _retry_later(self, now: Instant) -> None:
        self._retry_at = Millis(now.mono + self._context.params.view_timeout)

    def _draw(self, purpose: bytes) -> int:
        drawn = digest(Domain.PRIVATE, self._private_seed, integer(self._context.round), purpose)
        return int.from_bytes(drawn[:7], "big")
