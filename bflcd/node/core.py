"""The node's pure core: one round after the other, events in, effects out.

A round: the head's model is here -> trainers train and offer; members of the committee fetch, score, send one card; with q cards
the leader's segment is decided by the PBFT machine; the certificate and the segment are committed and the next round opens.
Whoever holds no seat waits for an announcement, pulls the segment, checks all of it and commits. Nothing waits for one node:
every wait has a deadline, everything said is said again until the round closes.

Invariants: what is signed is durable first (`Persist` before `Say`); one offer and one card a round and epoch; a segment is
committed only with its certificate and after the transition function accepted it; messages of a past round are answered with that
round's certificate, those of the next round are kept within bounds, later ones only show that we are behind.
"""

from collections import deque
from dataclasses import replace
from typing import Final

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.events import Instance, Journal
from bflcd.consensus.forks import fork_of
from bflcd.consensus.pbft import Pbft
from bflcd.consensus.recovery import verify_recovery
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.identity import Signer
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.evidence import check_evidence
from bflcd.ledger.judgement import Judgement
from bflcd.ledger.oversight import unexplained
from bflcd.ledger.roles import account_of
from bflcd.ledger.state import NEVER
from bflcd.ledger.transition import examine
from bflcd.net.verified import Verify
from bflcd.node.agreement import Agreement
from bflcd.node.collect import Collection
from bflcd.node.effects import (
    Behind,
    Blame,
    CancelWork,
    Commit,
    Effect,
    FetchBlob,
    FetchSegment,
    Halt,
    Notice,
    Persist,
    Say,
    Score,
    Train,
    notice,
)
from bflcd.node.events import (
    Aggregated,
    BlobHere,
    BlobLost,
    BlobMissing,
    Confirmed,
    EnvelopesHere,
    Event,
    EvidenceHere,
    Heard,
    Instant,
    RecoverySigned,
    Scored,
    SegmentHere,
    Started,
    SyncChanged,
    Trained,
    WorkFailed,
)
from bflcd.node.evidence import EvidencePool
from bflcd.node.recovering import Recoveries
from bflcd.node.resend import Resends
from bflcd.node.situation import Situation, update_label_of
from bflcd.params import BlobRef, Genesis
from bflcd.store.protocol import EvidenceRecord, Head, OfferRecord, OwnRecord, Pin, RecoveryRecord, RoundRecords
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, short
from bflcd.wire.blocks import Certificate, CertifiedSegment, committee_hash, header_hash, segment_digest
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, Signed, open_envelope, seal
from bflcd.wire.evidence import Evidence, evidence_id, evidence_of
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

CONFLICT_HINT: Final = (
    "two recoveries of one epoch can't both hold: the managers must agree on which one the community follows, and remove those "
    "of them that signed both"
)
"""What an operator whose node has halted is told."""

FORK_HINT: Final = (
    "more than a third of that committee lied, and no software can say which block is right: compare with the other operators, "
    "let the managers remove whoever signed both, and start again from the chain that they agree on"
)
"""What an operator is told whose node has seen two certificates for one round."""

_BODIES: Final = (Beacon, Offer, ScoreCard, PrePrepare, Prepare, CommitVote, ViewChange)


