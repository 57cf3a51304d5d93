"""The node's pure core: one round after the other, events in, effects out.

A round: the head's model is here -> trainers train and offer; members of the committee fetch, score, send one card; with q cards
the leader's segment is decided by the PBFT machine; the certificate and the segment are committed and the next round opens.
Whoever holds no seat waits for an announcement, pulls the segment, checks all of it and commits. Nothing waits for one node:
every wait has a deadline, everything said is said again until the round closes.

Invariants: what is signed is durable first (`Persist` before `Send`); one offer and one card a round and epoch; a segment is
committed only with its certificate and after the transition function accepted it; messages of a past round are answered with that
round's certificate, those of the next round are kept within bounds, later ones only show that we are behind.

What lives for one round is one `RoundState`, replaced whole. Its parts ask for effects and report facts; whatever follows from a
fact is decided here, in `_take`.
"""

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.events import Journal
from bflcd.core.certificates import Asker, Certificates
from bflcd.core.early_messages import EarlyMessages
from bflcd.core.effects import Blame, CancelWork, Commit, Effect, Halt, Notice, Persist, Send, notice
from bflcd.core.equivocation import EquivocationHandler
from bflcd.core.events import (
    Aggregated,
    BlobFetched,
    BlobLost,
    BlobMissing,
    Confirmed,
    EnvelopesFetched,
    Event,
    IdleChanged,
    Instant,
    MessageReceived,
    ModelFound,
    OperationSaid,
    OperationsFetched,
    RecoverySigned,
    Scored,
    SegmentFetched,
    Started,
    SyncChanged,
    Trained,
    WorkFailed,
)
from bflcd.core.facts import EpochGiven, EvidenceFound, Fact, RoundDecided, SegmentRight, SomethingNew, Step
from bflcd.core.node_events import EventKind
from bflcd.core.operation_pool import OperationPool
from bflcd.core.operations import OperationHandler
from bflcd.core.reception import Reception
from bflcd.core.records import Head, OperationRecord, RecoveryRecord, RoundRecords
from bflcd.core.restart import recovery_in_force, restore
from bflcd.core.round.collection import Before, Words
from bflcd.core.round.context import RoundContext
from bflcd.core.round.state import Decision, NodeParts, RoundState
from bflcd.core.signing_guard import SigningGuard
from bflcd.core.snapshot import CoreSnapshot, LastDecision, snapshot_of
from bflcd.core.trust.judging_account import JudgingAccount
from bflcd.core.trust.own_canaries import own_canaries
from bflcd.crypto.identity import Signer
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.oversight import unexplained
from bflcd.ledger.transition import validate_segment
from bflcd.params import Genesis
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.blocks import Certificate, CertifiedSegment, Segment, committee_hash, header_hash, segment_digest
from bflcd.wire.envelope import Envelope, Verify, seal
from bflcd.wire.messages import Beacon, ClosedBy, ScoreCard
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import Recovery, RecoveryCertificate


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
        last: Certificate | None = None,
        account: JudgingAccount | None = None,
    ) -> None:
        """`private_seed`: see `NodeParts`; `train` False: this node only follows. It neither trains nor judges, and says
        nothing in rounds, so nobody expects it. `last`: the certificate of `head`, which whoever lags is answered with;
        `account`: of what this node's cards have told of its rows; None: a new one without a budget.
        """
        operations = OperationHandler(OperationPool(), verify)
        equivocation = EquivocationHandler(operations, signer.node_id)
        account = JudgingAccount() if account is None else account
        self._node = NodeParts(genesis, signer, verify, private_seed, not train, guard, operations, equivocation, account)
        self._certificates = Certificates(operations, verify, last)
        self._early = EarlyMessages()
        self._reception = Reception(self._node, self._certificates, self._early)
        self._records: RoundRecords | None = None
        self._last_decision: LastDecision | None = None
        self._before = Before() if last is None else Before(view=last.view)
        self._words = Words()
        self._syncing = self._started = False
        self._synced_from = Round(0)
        self._round = self._new_round(head, Millis(0))

    # -- what others read ---------------------------------------------------------------------------------------------

    @property
    def context(self) -> RoundContext:
        """What is fixed in the running round."""
        return self._round.context

    @property
    def syncing(self) -> bool:
        """Whether segments of others are being taken over; no part is taken in rounds meanwhile."""
        return self._syncing

    def snapshot(self, now: Instant) -> CoreSnapshot:
        """The core as it stands, for whoever watches it."""
        return snapshot_of(
            self._round,
            now,
            started=self._started,
            syncing=self._syncing,
            before=self._before.present,
            last=self._last_decision,
            waiting=tuple(self._node.operations.pool.values()),
        )

    def signed_message(self, digest: Digest) -> Envelope | None:
        """A card or an offer of the running round, by its digest."""
        collection = self._round.collection
        held = collection.cards.get(digest) or collection.offers.get(digest)
        return None if held is None else held.envelope

    def shown_cards(self) -> tuple[ScoreCard, ...]:
        """What the cards of others say that have been shown here in the running round, in the order in which they came."""
        cards = self._round.collection.first_cards.values()
        return tuple(card.body for card in cards if card.author != self.context.me)

    @property
    def closed_by(self) -> ClosedBy:
        """By which seats' words this node asks for updates of the running round."""
        return self._round.collection.closing.shown

    def serves_updates(self, shown: ClosedBy) -> bool:
        """Whether a judge that shows these words may be given updates of the running round (design 5.2)."""
        return self._round.collection.closing.may_serve(shown, self._node.verify)

    def operation(self, id_: Digest) -> Operation | None:
        """An operation that no block has carried yet, by its id."""
        return self._node.operations.pool.get(id_)

    def recovery_refusal(self, recovery: Recovery) -> str:
        """Why this node may not sign a recovery now; empty if it may."""
        refusal = self._round.recoveries.refusal(recovery, self.context)
        if refusal:
            return refusal
        if self._syncing or not self._started:
            return "this node is catching up"
        if not self._node.guard.allows(self.context.round):
            return "what this node signed before is not known for sure: it has to hear from other members where they stand"
        return ""

    # -- entry points -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event. Whatever a peer sent is refused by effect, never by exception."""
        round_ = self._round
        match event:
            case Started():
                return self._start(event, now)
            case Confirmed(stands):
                return self._confirmed(stands, now)
            case IdleChanged(idle, training):
                self._words = round_.collection.words = Words(idle, training)
                return self._advance(now)
            case MessageReceived():
                return self._received(event, now)
            case BlobFetched(root, rate):
                round_.work.blob_fetched(root, rate)
                return self._advance(now)
            case BlobMissing():
                if round_.agreement is not None:
                    round_.agreement.blob_missing(event)
                return round_.work.blob_missing(event, now) + self._advance(now)
            case BlobLost(root):
                return round_.work.blob_lost(root, now) + self._advance(now)
            case Trained():
                done = round_.work.has_trained(event, now, may_sign=round_.may_sign)
                return [] if done is None else done + self._advance(now)
            case Scored(of):
                return round_.work.scored(event) + self._advance(now) if of == self.context.round else []
            case WorkFailed(of):
                return round_.work.failed(event, now) + self._advance(now) if of == self.context.round else []
            case Aggregated(_, model):
                if round_.agreement is not None:
                    round_.agreement.aggregated(event)
                if model is not None:
                    round_.collection.blob_fetched(model.root)
                return self._advance(now)
            case EnvelopesFetched(of):
                return round_.intake.pulled(event) + self._advance(now) if of == self.context.round else []
            case OperationsFetched(of):
                state = self.context.state
                return self._node.operations.fetched(state, event) + self._advance(now) if of == state.round else []
            case ModelFound(of):
                if of == self.context.round:
                    round_.models.found(event)
                return self._advance(now)
            case OperationSaid(operation):
                return self._node.operations.said(self.context.state, operation) + self._look_back()
            case RecoverySigned():
                return self._recovery_signed(event, now)
            case SegmentFetched():
                return self._segment_fetched(event, now)
            case SyncChanged(active):
                return self._sync_changed(now, active=active)

    def tick(self, now: Instant) -> list[Effect]:
        """Let time pass: timers, re-sends, deadlines."""
        if not self._started or self._syncing:
            return []
        round_ = self._round
        effects: list[Effect] = [*round_.retransmissions.due(now.mono)]
        effects += self._certificates.tick(now)
        effects += round_.want_decided(now)
        if round_.agreement is not None:
            effects += self._take(round_.agreement.tick(now), now)
        return effects + self._advance(now)

    def deadline(self, now: Instant) -> Millis | None:
        """When `tick` wants to run, at the latest."""
        if not self._started or self._syncing:
            return None
        waits = (self._certificates.deadline(), self._round.deadline(now.mono))
        return min((wait for wait in waits if wait is not None), default=None)

    # -- facts --------------------------------------------------------------------------------------------------------

    def _take(self, step: Step, now: Instant) -> list[Effect]:
        """The effects of a part, and what follows from what it found out; what is of a round that it closed follows no more."""
        effects, facts = step
        of = self._round
        return effects + [effect for fact in facts for effect in self._follow(fact, of, now)]

    def _follow(self, fact: Fact, of: RoundState, now: Instant) -> list[Effect]:
        round_ = self._round
        match fact:
            case EvidenceFound(evidence):
                return self._node.operations.note(self.context.round, evidence)
            case SomethingNew():
                return self._advance(now)
            case _ if round_ is not of:
                return []
            case RoundDecided(certificate, holders):
                return self._decide(certificate, holders, now)
            case SegmentRight(segment):
                decision = round_.decision
                if decision is None or segment_digest(segment) != decision.certificate.digest:
                    return []
                return self._close(segment, decision, now)
            case EpochGiven(certificate):
                return self._adopt(certificate, now)

    # -- opening a round ----------------------------------------------------------------------------------------------

    def _new_round(self, head: Head, opened: Millis, recovery: RecoveryCertificate | None = None) -> RoundState:
        self._node.operations.pool.settle(head.state)
        context = self._node.context(head)
        context = context if recovery is None else context.under(recovery)
        return RoundState(self._node, context, opened, self._before, self._words)

    def _start(self, event: Started, now: Instant) -> list[Effect]:
        self._started = True
        self._records = event.records
        recovery = recovery_in_force(self._round.recoveries, event.records)
        if isinstance(recovery, Halt):
            return [recovery]
        self._round = self._new_round(self.context.head, now.mono, recovery)
        self._round.recoveries.remember(event.records.own)  # before anything is opened: it forbids votes in the lower epochs
        for record in event.records.operations:
            self._node.operations.pool.add(record.operation, own=True)  # its own ones are not told apart: all are said again
        return self._open(now)

    def _confirmed(self, stands: Round, now: Instant) -> list[Effect]:
        """A node that can't know what it signed learns where the others stand (design 6.3)."""
        guard = self._node.guard
        if not guard.in_doubt:
            return []
        known = max(stands, self.context.round)
        effects: list[Effect] = [Persist(())]  # what was heard is marked before anything is signed
        if guard.confirmed(known):
            held = f"it signs nothing up to round {guard.floor}"
            text = f"others stand at round {known}, and this node knows nothing of it: {held}"
            return [*effects, self._notice(EventKind.SIGNING_HELD, text)]
        if not self._syncing and self._round.may_sign and self.context.judges:
            effects += self._join_agreement(now)
        return effects + self._advance(now)

    def _open(self, now: Instant) -> list[Effect]:
        """Begin the head's round: say that we are here, get its model, restore what was signed before a restart."""
        context = self.context
        effects: list[Effect] = [self._notice(EventKind.ROUND_OPENED, f"round {context.round} is open, we {self._role_text()}")]
        if context.finished:
            text = f"the community has reached its last round, {context.round}"
            return [*effects, self._notice(EventKind.FINISHED, text), *self._round.work.fetch_model()]
        if context.me in context.members and not context.follows:
            effects.append(self._round.work.speak(seal(self._beacon(), self._node.signer), now, durable=False))
        if context.judges:
            effects += self._join_agreement(now)
        pool = self._node.operations.pool
        if pool:
            effects.append(Persist(tuple(OperationRecord(context.round, operation) for operation in pool.values())))
            effects += [Send(operation) for operation in pool.repeated(context.state)]
        for canary in () if context.follows else own_canaries(context.state, self._node.signer):
            effects += self._node.operations.note(context.round, canary)
        effects += self._round.work.fetch_model()
        effects += self._restore(now)
        for message in self._early.take(context.round):  # one of a still later epoch is kept again
            effects += self._received(message, now)
        return effects + self._look_back()

    def _join_agreement(self, now: Instant) -> list[Effect]:
        round_, records = self._round, self._records
        agreement = round_.join_agreement(records.journal(self.context.state.epoch) if records else Journal())
        if not round_.may_sign:
            text = "what this node signed before is not known for sure: it signs nothing in this round"
            return [self._notice(EventKind.SIGNING_HELD, text)]
        return self._take(agreement.tick(now), now)

    def _restore(self, now: Instant) -> list[Effect]:
        """Take up what this node said in the running round before it stopped."""
        records, self._records = self._records, None
        if records is None:
            return []
        round_ = self._round
        effects = restore(round_, records, now)
        return effects + round_.work.offer(now, may_sign=round_.may_sign) + self._advance(now)

    # -- closing it ---------------------------------------------------------------------------------------------------

    def _decide(self, certificate: Certificate, holders: tuple[NodeId, ...], now: Instant) -> list[Effect]:
        """A certificate for the running round: commit at once if the segment is at hand, else pull it. Raises PeerError."""
        round_ = self._round
        if round_.decision is not None:
            return []
        round_.decision = decision = self._prove(certificate)
        segment = None if round_.agreement is None else round_.agreement.segment_of(certificate.digest)
        if segment is not None:
            return self._close(segment, decision, now)
        return round_.want_segment(now, (*holders, *(node for node, _ in certificate.signatures)))

    def _prove(self, certificate: Certificate) -> Decision:
        """The one place where a certificate of the running round is verified. Raises PeerError."""
        context = self.context.decided_by(certificate, self._node.verify)
        verify_certificate(certificate, context.instance, self._node.verify)
        return Decision(certificate, context)

    def _segment_fetched(self, event: SegmentFetched, now: Instant) -> list[Effect]:
        certified, decision = event.certified, self._round.decision
        if certified.segment.model_header.round != self.context.round + 1:
            return []
        try:
            if decision is None or decision.certificate != certified.certificate:
                decision = self._prove(certified.certificate)
            return self._close(certified.segment, decision, now)
        except PeerError as error:
            self._round.segment_refused()
            return [Blame(event.source, error.rejection, str(error)), *self._round.want_decided(now)]

    def _close(self, segment: Segment, decision: Decision, now: Instant) -> list[Effect]:
        """Check the decided segment against the head, commit it, open the next round. Raises PeerError."""
        certificate, context, header = decision.certificate, decision.context, segment.model_header
        if segment_digest(segment) != certificate.digest or header.model is None:
            raise PeerError(Rejection.BAD_SEGMENT, "the segment is not the one that the certificate is for")
        before = context.state_of(header.model.epoch)
        outcome = validate_segment(context.params, before, context.head_header, segment, self._node.verify)
        state = outcome.state
        self._last_decision = LastDecision(outcome.judgement, segment.model.weights)
        self._before = Before(frozenset(outcome.judgement.present), certificate.view)
        packed = sum(update.offer is not None for update in segment.updates)
        text = f"round {context.round} closed with {packed} of {context.params.places} places filled, view {certificate.view}"
        effects: list[Effect] = [
            Commit(CertifiedSegment(segment, certificate), state),
            CancelWork(state.round),
            *self._certificates.closed(context, certificate, now),
            self._notice(EventKind.COMMITTED, text, packed=packed, view=certificate.view, height=header.height),
        ]
        if outcome.rollback is not None and state.rollback is not None:
            text = f"round {context.round}: managers went back to the model of round {state.rollback.target}"
            effects.append(self._notice(EventKind.ROLLED_BACK, text, target=state.rollback.target))
        own = self._round.collection.own_card
        doubt = None if own is None else unexplained(outcome.judgement, own.body, before.known)
        if doubt is not None:
            text = f"round {context.round}: {doubt}; a majority of its committee may have colluded"
            effects.append(self._notice(EventKind.UNEXPLAINED, text))
        effects += self._node.operations.closed(state, context.me, syncing=self._syncing)
        self._round = self._new_round(Head(header, header_hash(header), state), now.mono)
        self._records = None
        return effects if self._syncing else effects + self._open(now)

    def _received(self, event: MessageReceived, now: Instant) -> list[Effect]:
        if not self._started:
            return []
        try:
            effects = self._take(self._reception.received(self._round, event, now, syncing=self._syncing), now)
            return effects + self._look_back() if isinstance(event.message, Operation) else effects
        except PeerError as error:
            blame = Blame(event.peer, error.rejection, str(error))
            # whoever stands on another block than ours in this round may hold a certificate that contradicts ours: show it
            if error.rejection is not Rejection.WRONG_PARENT:
                return [blame]
            asker = Asker(event.peer, self.context.round, speaks_for_itself=False)
            return [blame, *self._certificates.answer(self.context, asker, now)]

    # -- recovery -----------------------------------------------------------------------------------------------------

    def _recovery_signed(self, event: RecoverySigned, now: Instant) -> list[Effect]:
        """Sign what this manager's operator wants signed; from then on nothing of a lower epoch of this round is signed here."""
        round_, refusal = self._round, self.recovery_refusal(event.recovery)
        if refusal:
            return [self._notice(EventKind.RECOVERY_REFUSED, f"the recovery is not signed: {refusal}")]
        try:
            mine, joined, durable = round_.recoveries.sign(event.recovery, event.proof, self.context, self._node.signer)
        except PeerError as error:
            return [self._notice(EventKind.RECOVERY_REFUSED, f"the recovery is not signed: {error}")]
        round_.retransmissions.add(mine, now.mono)
        effects: list[Effect] = [durable, Send(joined)]
        if self.context.judges:
            effects += self._join_agreement(now) + self._advance(now)  # without a signer now
        return effects + self._take(round_.recoveries.grown(joined, self.context), now)

    def _adopt(self, certificate: RecoveryCertificate, now: Instant) -> list[Effect]:
        """The round goes on in a new epoch under the committee that managers gave it. Raises PeerError(BAD_RECOVERY)."""
        recovery, old = certificate.recovery, self._round
        context = old.context.first.under(certificate)
        text = (
            f"managers have given round {recovery.round} a new committee of {len(recovery.committee)}, epoch {recovery.epoch}"
            + ("; it decides what the old one had prepared" if recovery.prepared else "")
        )
        effects: list[Effect] = [
            Persist((RecoveryRecord(recovery.round, certificate),)),
            Send(certificate),
            self._notice(EventKind.RECOVERED, text, epoch=recovery.epoch),
        ]
        self._round = old.in_epoch_of(context, now.mono, self._before, self._words)
        return effects + self._open(now) + self._round.work.offer(now, may_sign=self._round.may_sign) + self._advance(now)

    # -- going on -----------------------------------------------------------------------------------------------------

    def _advance(self, now: Instant) -> list[Effect]:
        """Start whatever can go on with what is held now."""
        if not self._started or self._syncing:
            return []
        round_ = self._round
        effects = round_.work.fetch_again(now)
        if self.context.finished:
            return effects
        effects += round_.work.start_training(may_sign=round_.may_sign)
        if self.context.judges:
            effects += round_.work.judge(now, may_sign=round_.may_sign)
            if round_.agreement is not None:
                effects += self._take(round_.agreement.walk(now), now)
        return effects + self._look_back()

    def _look_back(self) -> list[Effect]:
        """Find out and get in advance what managers speak of going back to, in blocks or in what waits for one."""
        if not self._started or self._syncing or self.context.finished:
            return []
        return self._round.models.advance()

    def _sync_changed(self, now: Instant, *, active: bool) -> list[Effect]:
        """Step out of the round while others' segments are taken over, and back in.

        If nothing came of it, the round goes on where it stood: whoever opened it anew would forget what it has signed.
        """
        if self._syncing == active:
            return []
        self._syncing = active
        if active:
            self._synced_from = self.context.round
            return [self._notice(EventKind.SYNC, "catching up")]
        done = self._notice(EventKind.SYNC, f"caught up at round {self.context.round}")
        if self.context.round == self._synced_from:
            return [done, *self._advance(now)]
        self._round = self._new_round(self.context.head, now.mono)
        return [done, *self._open(now)]

    # -- speaking -----------------------------------------------------------------------------------------------------

    def _beacon(self) -> Beacon:
        state = self.context.state
        return Beacon(state.chain, state.round, state.epoch, self.context.head_hash, committee_hash(state.epoch, state.committee))

    def _role_text(self) -> str:
        context = self.context
        if context.judges:
            return "judge and train" if context.trains else "judge"
        if context.follows and context.me in context.committee:
            return "only follow, though we hold a seat: start without --observe"
        if context.owes:
            return "follow until what we owe is paid"
        return "train" if context.trains else "follow"

    def _notice(self, type_: EventKind, text: str, **fields: str | int) -> Notice:
        return notice(self.context.round, type_, text, **fields)
