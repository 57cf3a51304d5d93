"""The node's pure core: one round after the other, events in, effects out.

A round: the head's model is here -> trainers train and offer; members of the committee fetch, score, send one card; with q cards
the leader's segment is decided by the PBFT machine; the certificate and the segment are committed and the next round opens.
Whoever holds no seat waits for an announcement, pulls the segment, checks all of it and commits. Nothing waits for one node:
every wait has a deadline, everything said is said again until the round closes.

Invariants: what is signed is durable first (`Persist` before `Send`); one offer and one card a round and epoch; a segment is
committed only with its certificate and after the transition function accepted it; messages of a past round are answered with that
round's certificate, those of the next round are kept within bounds, later ones only show that we are behind.
"""

from collections import deque
from dataclasses import replace
from typing import Final

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.events import Journal
from bflcd.consensus.pbft import Pbft
from bflcd.core.agreement import Agreement
from bflcd.core.certificates import Certificates
from bflcd.core.collection import Collection
from bflcd.core.effects import (
    Blame,
    CancelWork,
    Commit,
    Effect,
    Halt,
    Notice,
    Persist,
    Send,
    notice,
)
from bflcd.core.equivocation import EquivocationHandler
from bflcd.core.events import (
    Aggregated,
    BlobFetched,
    BlobLost,
    BlobMissing,
    Confirmed,
    EnvelopesFetched,
    Event,
    EvidenceFetched,
    Instant,
    MessageReceived,
    RecoverySigned,
    Scored,
    SegmentFetched,
    Started,
    SyncChanged,
    Trained,
    WorkFailed,
)
from bflcd.core.evidence_pool import EvidencePool
from bflcd.core.intake import MessageIntake
from bflcd.core.local_work import LocalWork
from bflcd.core.records import EvidenceRecord, Head, RecoveryRecord, RoundRecords
from bflcd.core.recovery_signatures import CONFLICT_HINT, RecoverySignatures
from bflcd.core.retransmission import Retransmissions
from bflcd.core.round_context import RoundContext
from bflcd.core.signing_guard import SigningGuard
from bflcd.crypto.identity import Signer
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.judgement import Judgement
from bflcd.ledger.oversight import unexplained
from bflcd.ledger.roles import account_of
from bflcd.ledger.transition import validate_segment
from bflcd.params import Genesis
from bflcd.types import Epoch, Millis, NodeId, Round, short
from bflcd.wire.blocks import Certificate, CertifiedSegment, committee_hash, header_hash, segment_digest
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, Signed, Verify, open_envelope, seal
from bflcd.wire.evidence import Evidence
from bflcd.wire.messages import (
    PUNISHABLE,
    Announcement,
    Beacon,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    Prepare,
    PrePrepare,
    PunishableBody,
    ScoreCard,
    SignedBody,
    ViewChange,
)
from bflcd.wire.messages import (
    Commit as CommitVote,
)
from bflcd.wire.recovery import Recovery, RecoveryCertificate

MAX_EARLY: Final = 512
"""Messages of the next round that are kept until it opens."""

MAX_EARLY_EACH: Final = 16
"""Of them, by one author."""

_BODIES: Final = (Beacon, Offer, ScoreCard, PrePrepare, Prepare, CommitVote, ViewChange)