class Core:
    """One node. `handle` and `tick` take the time and return effects, which the runtime carries out in order."""

    def __init__(self, genesis: Genesis, head: Head, signer: Signer, verify: Verify, private_seed: bytes, *, train: bool) -> None:
        """`private_seed`: secret randomness of this node, from which each round's draws follow. `train` False: never offers."""
        self._genesis = genesis
        self._signer = signer
        self._verify = verify
        self._private_seed = private_seed
        self._train = train
        self._floor: Round | None = None
        self._doubt = False
        self._synced_from = Round(0)
        self._early: deque[tuple[Round, Heard]] = deque(maxlen=MAX_EARLY)
        self._answered: Millis | None = None
        self._announce_at: Millis | None = None
        self._behind_at: Millis | None = None
        self.last_certificate: Certificate | None = None
        self._last_instance: Instance | None = None
        self.last_judgement: Judgement | None = None
        self.last_weights: tuple[int, ...] = ()
        self.previous_present: frozenset[NodeId] = frozenset()
        self.syncing = False
        self.started = False
        self._records: RoundRecords | None = None
        self.evidence = EvidencePool()
        self._set_round(head, Millis(0))

    # -- entry points -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event. Whatever a peer sent is refused by effect, never by exception."""
        match event:
            case Started():
                return self._start(event, now)
            case Confirmed(round_):
                return self._confirmed(round_, now)
            case Heard():
                return self._heard(event, now)
            case BlobHere(root):
                return self._blob_here(root, now)
            case BlobMissing():
                self.collection.blob_missing(event.root, refused=event.refused, text=event.text)
                return self._blob_missing(event, now)
            case BlobLost(root):
                return self._blob_lost(root, now)
            case Trained():
                return self._trained(event, now)
            case Scored():
                return self._scored(event, now)
            case WorkFailed():
                return self._work_failed(event, now)
            case Aggregated(key, model):
                if self.agreement is not None:
                    self.agreement.aggregated(key, model)
                self.collection.blob_here(model.root)
                return self._advance(now)
            case EnvelopesHere():
                return self._envelopes_here(event, now)
            case EvidenceHere():
                return self._evidence_here(event, now)
            case RecoverySigned():
                return self._recovery_signed(event, now)
            case SegmentHere():
                return self._segment_here(event, now)
            case SyncChanged(active):
                return self._sync_changed(now, active=active)

    def tick(self, now: Instant) -> list[Effect]:
        """Let time pass: timers, re-sends, deadlines."""
        if not self.started or self.syncing:
            return []
        effects: list[Effect] = [Say(message) for message in self._resends.due(now.mono)]
        effects += self._announce_late(now)
        effects += self._pull_late_certificate(now)
        if self.agreement is not None:
            effects += self._agreed(self.agreement.tick(now), now)
        return effects + self._advance(now)

    def deadline(self, now: Instant) -> Millis | None:
        """When `tick` wants to run, at the latest."""
        if not self.started or self.syncing:
            return None
        if self.situation.finished:
            return min((wait for wait in (self._announce_at, self._retry_at) if wait is not None), default=None)
        waits = [self._resends.deadline(), self._retry_at, self._announce_at]
        if self.agreement is not None:
            waits.append(self.agreement.deadline())
            if self.collection.own_card is None:
                waits.append(self.collection.next_change(now.mono))
        times = [wait for wait in waits if wait is not None]
        return Millis(min(times)) if times else None

    # -- opening and closing a round ----------------------------------------------------------------------------------

    def _set_round(self, head: Head, now: Millis, recovery: RecoveryCertificate | None = None) -> None:
        self.situation = Situation(self._genesis, head, self._signer.node_id, recovery)
        self.recoveries = Recoveries(self.situation.first_instance, head.state.managers, self._verify)
        self.evidence.settle(head.state)
        self.collection = Collection(self.situation, now, self.previous_present)
        self._resends = Resends(self.situation.params.view_timeout)
        self.agreement: Agreement | None = None
        self._retry_at: Millis | None = None
        self.model_here = False
        self._training = self._work_running = False
        self._train_failures = 0
        self._trained_update: tuple[BlobRef, int] | None = None
        """What was trained in this round and its samples: a recovery doesn't make it worthless."""
        self.own_offer: Signed[Offer] | None = None
        self.pending_certificate: Certificate | None = None
        self._asked_segment: Millis | None = None

    def _start(self, event: Started, now: Instant) -> list[Effect]:
        self.started = True
        self._floor = event.signing_floor
        self._doubt = event.fresh
        self._records = event.records
        recoveries = sorted((r.certificate for r in event.records.recoveries), key=lambda c: c.recovery.epoch)
        if len(recoveries) > 1 and recoveries[-1].recovery.epoch == recoveries[-2].recovery.epoch:
            text = f"managers signed two different recoveries for epoch {recoveries[-1].recovery.epoch} of this round"
            return [Halt(text, CONFLICT_HINT)]
        self._set_round(self.situation.head, now.mono, recoveries[-1] if recoveries else None)
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
        if not self._doubt:
            return []
        self._doubt = False
        known = max(round_, self.situation.round)
        if known > 0:
            self._floor = Round(max(self._floor or 0, known + 1))
            text = f"others stand at round {known}, and this node knows nothing of it: it signs nothing up to round {self._floor}"
            return [self._notice("signing_held", text)]
        if self.syncing or not self.may_sign or not self.situation.judges:
            return self._advance(now)
        return self._open_agreement(now) + self._advance(now)

    def _open(self, now: Instant) -> list[Effect]:
        """Begin the head's round: say that we are here, get its model, restore what was signed before a restart."""
        situation = self.situation
        effects: list[Effect] = [self._notice("round_opened", f"round {situation.round} is open, we {self._role_text()}")]
        if situation.finished:
            text = f"the community has reached its last round, {situation.round}"
            return [*effects, self._notice("finished", text), self._fetch_model()]
        if account_of(situation.state, situation.me) is not None:
            effects += self._speak(seal(self._beacon(), self._signer), now, durable=False)
        if situation.judges:
            effects += self._open_agreement(now)
        for piece in self.evidence.values():
            effects += [Persist((EvidenceRecord(situation.round, piece),)), Say(piece)]
        effects.append(self._fetch_model())
        effects += self._restore(now)
        for round_, heard in tuple(self._early):
            if round_ == situation.round:
                effects += self._heard(heard, now)
        self._early = deque((e for e in self._early if e[0] > self.situation.round), maxlen=MAX_EARLY)
        return effects

    def _fetch_model(self) -> FetchBlob:
        """The round's model: the committee that made it has it, and whoever has fetched it since."""
        situation = self.situation
        return FetchBlob(situation.head_blob, situation.committee, situation.round, None, anyone=True)

    def _open_agreement(self, now: Instant) -> list[Effect]:
        records = self._records
        situation = self.situation
        journal = records.journal(situation.state.epoch) if records else Journal()
        signer = self._signer if self.may_sign else None
        self.agreement = Agreement(situation, self.collection, self.evidence, signer=signer, verify=self._verify, journal=journal)
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
                effects += self._say_recovery_again(signed.body, record.envelope, now)
                continue
            if isinstance(signed.body, Offer):
                self._trained_update = (signed.body.blob, signed.body.samples)
            if record.epoch != self.situation.state.epoch:
                continue
            self._resends.add(record.envelope, now.mono)
            effects.append(Say(record.envelope, self.situation.judges_but_me))
            if isinstance(signed.body, Offer):
                self._hold_own(Signed(signed.body, record.envelope))
            else:
                card = Signed(signed.body, record.envelope)
                self.collection.own_card = card
                self.collection.add_card(card)
        for held in records.offers:
            offer: Signed[Offer] = open_envelope(held.envelope, (Offer,))
            if self.situation.counts(offer.body.epoch):
                effects += self._keep(held.envelope)
        for proposal in records.proposals:
            for piece in proposal.evidence:
                self.evidence.add(piece, wanted=True)
            if not self.situation.counts(proposal.proposal.epoch):
                continue  # a recovery has ended the epoch in which it was found right, and does not name it
            for envelope in (*proposal.cards, *proposal.offers):
                effects += self._keep(envelope)
            if self.agreement is not None:
                self.agreement.restore(proposal)
        return effects + self._offer_again(now) + self._advance(now)

    def _closed(self, certified: CertifiedSegment, now: Instant) -> list[Effect]:
        """Check a certified segment against the head, commit it, open the next round. Raises PeerError."""
        certificate, segment = certified.certificate, certified.segment
        situation = self._situation_of(certificate)
        verify_certificate(certificate, situation.instance, self._verify)
        header = segment.model_header
        if segment_digest(segment) != certificate.digest or header.model is None:
            raise PeerError(Rejection.BAD_SEGMENT, "the segment is not the one that the certificate is for")
        before = situation.state_of(header.model.epoch)
        outcome = examine(situation.params, before, situation.head_header, segment, self._verify)
        state = outcome.state
        self.last_certificate, self._last_instance = certificate, situation.instance
        self.last_judgement = outcome.judgement
        self.last_weights = segment.model.weights
        self.previous_present = frozenset(self.last_judgement.present)
        packed = sum(update.offer is not None for update in segment.updates)
        text = f"round {situation.round} closed with {packed} of {situation.params.places} places filled, view {certificate.view}"
        effects: list[Effect] = [
            Commit(certified, state),
            CancelWork(state.round),
            *self._plan_announcement(certificate, now),
            self._notice("committed", text, packed=packed, view=certificate.view, height=header.height),
        ]
        own = self.collection.own_card
        doubt = None if own is None else unexplained(situation.params, outcome.judgement, own.body)
        if doubt is not None:
            text = f"round {situation.round}: {doubt}; a majority of its committee may have colluded"
            effects.append(self._notice("unexplained", text))
        self._set_round(Head(header, header_hash(header), state), now.mono)
        self._records = None
        if self.syncing:
            return effects
        return effects + self._open(now)

    def _situation_of(self, certificate: Certificate) -> Situation:
        """The round as its certificate says that it was decided: by its first committee, or by the one of a recovery.

        Raises PeerError: WRONG_EPOCH for an epoch that a recovery known here has ended, BAD_RECOVERY.
        """
        ours, theirs = self.situation.recovery, certificate.recovery
        if ours is not None and (theirs is None or theirs.recovery.epoch < ours.recovery.epoch):
            text = f"round {certificate.round} was decided in epoch {certificate.epoch}, which a recovery had ended"
            raise PeerError(Rejection.WRONG_EPOCH, text)
        if theirs is None or (ours is not None and theirs.recovery == ours.recovery):
            return self.situation
        situation = self.situation
        verify_recovery(theirs, situation.first_instance, situation.head.state.managers, self._verify)
        return Situation(self._genesis, situation.head, situation.me, theirs)

    def _plan_announcement(self, certificate: Certificate, now: Instant) -> list[Effect]:
        """One member announces for all: the leader at once, the next seat a moment later unless it has heard it by then.

        Whoever holds no seat only answers those that lag behind; a lost announcement shows in the next round's beacons.
        """
        committee = self.situation.committee
        if self.situation.me not in committee:
            self._announce_at = None
            return []
        first = (certificate.round + certificate.view) % len(committee)
        turn = (committee.index(self.situation.me) - first) % len(committee)
        pause = self.situation.params.view_timeout * turn // 8
        self._announce_at = Millis(now.mono + pause) if turn else None
        return [] if turn else [Say(Announcement(certificate))]

    def _announce_late(self, now: Instant) -> list[Effect]:
        if self._announce_at is None or now.mono < self._announce_at or self.last_certificate is None:
            return []
        self._announce_at = None
        return [Say(Announcement(self.last_certificate))]

    # -- what is heard ------------------------------------------------------------------------------------------------

    def _heard(self, event: Heard, now: Instant) -> list[Effect]:
        if not self.started:
            return []
        try:
            return self._dispatch(event, now)
        except PeerError as error:
            blame = Blame(event.peer, error.rejection, str(error))
            # whoever stands on another block than ours in this round may hold a certificate that contradicts ours: show it
            return [blame, *self._answer_with_certificate(now)] if error.rejection is Rejection.WRONG_PARENT else [blame]

    def _dispatch(self, event: Heard, now: Instant) -> list[Effect]:
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
        if body.chain != self.situation.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a message of chain {short(body.chain)}")
        if body.round != self.situation.round:
            return self._other_round(event, envelope.author, body.round, now)
        if self.situation.finished or self.syncing or envelope.author == self.situation.me:
            return []
        if body.epoch != self.situation.state.epoch:
            return self._other_epoch(body.epoch, now)
        match body:
            case Beacon():
                return self._beacon_heard(Signed(body, envelope), now)
            case Offer():
                return self._offer_heard(Signed(body, envelope), now)
            case ScoreCard():
                return self._card_heard(Signed(body, envelope), now)
            case _:
                return self._vote_heard(_vote_of(message), event.peer, now)

    def _vote_heard(
        self, message: Envelope | JustifiedPrePrepare | JustifiedViewChange, peer: NodeId, now: Instant
    ) -> list[Effect]:
        if self.agreement is None:
            return []
        wanted = self._agreed(self.agreement.heard(message, now), now)
        # what is not proven against its author counts against who passed it on
        named = [replace(effect, node=peer) if isinstance(effect, Blame) and effect.node is None else effect for effect in wanted]
        return named + self._advance(now)

    def _other_round(self, event: Heard, author: NodeId, round_: Round, now: Instant) -> list[Effect]:
        current = self.situation.round
        if account_of(self.situation.state, author) is None:
            raise PeerError(Rejection.NOT_MEMBER, f"{short(author)} is no member")
        if round_ < current:
            return self._answer_with_certificate(now)
        if not self._verify(_envelope_of_heard(event)):
            raise PeerError(Rejection.BAD_SIGNATURE, f"a message of round {round_} in the name of {short(author)}")
        if round_ == current + 1:
            kept = sum(1 for _, heard in self._early if _envelope_of_heard(heard).author == author)
            if kept < MAX_EARLY_EACH:
                self._early.append((round_, event))
            return self._want_segment(now, (event.peer, author))
        return self._fall_behind(Round(round_), event.peer, now)

    def _answer_with_certificate(self, now: Instant) -> list[Effect]:
        """Who has committed answers any message of that round with the certificate (design 6.2), at most once every T0."""
        t0 = self.situation.params.view_timeout
        if self.last_certificate is None or (self._answered is not None and now.mono - self._answered < t0):
            return []
        self._answered = now.mono
        return [Say(Announcement(self.last_certificate))]

    def _fall_behind(self, round_: Round, peer: NodeId, now: Instant) -> list[Effect]:
        t0 = self.situation.params.view_timeout
        if self._behind_at is not None and now.mono - self._behind_at < t0:
            return []
        self._behind_at = now.mono
        return [Behind(round_, peer)]

    def _announced(self, certificate: Certificate, peer: NodeId, now: Instant) -> list[Effect]:
        situation = self.situation
        if certificate.chain != situation.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a certificate of chain {short(certificate.chain)}")
        forked = self._forked(certificate)
        if forked:
            return forked
        if certificate.round == situation.round - 1:
            self._announce_at = None  # somebody else has announced it
            last = self.last_certificate
            if last is not None and certificate.epoch > last.epoch and certificate.digest != last.digest:
                return self._fall_behind(Round(situation.round + 1), peer, now)  # perhaps a recovery has superseded our block
        if certificate.round < situation.round or self.syncing or self.pending_certificate is not None:
            return []
        if certificate.round > situation.round:
            return self._fall_behind(Round(certificate.round + 1), peer, now)
        verify_certificate(certificate, self._situation_of(certificate).instance, self._verify)
        return self._certificate_known(certificate, (peer,), now)

    def _forked(self, certificate: Certificate) -> list[Effect]:
        """Stop, loudly, at a true certificate that contradicts the one we hold for its round; keep and spread what convicts.

        Raises PeerError if the certificate isn't true.
        """
        ours, instance = self.last_certificate, self._last_instance
        if self.pending_certificate is not None and certificate.round == self.situation.round:
            ours, instance = self.pending_certificate, self._situation_of(certificate).instance
        fork = None if ours is None else fork_of(ours, certificate)
        if fork is None or instance is None:
            return []
        verify_certificate(certificate, instance, self._verify)
        named = ", ".join(short(node) for node in fork.liars) or "nobody can be named, since they are of different views"
        text = (
            f"two blocks are certified for round {certificate.round}: {short(fork.ours.digest)} here, in view {fork.ours.view}, "
            f"and {short(certificate.digest)} in view {certificate.view}; signed both: {named}"
        )
        proofs = [effect for liar in fork.liars for effect in self._note_evidence(evidence_of(*fork.proof(liar)))]
        return [*proofs, self._notice("fork", text), Halt(text, FORK_HINT)]

    def _certificate_known(self, certificate: Certificate, holders: tuple[NodeId, ...], now: Instant) -> list[Effect]:
        """The round is decided: commit at once if the segment is at hand, else pull it."""
        self.pending_certificate = certificate
        segment = None if self.agreement is None else self.agreement.segment_of(certificate.digest)
        if segment is not None:
            return self._closed(CertifiedSegment(segment, certificate), now)
        signers = tuple(node for node, _ in certificate.signatures)
        return self._want_segment(now, holders + signers)

    def _want_segment(self, now: Instant, holders: tuple[NodeId, ...]) -> list[Effect]:
        t0 = self.situation.params.view_timeout
        if self._asked_segment is not None and now.mono - self._asked_segment < t0:
            return []
        self._asked_segment = now.mono
        wanted = tuple(dict.fromkeys(node for node in holders if node != self.situation.me))
        return [FetchSegment(Round(self.situation.round + 1), wanted)]

    def _pull_late_certificate(self, now: Instant) -> list[Effect]:
        """A known certificate whose segment has not come is asked for again."""
        if self.pending_certificate is None:
            return []
        return self._want_segment(now, tuple(node for node, _ in self.pending_certificate.signatures))

    def _segment_here(self, event: SegmentHere, now: Instant) -> list[Effect]:
        if event.certified.segment.model_header.round != self.situation.round + 1:
            return []
        try:
            return self._closed(event.certified, now)
        except PeerError as error:
            self._asked_segment = None
            return [Blame(event.source, error.rejection, str(error))]

    def _beacon_heard(self, beacon: Signed[Beacon], now: Instant) -> list[Effect]:
        if beacon.author in self.collection.beacons:
            return []
        self._require_signature(beacon.envelope)
        self.collection.add_beacon(beacon)
        return [self._notice("present", f"{short(beacon.author)} is present", node=beacon.author.hex()), *self._advance(now)]

    def _offer_heard(self, offer: Signed[Offer], now: Instant) -> list[Effect]:
        self.collection.check_offer(offer)
        if offer.digest in self.collection.offers or not self.collection.has_room_for_offer(offer.author):
            return []
        self._require_signature(offer.envelope)
        effects = self._conflict(self.collection.conflicting_offer(offer), offer, "two offers in one round")
        self.collection.add_offer(offer)
        text = f"{short(offer.author)} offers an update from {offer.body.samples} samples"
        effects.append(self._notice("offer", text, node=offer.author.hex(), samples=offer.body.samples))
        return effects + self._advance(now)

    def _card_heard(self, card: Signed[ScoreCard], now: Instant) -> list[Effect]:
        if not self.situation.judges or card.digest in self.collection.cards:
            return []
        self.collection.check_card(card)
        if not self.collection.has_room_for_card(card.author):
            return []
        self._require_signature(card.envelope)
        effects = self._conflict(self.collection.conflicting_card(card), card, "two score cards in one round")
        self.collection.add_card(card)
        text = f"{short(card.author)} sent its card with {len(card.body.entries)} scores"
        effects.append(self._notice("card", text, node=card.author.hex(), entries=len(card.body.entries)))
        return effects + self._advance(now)

    def _envelopes_here(self, event: EnvelopesHere, now: Instant) -> list[Effect]:
        if event.round != self.situation.round:
            return []
        effects: list[Effect] = []
        for envelope in event.envelopes:
            try:
                self._require_signature(envelope)
                effects += self._keep(envelope)
            except PeerError as error:
                effects.append(Blame(event.source, error.rejection, str(error)))
        return effects + self._advance(now)

    def _keep(self, envelope: Envelope) -> list[Effect]:
        """Add a verified card or offer that a proposal needs to what is held. Raises PeerError."""
        signed: Signed[Offer | ScoreCard] = open_envelope(envelope, (Offer, ScoreCard))
        if isinstance(signed.body, Offer):
            offer = Signed(signed.body, envelope)
            self.collection.check_offer(offer, wanted=True)
            effects = self._conflict(self.collection.conflicting_offer(offer), offer, "two offers in one round")
            self.collection.add_offer(offer)
        else:
            card = Signed(signed.body, envelope)
            self.collection.check_card(card, wanted=True)
            effects = self._conflict(self.collection.conflicting_card(card), card, "two score cards in one round")
            self.collection.add_card(card)
        return effects

    def _require_signature(self, envelope: Envelope) -> None:
        if not self._verify(envelope):
            raise PeerError(Rejection.BAD_SIGNATURE, f"the signature is not {short(envelope.author)}'s")

    # -- liars, and what managers decide -------------------------------------------------------------------------------

    def _conflict(self, held: Signed[SignedBody] | None, other: Signed[SignedBody], text: str) -> list[Effect]:
        """Two messages in one place by one author, the signatures of both verified: evidence (design 6.9)."""
        if held is None or other.author == self.situation.me:
            return []
        blame = Blame(other.author, Rejection.CONFLICT, text)
        return [blame, *self._note_evidence(evidence_of(held.envelope, other.envelope))]

    def _note_evidence(self, evidence: Evidence) -> list[Effect]:
        """Keep verified evidence, durably, and tell all members: whoever leads next puts it into a block."""
        if not self.evidence.add(evidence):
            return []
        text = f"{short(evidence.accused)} signed two different messages in one place: it will lose seat and deposit"
        return [
            Persist((EvidenceRecord(self.situation.round, evidence),)),
            Say(evidence),
            self._notice("evidence", text, node=evidence.accused.hex()),
        ]

    def _evidence_heard(self, evidence: Evidence, peer: NodeId, now: Instant) -> list[Effect]:
        state = self.situation.state
        first: Signed[PunishableBody] = open_envelope(evidence.first, PUNISHABLE)
        if first.body.chain == state.chain and first.body.round > state.round:
            return self._fall_behind(first.body.round, peer, now)  # we can't judge it yet, and whoever brings it may be right
        account = account_of(state, evidence.accused)
        if evidence_id(evidence) in self.evidence or (account is not None and account.punished_round != NEVER):
            return []
        check_evidence(state, evidence)
        self._require_signature(evidence.first)
        self._require_signature(evidence.second)
        return self._note_evidence(evidence) + self._advance(now)

    def _evidence_here(self, event: EvidenceHere, now: Instant) -> list[Effect]:
        """Evidence that a proposal names."""
        if event.round != self.situation.round:
            return []
        effects: list[Effect] = []
        for piece in event.evidence:
            try:
                check_evidence(self.situation.state, piece)
                self._require_signature(piece.first)
                self._require_signature(piece.second)
                self.evidence.add(piece, wanted=True)
            except PeerError as error:
                effects.append(Blame(event.source, error.rejection, str(error)))
        return effects + self._advance(now)

    def _other_epoch(self, epoch: Epoch, now: Instant) -> list[Effect]:
        """A recovery has ended the lower epochs of this round; who still speaks in one is told of it, at most once every T0.

        Whoever speaks of a higher one tells us when it hears us.
        """
        t0, recovery = self.situation.params.view_timeout, self.situation.recovery
        if recovery is None or epoch > self.situation.state.epoch:
            return []
        if self._answered is not None and now.mono - self._answered < t0:
            return []
        self._answered = now.mono
        return [Say(recovery)]

    def _recovery_heard(self, certificate: RecoveryCertificate, peer: NodeId, now: Instant) -> list[Effect]:
        recovery, situation = certificate.recovery, self.situation
        if recovery.chain != situation.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a recovery of chain {short(recovery.chain)}")
        if recovery.round < situation.round:
            return self._answer_with_certificate(now)
        if recovery.round > situation.round:
            return self._fall_behind(recovery.round, peer, now)
        if self.syncing or situation.finished or recovery.epoch < situation.state.epoch:
            return []
        joined, is_more = self.recoveries.add(certificate)
        if not is_more:
            return []
        return self._recovery_grew(joined, now)

    def _recovery_grew(self, certificate: RecoveryCertificate, now: Instant) -> list[Effect]:
        recovery = certificate.recovery
        if not self.recoveries.complete(certificate):
            text = (
                f"{len(certificate.signatures)} of {self.recoveries.needed} managers have signed to give round {recovery.round} "
                f"a new committee"
            )
            return [self._notice("recovery", text, epoch=recovery.epoch)]
        ours = self.situation.recovery
        if recovery.epoch == self.situation.state.epoch:
            if ours is None or ours.recovery == recovery:
                return []
            both = sorted(set(dict(ours.signatures)) & set(dict(certificate.signatures)))
            text = (
                f"managers signed two different recoveries for epoch {recovery.epoch} of round {recovery.round}; "
                f"both carry the names of {', '.join(short(node) for node in both)}"
            )
            return [Persist((RecoveryRecord(recovery.round, certificate),)), Halt(text, CONFLICT_HINT)]
        return self._adopt(certificate, now)

    def _adopt(self, certificate: RecoveryCertificate, now: Instant) -> list[Effect]:
        """The round goes on in a new epoch under the committee that managers gave it. Raises PeerError(BAD_RECOVERY)."""
        recovery = certificate.recovery
        Situation(self._genesis, self.situation.head, self.situation.me, certificate)  # before anything is changed
        text = (
            f"managers have given round {recovery.round} a new committee of {len(recovery.committee)}, epoch {recovery.epoch}"
            + ("; it decides what the old one had prepared" if recovery.prepared else "")
        )
        effects: list[Effect] = [
            Persist((RecoveryRecord(recovery.round, certificate),)),
            Say(certificate),
            self._notice("recovered", text, epoch=recovery.epoch),
        ]
        before, collection, recoveries = (self._training, self._work_running), self.collection, self.recoveries
        model_here, trained = self.model_here, self._trained_update
        self._set_round(self.situation.head, now.mono, certificate)
        self._training, self._work_running = before
        self.model_here, self._trained_update, self.recoveries = model_here, trained, recoveries
        self.collection.inherit(collection)
        return effects + self._open(now) + self._offer_again(now)

    def recovery_refusal(self, recovery: Recovery) -> str:
        """Why this node may not sign a recovery now; empty if it may."""
        situation = self.situation
        place = (recovery.chain, recovery.round, recovery.parent)
        if situation.me not in situation.head.state.managers:
            return "this node is no manager"
        if place != (situation.state.chain, situation.round, situation.head_hash) or self.syncing or not self.started:
            return f"it is for round {recovery.round}, this node stands in round {situation.round}"
        if recovery.epoch <= max(situation.state.epoch, self.recoveries.signed):
            return f"this manager has signed for epoch {self.recoveries.signed}, epoch {recovery.epoch} is not above it"
        if self._floor is not None and situation.round <= self._floor:
            return "what this node signed before is not known for sure"
        return ""

    def _recovery_signed(self, event: RecoverySigned, now: Instant) -> list[Effect]:
        """Sign what this manager's operator wants signed; from then on nothing of a lower epoch of this round is signed here."""
        recovery, situation = event.recovery, self.situation
        refusal = self.recovery_refusal(recovery)
        if refusal:
            return [self._notice("recovery_refused", f"the recovery is not signed: {refusal}")]
        envelope = seal(recovery, self._signer).envelope
        mine = RecoveryCertificate(recovery, event.proof, ((situation.me, envelope.signature),))
        try:
            Situation(self._genesis, situation.head, situation.me, mine)
            joined, _ = self.recoveries.add(mine)
        except PeerError as error:
            return [self._notice("recovery_refused", f"the recovery is not signed: {error}")]
        self.recoveries.signed = recovery.epoch
        self._resends.add(mine, now.mono)
        own = OwnRecord(situation.round, recovery.epoch, number_of(Recovery), envelope)
        effects: list[Effect] = [Persist((own,)), Say(joined)]
        if situation.judges:
            effects += self._open_agreement(now)  # without a signer now
        return effects + self._recovery_grew(joined, now)

    def _say_recovery_again(self, recovery: Recovery, envelope: Envelope, now: Instant) -> list[Effect]:
        """What this manager had signed before a restart. One that names a proof needs that proof, which the journal doesn't hold:
        its managers then have to sign again, for a higher epoch."""
        if recovery.prepared is not None or recovery.epoch <= self.situation.state.epoch:
            return []
        mine = RecoveryCertificate(recovery, None, ((self.situation.me, envelope.signature),))
        self.recoveries.add(mine)
        self._resends.add(mine, now.mono)
        return [Say(mine)]

    # -- work ---------------------------------------------------------------------------------------------------------

    def _blob_here(self, root: Digest, now: Instant) -> list[Effect]:
        if root == self.situation.head_blob.root:
            self.model_here = True
        self.collection.blob_here(root)
        return self._advance(now)

    def _blob_lost(self, root: Digest, now: Instant) -> list[Effect]:
        """A payload turned out damaged on our disk: forget it and fetch it again."""
        self.collection.blob_lost(root)
        effects: list[Effect] = [self._notice("blob_lost", f"the payload {short(root)} was damaged and is fetched again")]
        if root == self.situation.head_blob.root:
            self.model_here = False
            self._retry_at = now.mono
        return effects + self._advance(now)

    def _blob_missing(self, event: BlobMissing, now: Instant) -> list[Effect]:
        effects: list[Effect] = [self._notice("blob_missing", event.text, root=event.root.hex())]
        if event.root == self.situation.head_blob.root and not self.model_here:
            self._retry_at = Millis(now.mono + self.situation.params.view_timeout)
        return effects + self._advance(now)

    def _trained(self, event: Trained, now: Instant) -> list[Effect]:
        if event.round != self.situation.round or not self._training:
            return []
        self._training = self._work_running = False
        self._trained_update = (event.blob, event.samples)
        text = f"trained on {event.samples} samples, loss {event.loss:.4f}"
        notice = self._notice("trained", text, samples=event.samples)
        return [*self._offer_again(now), notice, *self._advance(now)]

    def _offer_again(self, now: Instant) -> list[Effect]:
        """Offer what was trained, if that is not done in this epoch: a recovery changes who is asked, not the work."""
        state, trained = self.situation.state, self._trained_update
        if trained is None or self.own_offer is not None or not self.situation.trains or not self.may_sign:
            return []
        blob, samples = trained
        body = Offer(
            chain=state.chain,
            round=state.round,
            epoch=state.epoch,
            parent=self.situation.head_hash,
            committee=committee_hash(state.epoch, state.committee),
            blob=blob,
            samples=samples,
        )
        offer = seal(body, self._signer)
        self._hold_own(offer)
        own = OwnRecord(state.round, state.epoch, number_of(Offer), offer.envelope)
        return [Persist((own, Pin(blob.root, state.round))), *self._speak(offer, now, durable=True)]

    def _hold_own(self, offer: Signed[Offer]) -> None:
        """Our offer of this epoch; in a small community a member judges its own update too."""
        self.own_offer = offer
        if self.situation.judges:
            self.collection.blob_here(offer.body.blob.root)
            self.collection.add_offer(offer)

    def _scored(self, event: Scored, now: Instant) -> list[Effect]:
        if event.round != self.situation.round:
            return []
        self._work_running = False
        self.collection.scored(event.result)
        effects: list[Effect] = []
        for key, text in event.result.invalid:
            slot = self.collection.slots.get(key)
            if slot is not None:
                effects.append(Blame(slot.offer.author, Rejection.BAD_TENSOR, text))
        return effects + self._advance(now)

    def _work_failed(self, event: WorkFailed, now: Instant) -> list[Effect]:
        if event.round != self.situation.round:
            return []
        self._work_running = False
        self._retry_at = Millis(now.mono + self.situation.params.view_timeout)
        if event.training:
            self._training = False
            self._train_failures += 1
        else:
            self.collection.scoring_failed()
        return [self._notice("work_failed", event.text), *self._advance(now)]

    def _advance(self, now: Instant) -> list[Effect]:
        """Start whatever can go on with what is held now."""
        if not self.started or self.syncing:
            return []
        effects: list[Effect] = []
        if self._retry_at is not None and now.mono >= self._retry_at:
            self._retry_at = None
            if not self.model_here:
                effects.append(self._fetch_model())
        if self.situation.finished:
            return effects
        effects += self._start_training()
        if self.situation.judges:
            effects += self._judge(now)
        return effects

    def _start_training(self) -> list[Effect]:
        situation = self.situation
        wanted = self._train and self.may_sign and situation.trains and not situation.bound
        wanted = wanted and self._trained_update is None and not self._training
        if not wanted or not self.model_here or self._work_running or self._retry_at is not None or self._train_failures > 2:
            return []
        self._training = self._work_running = True
        return [Train(situation.round, situation.head_blob, self._draw(b"train"))]

    def _judge(self, now: Instant) -> list[Effect]:
        situation, collection = self.situation, self.collection
        effects: list[Effect] = []
        if collection.own_card is None:
            for slot in collection.wanted_blobs():
                label = update_label_of(situation, slot.offer.author)
                holders = (slot.offer.author, *self.situation.judges_but_me)  # whoever of us has it already serves it too
                effects.append(FetchBlob(slot.offer.body.blob, holders, situation.round, label, anyone=False))
            if self.model_here and not self._work_running and self._retry_at is None and not situation.bound:
                offers = collection.to_score()
                if offers:
                    self._work_running = True
                    effects.append(Score(situation.round, situation.head_blob, offers, self._draw(b"score")))
            if self.may_sign and not situation.bound and collection.card_due(now.mono):
                effects += self._send_card(now)
        if self.agreement is not None:
            effects += self._agreed(self.agreement.walk(now), now)
        return effects

    def _send_card(self, now: Instant) -> list[Effect]:
        state, collection = self.situation.state, self.collection
        card = seal(collection.card_body(), self._signer)
        collection.own_card = card
        collection.add_card(card)
        pins = tuple(Pin(entry.root, state.round) for entry in card.body.entries)
        named = tuple(OfferRecord(state.round, collection.offers[entry.offer].envelope) for entry in card.body.entries)
        own = OwnRecord(state.round, state.epoch, number_of(ScoreCard), card.envelope)
        text = f"sent our card with {len(card.body.entries)} scores"
        return [
            Persist((own, *named, *pins)),
            *self._speak(card, now, durable=True),
            self._notice("card", text, node=self.situation.me.hex(), entries=len(card.body.entries)),
        ]

    def _agreed(self, effects: list[Effect], now: Instant) -> list[Effect]:
        """The agreement's effects, and what follows if it has decided or found the decided segment right."""
        agreement, certificate = self.agreement, self.pending_certificate
        if agreement is None:
            return effects
        found, agreement.found = agreement.found, []
        effects = effects + [effect for piece in found for effect in self._note_evidence(piece)]
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
        """Whether the mark file allows signatures in this round (design 6.3), and no recovery that we signed forbids them."""
        allowed = not self._doubt and (self._floor is None or self.situation.round > self._floor)
        return allowed and self.recoveries.signed <= self.situation.state.epoch

    @property
    def pbft(self) -> Pbft | None:
        """This round's machine, if we hold a seat; for status only."""
        return None if self.agreement is None else self.agreement.pbft

    def _speak(self, signed: Signed[SignedBody], now: Instant, *, durable: bool) -> list[Effect]:
        self._resends.add(signed.envelope, now.mono, urgent=durable)
        return [Say(signed.envelope, self.situation.judges_but_me)]

    def _beacon(self) -> Beacon:
        state = self.situation.state
        return Beacon(
            state.chain, state.round, state.epoch, self.situation.head_hash, committee_hash(state.epoch, state.committee)
        )

    def _draw(self, purpose: bytes) -> int:
        drawn = digest(Domain.PRIVATE, self._private_seed, integer(self.situation.round), purpose)
        return int.from_bytes(drawn[:7], "big")

    def _role_text(self) -> str:
        situation = self.situation
        if situation.judges:
            return "judge and train" if situation.trains else "judge"
        return "train" if situation.trains and self._train else "follow"

    def _notice(self, type_: str, text: str, **fields: str | int) -> Notice:
        return notice(self.situation.round, type_, text, **fields)

    def _sync_changed(self, now: Instant, *, active: bool) -> list[Effect]:
        """Step out of the round while others' segments are taken over, and back in.

        If nothing came of it, the round goes on where it stood: whoever opened it anew would forget what it has signed.
        """
        if self.syncing == active:
            return []
        self.syncing = active
        if active:
            self._synced_from = self.situation.round
            return [self._notice("sync", "catching up")]
        notice = self._notice("sync", f"caught up at round {self.situation.round}")
        if self.situation.round == self._synced_from:
            return [notice, *self._advance(now)]
        self._set_round(self.situation.head, now.mono)
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


def _envelope_of_heard(heard: Heard) -> Envelope:
    return _envelope_of(heard.message)