class Core:
    """One node. `handle` and `tick` take the time and return effects, which the runtime carries out in order."""

    def __init__(
        self,
        genesis: Genesis,
        head: Head,
        signer: Signer,
        verify: Verify,
        private_seed: bytes,
        *,
        guard: SigningGuard,
        train: bool,
    ) -> None:
        """`private_seed`: secret randomness of this node, from which each round's draws follow. `train` False: never offers."""
        self._genesis = genesis
        self._signer = signer
        self._verify = verify
        self._private_seed = private_seed
        self._guard = guard
        self._train = train
        self._synced_from = Round(0)
        self._early: deque[tuple[Round, MessageReceived]] = deque(maxlen=MAX_EARLY)
        self.last_judgement: Judgement | None = None
        self.last_weights: tuple[int, ...] = ()
        self.previous_present: frozenset[NodeId] = frozenset()
        self.syncing = False
        self.started = False
        self._records: RoundRecords | None = None
        self.evidence = EvidencePool()
        self._equivocation = EquivocationHandler(self.evidence, signer.node_id, verify)
        self.certificates = Certificates(RoundContext(genesis, head, signer.node_id), self._equivocation, verify)
        self._set_round(head, Millis(0))

    # -- entry points -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event. Whatever a peer sent is refused by effect, never by exception."""
        match event:
            case Started():
                return self._start(event, now)
            case Confirmed(round_):
                return self._confirmed(round_, now)
            case MessageReceived():
                return self._heard(event, now)
            case BlobFetched(root, rate):
                self.work.blob_fetched(root, rate)
                return self._advance(now)
            case BlobMissing():
                return self.work.blob_missing(event, now) + self._advance(now)
            case BlobLost(root):
                return self.work.blob_lost(root, now) + self._advance(now)
            case Trained():
                done = self.work.has_trained(event, now, may_sign=self.may_sign)
                return [] if done is None else done + self._advance(now)
            case Scored(round_):
                return self.work.scored(event) + self._advance(now) if round_ == self.context.round else []
            case WorkFailed(round_):
                return self.work.failed(event, now) + self._advance(now) if round_ == self.context.round else []
            case Aggregated(key, model):
                if self.agreement is not None:
                    self.agreement.aggregated(key, model)
                self.collection.blob_fetched(model.root)
                return self._advance(now)
            case EnvelopesFetched(round_):
                return self.intake.pulled(event) + self._advance(now) if round_ == self.context.round else []
            case EvidenceFetched(round_):
                state = self.context.state
                return self._equivocation.here(state, event) + self._advance(now) if round_ == state.round else []
            case RecoverySigned():
                return self._recovery_signed(event, now)
            case SegmentFetched():
                return self._segment_here(event, now)
            case SyncChanged(active):
                return self._sync_changed(now, active=active)

    def tick(self, now: Instant) -> list[Effect]:
        """Let time pass: timers, re-sends, deadlines."""
        if not self.started or self.syncing:
            return []
        effects: list[Effect] = [Send(message) for message in self._retransmissions.due(now.mono)]
        effects += self.certificates.tick(now)
        if self.agreement is not None:
            effects += self._agreed(self.agreement.tick(now), now)
        return effects + self._advance(now)

    def deadline(self, now: Instant) -> Millis | None:
        """When `tick` wants to run, at the latest."""
        if not self.started or self.syncing:
            return None
        if self.context.finished:
            return min((wait for wait in (self.certificates.deadline(), self.work.retry_at) if wait is not None), default=None)
        waits = [self._retransmissions.deadline(), self.work.retry_at, self.certificates.deadline()]
        if self.agreement is not None:
            waits.append(self.agreement.deadline())
            if self.collection.own_card is None:
                waits.append(self.collection.next_change(now.mono))
        times = [wait for wait in waits if wait is not None]
        return Millis(min(times)) if times else None

    # -- opening and closing a round ----------------------------------------------------------------------------------

    def _set_round(self, head: Head, now: Millis, recovery: RecoveryCertificate | None = None) -> None:
        self.context = RoundContext(self._genesis, head, self._signer.node_id, recovery)
        self.recoveries = RecoverySignatures(self.context.first_instance, head.state.managers, self._verify)
        self.evidence.settle(head.state)
        self.collection = Collection(self.context, now, self.previous_present)
        self._retransmissions = Retransmissions(self.context.params.view_timeout)
        self.intake = MessageIntake(self.context, self.collection, self._equivocation, self._verify)
        self.work = LocalWork(
            self.context, self.collection, self._retransmissions, self._signer, self._private_seed, train=self._train
        )
        self.certificates.open(self.context)
        self.agreement: Agreement | None = None

    def _start(self, event: Started, now: Instant) -> list[Effect]:
        self.started = True
        self._records = event.records
        signed = (r.certificate for r in event.records.recoveries if self.recoveries.complete(r.certificate))
        recoveries = sorted(signed, key=lambda certificate: certificate.recovery.epoch)
        if len(recoveries) > 1 and recoveries[-1].recovery.epoch == recoveries[-2].recovery.epoch:
            text = f"managers signed two different recoveries for epoch {recoveries[-1].recovery.epoch} of this round"
            return [Halt(text, CONFLICT_HINT)]
        self._set_round(self.context.head, now.mono, recoveries[-1] if recoveries else None)
        for own in event.records.own:
            if own.phase == number_of(Recovery):  # before anything is opened: it forbids votes in the lower epochs
                self.recoveries.signed = max(self.recoveries.signed, own.epoch)
        for record in event.records.evidence:
            self.evidence.add(record.evidence)
        return self._open(now)

    def _confirmed(self, round_: Round, now: Instant) -> list[Effect]:
        """A node that can't know what it signed learns where the others stand.

        Where nobody has begun it is new; else it signs nothing up to the round after that head: two model blocks past it
        (design 6.3).
        """
        if not self._guard.in_doubt:
            return []
        known = max(round_, self.context.round)
        if self._guard.confirmed(known):
            held = f"it signs nothing up to round {self._guard.floor}"
            text = f"others stand at round {known}, and this node knows nothing of it: {held}"
            return [self._notice("signing_held", text)]
        if self.syncing or not self.may_sign or not self.context.judges:
            return self._advance(now)
        return self._open_agreement(now) + self._advance(now)

    def _open(self, now: Instant) -> list[Effect]:
        """Begin the head's round: say that we are here, get its model, restore what was signed before a restart."""
        context = self.context
        effects: list[Effect] = [self._notice("round_opened", f"round {context.round} is open, we {self._role_text()}")]
        if context.finished:
            text = f"the community has reached its last round, {context.round}"
            return [*effects, self._notice("finished", text), self.work.fetch_model()]
        if account_of(context.state, context.me) is not None:
            effects.append(self.work.speak(seal(self._beacon(), self._signer), now, durable=False))
        if context.judges:
            effects += self._open_agreement(now)
        for piece in self.evidence.values():
            effects += [Persist((EvidenceRecord(context.round, piece),)), Send(piece)]
        effects.append(self.work.fetch_model())
        effects += self._restore(now)
        for round_, heard in tuple(self._early):
            if round_ == context.round:
                effects += self._heard(heard, now)
        self._early = deque((e for e in self._early if e[0] > self.context.round), maxlen=MAX_EARLY)
        return effects

    def _open_agreement(self, now: Instant) -> list[Effect]:
        records = self._records
        context = self.context
        journal = records.journal(context.state.epoch) if records else Journal()
        signer = self._signer if self.may_sign else None
        self.agreement = Agreement(context, self.collection, self.evidence, signer=signer, verify=self._verify, journal=journal)
        if not self.may_sign:
            return [
                self._notice("signing_held", "what this node signed before is not known for sure: it signs nothing in this round")
            ]
        return self._agreed(self.agreement.tick(now), now)

    def _restore(self, now: Instant) -> list[Effect]:
        """Take up what this node said in the running round before it stopped."""
        records, self._records = self._records, None
        if records is None:
            return []
        effects: list[Effect] = []
        for record in records.own:
            signed: Signed[Offer | ScoreCard | Recovery] = open_envelope(record.envelope, (Offer, ScoreCard, Recovery))
            if isinstance(signed.body, Recovery):
                continue  # the certificate with our signature alone stands beside it
            if isinstance(signed.body, Offer):
                self.work.trained = (signed.body.blob, signed.body.samples)
            if record.epoch != self.context.state.epoch:
                continue
            self._retransmissions.add(record.envelope, now.mono)
            effects.append(Send(record.envelope, self.context.judges_but_me))
            if isinstance(signed.body, Offer):
                self.work.hold_own(Signed(signed.body, record.envelope))
            else:
                card = Signed(signed.body, record.envelope)
                self.collection.own_card = card
                self.collection.add_card(card)
        for certificate in self.recoveries.restored(records.recoveries, self.context):
            self._retransmissions.add(certificate, now.mono)
            effects.append(Send(certificate))
        for held in records.offers:
            offer: Signed[Offer] = open_envelope(held.envelope, (Offer,))
            if self.context.counts(offer.body.epoch):
                effects += self.intake.keep(held.envelope)
        for proposal in records.proposals:
            for piece in proposal.evidence:
                self.evidence.add(piece, wanted=True)
            if not self.context.counts(proposal.proposal.epoch):
                continue  # a recovery has ended the epoch in which it was found right, and does not name it
            for envelope in (*proposal.cards, *proposal.offers):
                effects += self.intake.keep(envelope)
            if self.agreement is not None:
                self.agreement.restore(proposal)
        return effects + self.work.offer(now, may_sign=self.may_sign) + self._advance(now)

    def _closed(self, certified: CertifiedSegment, now: Instant) -> list[Effect]:
        """Check a certified segment against the head, commit it, open the next round. Raises PeerError."""
        certificate, segment = certified.certificate, certified.segment
        context = self.context.decided_by(certificate, self._verify)
        verify_certificate(certificate, context.instance, self._verify)
        header = segment.model_header
        if segment_digest(segment) != certificate.digest or header.model is None:
            raise PeerError(Rejection.BAD_SEGMENT, "the segment is not the one that the certificate is for")
        before = context.state_of(header.model.epoch)
        outcome = validate_segment(context.params, before, context.head_header, segment, self._verify)
        state = outcome.state
        self.last_judgement = outcome.judgement
        self.last_weights = segment.model.weights
        self.previous_present = frozenset(self.last_judgement.present)
        packed = sum(update.offer is not None for update in segment.updates)
        text = f"round {context.round} closed with {packed} of {context.params.places} places filled, view {certificate.view}"
        effects: list[Effect] = [
            Commit(certified, state),
            CancelWork(state.round),
            *self.certificates.closed(certificate, context, now),
            self._notice("committed", text, packed=packed, view=certificate.view, height=header.height),
        ]
        own = self.collection.own_card
        doubt = None if own is None else unexplained(context.params, outcome.judgement, own.body)
        if doubt is not None:
            text = f"round {context.round}: {doubt}; a majority of its committee may have colluded"
            effects.append(self._notice("unexplained", text))
        self._set_round(Head(header, header_hash(header), state), now.mono)
        self._records = None
        if self.syncing:
            return effects
        return effects + self._open(now)

    # -- what is heard ------------------------------------------------------------------------------------------------

    def _heard(self, event: MessageReceived, now: Instant) -> list[Effect]:
        if not self.started:
            return []
        try:
            return self._dispatch(event, now)
        except PeerError as error:
            blame = Blame(event.peer, error.rejection, str(error))
            # whoever stands on another block than ours in this round may hold a certificate that contradicts ours: show it
            return [blame, *self.certificates.answer(now)] if error.rejection is Rejection.WRONG_PARENT else [blame]

    def _dispatch(self, event: MessageReceived, now: Instant) -> list[Effect]:
        message = event.message
        if isinstance(message, Announcement):
            return self._announced(message.certificate, event.peer, now)
        if isinstance(message, Evidence):
            return self._evidence_heard(message, event.peer, now)
        if isinstance(message, RecoveryCertificate):
            return self._recovery_heard(message, event.peer, now)
        envelope = _envelope_of(message)
        signed: Signed[SignedBody] = open_envelope(envelope, _BODIES)
        body = signed.body
        if body.chain != self.context.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a message of chain {short(body.chain)}")
        if body.round != self.context.round:
            return self._other_round(event, envelope.author, body.round, now)
        if self.context.finished or self.syncing or envelope.author == self.context.me:
            return []
        if body.epoch != self.context.state.epoch:
            return self._other_epoch(body.epoch, now)
        match body:
            case Beacon():
                return self._heard_and_on(self.intake.beacon(Signed(body, envelope)), now)
            case Offer():
                return self._heard_and_on(self.intake.offer(Signed(body, envelope)), now)
            case ScoreCard():
                known = self.intake.card(Signed(body, envelope)) if self.context.judges else []
                return self._heard_and_on(known, now)
            case _:
                return self._vote_heard(_vote_of(message), event.peer, now)

    def _heard_and_on(self, news: list[Effect], now: Instant) -> list[Effect]:
        """What is heard again changes nothing."""
        return news + self._advance(now) if news else []

    def _vote_heard(
        self, message: Envelope | JustifiedPrePrepare | JustifiedViewChange, peer: NodeId, now: Instant
    ) -> list[Effect]:
        if self.agreement is None:
            return []
        wanted = self._agreed(self.agreement.heard(message, now), now)
        # what is not proven against its author counts against who passed it on
        named = [replace(effect, node=peer) if isinstance(effect, Blame) and effect.node is None else effect for effect in wanted]
        return named + self._advance(now)

    def _other_round(self, event: MessageReceived, author: NodeId, round_: Round, now: Instant) -> list[Effect]:
        current = self.context.round
        if account_of(self.context.state, author) is None:
            raise PeerError(Rejection.NOT_MEMBER, f"{short(author)} is no member")
        if round_ < current:
            return self.certificates.answer(now)
        if not self._verify(_envelope_of_heard(event)):
            raise PeerError(Rejection.BAD_SIGNATURE, f"a message of round {round_} in the name of {short(author)}")
        if round_ == current + 1:
            kept = sum(1 for _, heard in self._early if _envelope_of_heard(heard).author == author)
            if kept < MAX_EARLY_EACH:
                self._early.append((round_, event))
            return self.certificates.want_segment(now, (event.peer, author))
        return self.certificates.fall_behind(Round(round_), event.peer, now)

    def _announced(self, certificate: Certificate, peer: NodeId, now: Instant) -> list[Effect]:
        effects = self.certificates.announced(certificate, peer, now, syncing=self.syncing)
        return self._certificate_known(certificate, (peer,), now) if effects is None else effects

    def _certificate_known(self, certificate: Certificate, holders: tuple[NodeId, ...], now: Instant) -> list[Effect]:
        """The round is decided: commit at once if the segment is at hand, else pull it."""
        self.certificates.pending = certificate
        segment = None if self.agreement is None else self.agreement.segment_of(certificate.digest)
        if segment is not None:
            return self._closed(CertifiedSegment(segment, certificate), now)
        signers = tuple(node for node, _ in certificate.signatures)
        return self.certificates.want_segment(now, holders + signers)

    def _segment_here(self, event: SegmentFetched, now: Instant) -> list[Effect]:
        if event.certified.segment.model_header.round != self.context.round + 1:
            return []
        try:
            return self._closed(event.certified, now)
        except PeerError as error:
            self.certificates.segment_refused()
            return [Blame(event.source, error.rejection, str(error))]

    # -- liars, and what managers decide -------------------------------------------------------------------------------

    def _evidence_heard(self, evidence: Evidence, peer: NodeId, now: Instant) -> list[Effect]:
        state = self.context.state
        first: Signed[PunishableBody] = open_envelope(evidence.first, PUNISHABLE)
        if first.body.chain == state.chain and first.body.round > state.round:
            return self.certificates.fall_behind(first.body.round, peer, now)  # not ours to judge yet, and perhaps true
        return self._heard_and_on(self._equivocation.heard(state, evidence), now)

    def _other_epoch(self, epoch: Epoch, now: Instant) -> list[Effect]:
        """A recovery has ended the lower epochs of this round; who still speaks in one is told of it, at most once every T0.

        Whoever speaks of a higher one tells us when it hears us.
        """
        recovery = self.context.recovery
        if recovery is None or epoch > self.context.state.epoch:
            return []
        return self.certificates.answer_epoch(recovery, now)

    def _recovery_heard(self, certificate: RecoveryCertificate, peer: NodeId, now: Instant) -> list[Effect]:
        recovery, context = certificate.recovery, self.context
        if recovery.chain != context.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a recovery of chain {short(recovery.chain)}")
        if recovery.round < context.round:
            return self.certificates.answer(now)
        if recovery.round > context.round:
            return self.certificates.fall_behind(recovery.round, peer, now)
        if self.syncing or context.finished or recovery.epoch < context.state.epoch:
            return []
        joined, is_more = self.recoveries.add(certificate)
        return self._recovery_grew(joined, now) if is_more else []

    def _recovery_grew(self, certificate: RecoveryCertificate, now: Instant) -> list[Effect]:
        effects = self.recoveries.grew(certificate, self.context)
        return self._adopt(certificate, now) if effects is None else effects

    def _adopt(self, certificate: RecoveryCertificate, now: Instant) -> list[Effect]:
        """The round goes on in a new epoch under the committee that managers gave it. Raises PeerError(BAD_RECOVERY)."""
        recovery = certificate.recovery
        RoundContext(self._genesis, self.context.head, self.context.me, certificate)  # before anything is changed
        text = (
            f"managers have given round {recovery.round} a new committee of {len(recovery.committee)}, epoch {recovery.epoch}"
            + ("; it decides what the old one had prepared" if recovery.prepared else "")
        )
        effects: list[Effect] = [
            Persist((RecoveryRecord(recovery.round, certificate),)),
            Send(certificate),
            self._notice("recovered", text, epoch=recovery.epoch),
        ]
        work, collection, recoveries = self.work, self.collection, self.recoveries
        self._set_round(self.context.head, now.mono, certificate)
        self.recoveries = recoveries
        self.collection.inherit(collection)
        self.work.inherit(work)
        return effects + self._open(now) + self.work.offer(now, may_sign=self.may_sign)

    def recovery_refusal(self, recovery: Recovery) -> str:
        """Why this node may not sign a recovery now; empty if it may."""
        refusal = self.recoveries.refusal(recovery, self.context)
        if refusal:
            return refusal
        if self.syncing or not self.started:
            return "this node is catching up"
        if self._guard.forbids(self.context.round):
            return "what this node signed before is not known for sure"
        return ""

    def _recovery_signed(self, event: RecoverySigned, now: Instant) -> list[Effect]:
        """Sign what this manager's operator wants signed; from then on nothing of a lower epoch of this round is signed here."""
        refusal = self.recovery_refusal(event.recovery)
        if refusal:
            return [self._notice("recovery_refused", f"the recovery is not signed: {refusal}")]
        try:
            mine, joined, durable = self.recoveries.sign(event.recovery, event.proof, self.context, self._signer)
        except PeerError as error:
            return [self._notice("recovery_refused", f"the recovery is not signed: {error}")]
        self._retransmissions.add(mine, now.mono)
        effects: list[Effect] = [durable, Send(joined)]
        if self.context.judges:
            effects += self._open_agreement(now)  # without a signer now
        return effects + self._recovery_grew(joined, now)

    # -- going on ------------------------------------------------------------------------------------------------------

    def _advance(self, now: Instant) -> list[Effect]:
        """Start whatever can go on with what is held now."""
        if not self.started or self.syncing:
            return []
        effects = self.work.fetch_again(now)
        if self.context.finished:
            return effects
        effects += self.work.start_training(may_sign=self.may_sign)
        if self.context.judges:
            effects += self.work.judge(now, may_sign=self.may_sign)
            if self.agreement is not None:
                effects += self._agreed(self.agreement.walk(now), now)
        return effects

    def _agreed(self, effects: list[Effect], now: Instant) -> list[Effect]:
        """The agreement's effects, and what follows if it has decided or found the decided segment right."""
        agreement, certificate = self.agreement, self.certificates.pending
        if agreement is None:
            return effects
        found, agreement.found = agreement.found, []
        effects = effects + [effect for piece in found for effect in self._equivocation.note(self.context.round, piece)]
        if certificate is None:
            decided = agreement.decided
            return effects if decided is None else effects + self._certificate_known(decided, (), now)
        segment = agreement.segment_of(certificate.digest)
        return effects if segment is None else effects + self._closed(CertifiedSegment(segment, certificate), now)

    # -- speaking -----------------------------------------------------------------------------------------------------

    @property
    def genesis(self) -> Genesis:
        """The chain's genesis."""
        return self._genesis

    @property
    def may_sign(self) -> bool:
        """Whether the guard allows signatures in this round (design 6.3), and no recovery that we signed forbids them."""
        return self._guard.allows(self.context.round) and self.recoveries.signed <= self.context.state.epoch

    @property
    def pbft(self) -> Pbft | None:
        """This round's machine, if we hold a seat; for status only."""
        return None if self.agreement is None else self.agreement.pbft

    def _beacon(self) -> Beacon:
        state = self.context.state
        return Beacon(state.chain, state.round, state.epoch, self.context.head_hash, committee_hash(state.epoch, state.committee))

    def _role_text(self) -> str:
        context = self.context
        if context.judges:
            return "judge and train" if context.trains else "judge"
        return "train" if context.trains and self._train else "follow"

    def _notice(self, type_: str, text: str, **fields: str | int) -> Notice:
        return notice(self.context.round, type_, text, **fields)

    def _sync_changed(self, now: Instant, *, active: bool) -> list[Effect]:
        """Step out of the round while others' segments are taken over, and back in.

        If nothing came of it, the round goes on where it stood: whoever opened it anew would forget what it has signed.
        """
        if self.syncing == active:
            return []
        self.syncing = active
        if active:
            self._synced_from = self.context.round
            return [self._notice("sync", "catching up")]
        notice = self._notice("sync", f"caught up at round {self.context.round}")
        if self.context.round == self._synced_from:
            return [notice, *self._advance(now)]
        self._set_round(self.context.head, now.mono)
        return [notice, *self._open(now)]


def _vote_of(message: object) -> Envelope | JustifiedPrePrepare | JustifiedViewChange:
    assert isinstance(message, Envelope | JustifiedPrePrepare | JustifiedViewChange)
    return message


def _envelope_of(message: object) -> Envelope:
    """The signed part of a gossip message that is no announcement."""
    if isinstance(message, JustifiedPrePrepare):
        return message.pre_prepare
    if isinstance(message, JustifiedViewChange):
        return message.view_change
    assert isinstance(message, Envelope)
    return message


def _envelope_of_heard(heard: MessageReceived) -> Envelope:
    return _envelope_of(heard.message)
