"""PBFT for one round, with QBFT's justification rules, as a pure machine (design 6).

A view is a leader's attempt. The leader proposes a segment (pre-prepare); members that found it right and hold it durably
prepare; q prepares make it prepared, and members that hold it commit; q commits decide it. When a view's time is over, members
ask for the next one (view-change) and name the highest segment that they hold prepared, which the next leader must re-propose.

Safety: two quorums of q = M - f share f + 1 members, so an honest one. It signs one thing per view and phase, also across a
restart, and nothing of a view that it has left; so one view decides one digest, and no later view can justify another
(`justification`). Liveness: views last longer and longer up to 16 T0, a view is timed only when q members ask for it, and f + 1
of them pull the others along; so all honest members meet in a view with an honest leader.

Every input runs through `_advance`, which applies the rules until none of them changes anything. The leader also prepares
explicitly: its pre-prepare doesn't count as a prepare. Nothing here reads a clock, draws a number, or waits.
"""

from dataclasses import dataclass, field
from typing import Final, TypeVar

from bflcd.consensus.authentication import Authenticator
from bflcd.consensus.certificate import certificate_of
from bflcd.consensus.effects import (
    Broadcast,
    Build,
    Check,
    Decided,
    Effect,
    PersistPrepared,
    PersistVote,
    Refused,
    Relay,
    ViewEntered,
)
from bflcd.consensus.events import Built, CardsReady, Checked, Event, Instance, Journal, LockedProposal, Prepared, Received
from bflcd.consensus.justification import Justification, check_pre_prepare, check_view_change, choose
from bflcd.consensus.signing import OwnVotes
from bflcd.consensus.status import Phase
from bflcd.consensus.timers import Timers
from bflcd.consensus.votes import WINDOW, Claim, Subject, ViewChanges, VoteBuffer
from bflcd.crypto.identity import Signer
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.ledger.operations.evidence import ConflictError, evidence_of
from bflcd.types import Digest, Millis, NodeId, View, short
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Envelope, Signed, Verify
from bflcd.wire.messages import Commit, JustifiedPrePrepare, JustifiedViewChange, Prepare, PrePrepare, ViewChange, Vote
from bflcd.wire.proposal import Proposal, proposal_id

MAX_VIEW: Final = View(2**32)
"""Last view that has an encoding; the machine stays there rather than fail."""

MAX_RIGHT: Final = 64
"""Segments remembered as right and durable; one that fell out is checked again."""

OUR_LACK: Final = frozenset({Rejection.BUSY, Rejection.UNAVAILABLE})
"""Answers to `Check` that say nothing of the segment: its leader is not to blame."""

COLLECTED: Final[tuple[type[Prepare | Commit], ...]] = (Prepare, Commit)

NOTHING_SIGNED: Final = Journal()

V = TypeVar("V", Prepare, Commit)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What the leader of the view proposed, justified."""

    view: View
    digest: Digest
    proposal: Proposal
    id: Digest = field(init=False)
    """Of the proposal."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", proposal_id(self.proposal))

    @property
    def prepares(self) -> Subject:
        """What a prepare for it is for."""
        return self.view, self.digest, self.id

    @property
    def commits(self) -> Subject:
        """What a commit for it is for."""
        return self.view, self.digest, None


@dataclass(slots=True)
class _Attempt:
    """What belongs to the current view alone, and goes with it."""

    view: View
    entered: bool = False
    """Whether the view is timed, or a justified pre-prepare proved that q members asked for it."""
    pre_prepare: Signed[PrePrepare] | None = None
    accepted: _Accepted | None = None
    proposed: JustifiedPrePrepare | None = None
    """Our own pre-prepare, as it is re-sent."""
    heard: JustifiedPrePrepare | None = None
    """The leader's pre-prepare, as it came."""
    passed_on: bool = False
    """Whether `heard` was passed on to the others, since one of them prepared something else."""
    free_choice: Justification | None = None
    """Why we were free to build, once `Build` is out."""
    asked: set[tuple[Digest, Proposal]] = field(default_factory=set)
    """Prepared segments that a leader had checked."""
    unusable: set[tuple[Digest, Proposal]] = field(default_factory=set)
    """Segments that did not check in this view."""


class Pbft:
    """One member's view of one instance. The caller carries out every returned effect, in order, before the next call.

    `signer` None: follows and collects, and signs nothing. `journal`: what this member made durable before a restart.
    Call `tick` at `deadline`; calling it early or late is harmless, and a clock that jumps back only delays.
    """

    def __init__(self, instance: Instance, signer: Signer | None, verify: Verify, journal: Journal = NOTHING_SIGNED) -> None:
        """Raise InvariantError if the instance, the signer or the journal can't belong together."""
        if not instance.committee or len(set(instance.committee)) != len(instance.committee) or instance.view_timeout <= 0:
            raise InvariantError("an instance needs distinct committee members and a positive view timeout")
        self._instance = instance
        self._auth = Authenticator(instance, verify)
        self._timers = Timers(instance.view_timeout)
        self._prepares: VoteBuffer[Prepare] = VoteBuffer()
        self._commits: VoteBuffer[Commit] = VoteBuffer()
        self._view_changes = ViewChanges()
        self._own = OwnVotes(instance, signer, self._auth, journal)
        self._right: dict[Digest, Proposal] = {}
        self._prepared: Prepared | None = None
        self._certificate: Certificate | None = None
        self._attempt = _Attempt(View(0))
        self._cards_ready = False
        self._started = False
        self._effects: list[Effect] = []
        self._restore(journal)

    # What the caller sees

    @property
    def view(self) -> View:
        """The view that we are in, or have asked for."""
        return self._attempt.view

    @property
    def leader(self) -> NodeId:
        """Leader of `view`."""
        return self._instance.leader(self._attempt.view)

    @property
    def certificate(self) -> Certificate | None:
        """The decision, once there is one."""
        return self._certificate

    @property
    def prepared(self) -> Prepared | None:
        """The highest prepared certificate that we hold."""
        return self._prepared

    @property
    def phase(self) -> Phase:
        """What the machine waits for."""
        accepted = self._attempt.accepted
        if self._certificate is not None:
            return Phase.DECIDED
        if accepted is None:
            waiting = Phase.COLLECTING if self._attempt.view == 0 else Phase.VIEW_CHANGE
            return Phase.PROPOSING if self._attempt.entered else waiting
        if not self._is_right(accepted.digest, accepted.proposal):
            return Phase.CHECKING
        held = self._prepares.count(accepted.prepares)
        return Phase.PREPARING if held < self._instance.q else Phase.COMMITTING

    @property
    def missing(self) -> tuple[NodeId, ...]:
        """Members, in seat order, whose message the current phase waits for."""
        phase, view = self.phase, self._attempt.view
        if phase is Phase.PROPOSING:
            return (self.leader,)
        if phase is Phase.VIEW_CHANGE:
            asked = self._view_changes.highest()
            return tuple(member for member in self._instance.committee if asked.get(member, View(0)) < view)
        if phase is Phase.PREPARING:
            return tuple(member for member in self._instance.committee if self._prepares.held(member, view) is None)
        if phase is Phase.COMMITTING:
            return tuple(member for member in self._instance.committee if self._commits.held(member, view) is None)
        return ()

    def deadline(self) -> Millis | None:
        """When `tick` is next wanted, on the caller's clock; None for never. A restored machine wants it at once."""
        if not self._started and self._own.all():
            return Millis(0)
        return self._timers.deadline()

    def tick(self, now: Millis) -> tuple[Effect, ...]:
        """Time passed: end the view if it is over, re-send own votes if they are due (design 6.7)."""
        if self._certificate is not None:
            return ()
        self._observe(now)
        if self._timers.view_expired:
            self._timers.stop_view()
            if self._attempt.view < MAX_VIEW:
                self._change_view(View(self._attempt.view + 1))
        elif self._timers.resend_is_due:
            self._send_again()
            self._timers.sent_again()
        return self._advance()

    def handle(self, event: Event, now: Millis) -> tuple[Effect, ...]:
        """Take an event; never raises for anything that a peer sent."""
        if self._certificate is not None:
            return ()
        self._observe(now)
        match event:
            case CardsReady():
                self._on_cards_ready()
            case Built():
                self._on_built(event)
            case Checked():
                self._on_checked(event)
            case Received(message):
                try:
                    self._on_message(message)
                except PeerError as error:
                    evidence = error.evidence if isinstance(error, ConflictError) else None
                    proven = error.rejection is Rejection.CONFLICT
                    self._emit(Refused(_author(message), error.rejection, str(error), proven, evidence))
        return self._advance()

    # Inputs

    def _on_cards_ready(self) -> None:
        """Design 6.7: view 0 is timed from the moment that we hold q cards."""
        if not self._cards_ready and self._attempt.view == 0:
            self._enter_view()
        self._cards_ready = True

    def _on_built(self, event: Built) -> None:
        self._remember_right(event.digest, event.proposal)
        justification = self._attempt.free_choice
        if event.view != self._attempt.view or justification is None or not self._may_propose():
            return
        self._propose(event.digest, event.proposal, justification)

    def _on_checked(self, event: Checked) -> None:
        if event.refused is None:
            self._remember_right(event.digest, event.proposal)
            return
        self._attempt.unusable.add((event.digest, event.proposal))
        accepted = self._attempt.accepted
        if accepted is not None and (accepted.digest, accepted.proposal) == (event.digest, event.proposal):
            text = (
                f"the segment {short(event.digest)} proposed in view {self._attempt.view} does not check: {event.refused.value}"
            )
            wrong = event.refused not in OUR_LACK and self._attempt.pre_prepare is not None
            self._emit(Refused(self.leader, event.refused, text, proven=wrong))

    def _on_message(self, message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> None:
        if isinstance(message, JustifiedPrePrepare):
            self._on_pre_prepare(message)
        elif isinstance(message, JustifiedViewChange):
            self._on_view_change(message)
        else:
            self._on_vote(message)

    def _on_pre_prepare(self, message: JustifiedPrePrepare) -> None:
        """Design 6.1 and 6.4: of the view's leader, justified, and for a view that we have not left."""
        signed = self._auth.read(message.pre_prepare, (PrePrepare,))
        body = signed.body
        if signed.author != self._instance.leader(body.view):
            raise PeerError(Rejection.NOT_LEADER, f"{short(signed.author)} doesn't lead view {body.view}")
        if body.view < self._attempt.view:
            return
        held = self._attempt.pre_prepare if body.view == self._attempt.view else None
        if held is not None:
            self._require_same(held.envelope, signed.envelope, f"pre-prepare of view {body.view}")
            return
        own = self._own.get(body.view, PrePrepare)
        if own is not None:
            self._require_same(own.envelope, signed.envelope, f"pre-prepare of view {body.view}")
        self._auth.check_signature(signed.envelope)
        reproposal = check_pre_prepare(message, body, self._instance, self._auth)
        if body.view > self._attempt.view:
            self._move_to(body.view)
        if body.view > 0 and not self._attempt.entered:
            self._enter_view()
        self._attempt.pre_prepare = signed
        self._attempt.heard = message
        if own is not None:
            self._attempt.proposed = message
        self._pass_on()
        self._accept(_Accepted(body.view, body.digest, body.proposal), reproposal=reproposal)

    def _on_vote(self, envelope: Envelope) -> None:
        """Design 6.2 and 6.6. Commits count towards their own view's certificate, whichever view we are in."""
        signed = self._auth.read(envelope, COLLECTED)
        body = signed.body
        if body.view > self._attempt.view + WINDOW:
            who, kind = short(signed.author), type(body).__name__
            text = f"{kind} for view {body.view} by {who}: we are in view {self._attempt.view}, it may be ahead"
            raise PeerError(Rejection.WRONG_VIEW, text)
        if isinstance(body, Commit):
            self._collect(self._commits, Signed(body, envelope))
        elif body.view >= self._attempt.view:
            self._collect(self._prepares, Signed(body, envelope))
            self._pass_on()

    def _pass_on(self) -> None:
        """Somebody prepared another segment than our leader proposed to us: whoever holds both pre-prepares has evidence."""
        attempt = self._attempt
        if attempt.heard is None or attempt.pre_prepare is None or attempt.passed_on:
            return
        digest = attempt.pre_prepare.body.digest
        votes = [self._prepares.held(member, attempt.view) for member in self._instance.committee]
        if any(vote is not None and vote.body.digest != digest for vote in votes):
            attempt.passed_on = True
            self._emit(Relay(attempt.heard))

    def _collect(self, buffer: VoteBuffer[V], vote: Signed[V]) -> None:
        held = buffer.held(vote.author, vote.body.view)
        if held is not None:
            self._require_same(held.envelope, vote.envelope, f"{type(vote.body).__name__} of view {vote.body.view}")
            return
        self._auth.check_signature(vote.envelope)
        buffer.add(vote)

    def _on_view_change(self, message: JustifiedViewChange) -> None:
        """Design 6.5: each author's highest, whatever its view."""
        signed = self._auth.read(message.view_change, (ViewChange,))
        if signed.body.view < self._attempt.view or self._view_changes.held(signed.author, signed.body.view) is not None:
            return
        self._view_changes.add(check_view_change(message, signed, self._instance.q, self._auth))

    def _require_same(self, held: Envelope, other: Envelope, what: str) -> None:
        """Two signed messages in one place are evidence (design 6.9); the same one again is nothing."""
        if held.payload == other.payload:
            return
        self._auth.check_signature(other)
        raise ConflictError(evidence_of(held, other), f"{short(other.author)} signed two different messages as its {what}")

    # Rules

    def _advance(self) -> tuple[Effect, ...]:
        """Apply the rules until none of them changes anything, and return the effects."""
        rules = (self._decide, self._join, self._enter, self._lead, self._prepare, self._commit)
        while self._certificate is None and any(rule() for rule in rules):
            pass
        effects, self._effects = tuple(self._effects), []
        return effects

    def _decide(self) -> bool:
        """Design 6.2: q commits of distinct members for one digest in one view."""
        found = self._commits.quorum(self._instance.q)
        if found is None:
            return False
        self._certificate = certificate_of(self._commits.votes(found)[: self._instance.q])
        self._timers.stop()
        self._emit(Decided(self._certificate, self._right.get(self._certificate.digest)))
        return True

    def _join(self) -> bool:
        """Design 6.5: join the (f + 1)-th highest view that members ask for: an honest one is among those."""
        wanted = self._view_changes.nth_highest(self._instance.f + 1)
        if wanted <= self._attempt.view:
            return False
        self._change_view(wanted)
        return True

    def _enter(self) -> bool:
        """Design 6.7: a view is timed only once q members ask for it or a higher one, so that views meet."""
        view = self._attempt.view
        if view == 0 or self._attempt.entered or self._view_changes.count_from(view) < self._instance.q:
            return False
        self._enter_view()
        return True

    def _lead(self) -> bool:
        """Design 6.4: view 0 and free choice build; else the highest prepared segment is re-proposed, once checked here."""
        if not self._may_propose():
            return False
        justification: Justification | None = Justification((), None)
        if self._attempt.view > 0:
            claims = self._view_changes.for_view(self._attempt.view)
            justification = choose(claims, self._instance.q, self._is_usable)
        if justification is None:
            return False
        signed = self._own.get(self._attempt.view, PrePrepare)
        if signed is not None:
            return self._propose_again(signed, justification)
        if justification.prepared is not None:
            return self._re_propose(justification, justification.prepared, self._source_of(justification.prepared))
        if self._instance.locked is not None:
            return self._re_propose(justification, self._instance.locked, self.leader)
        return self._ask_to_build(justification)

    def _prepare(self) -> bool:
        """Design 6.1: a prepare says that the segment is right, durable and pinned here."""
        accepted = self._signable(Prepare)
        if accepted is None:
            return False
        vote = self._own.prepare(accepted.view, accepted.digest, accepted.id)
        self._prepares.add(vote)
        self._send_signed(vote.envelope, vote.envelope)
        return True

    def _commit(self) -> bool:
        """Design 6.2: q prepares, the pre-prepare and the segment itself, durable here; the certificate before the commit."""
        accepted = self._signable(Commit)
        if accepted is None:
            return False
        prepares = self._prepares.votes(accepted.prepares)[: self._instance.q]
        if len(prepares) < self._instance.q:
            return False
        if self._prepared is None or self._prepared.view < self._attempt.view:
            envelopes = tuple(prepare.envelope for prepare in prepares)
            self._prepared = Prepared(self._attempt.view, accepted.digest, accepted.proposal, envelopes)
            self._emit(PersistPrepared(self._prepared))
        vote = self._own.commit(accepted.view, accepted.digest)
        self._commits.add(vote)
        self._send_signed(vote.envelope, vote.envelope)
        return True

    # Leading

    def _may_propose(self) -> bool:
        return self._own.author == self.leader and self._attempt.pre_prepare is None

    def _ask_to_build(self, justification: Justification) -> bool:
        if not self._cards_ready or self._attempt.free_choice is not None:
            return False
        self._attempt.free_choice = justification
        self._emit(Build(self._attempt.view))
        return True

    def _re_propose(self, justification: Justification, prepared: Prepared | LockedProposal, source: NodeId) -> bool:
        proposal = self._right.get(prepared.digest)
        if proposal is None:
            wanted = (prepared.digest, prepared.proposal)
            if wanted in self._attempt.asked:
                return False
            self._attempt.asked.add(wanted)
            self._emit(Check(prepared.proposal, prepared.digest, self._attempt.view, source, reproposal=True))
            return True
        self._propose(prepared.digest, proposal, justification)
        return True

    def _source_of(self, prepared: Prepared) -> NodeId:
        claims = self._view_changes.for_view(self._attempt.view)
        return next(claim.author for claim in claims if claim.prepared == prepared)

    def _propose(self, digest: Digest, proposal: Proposal, justification: Justification) -> None:
        signed = self._own.pre_prepare(self._attempt.view, digest, proposal)
        self._publish(signed, justification)

    def _propose_again(self, signed: Signed[PrePrepare], justification: Justification) -> bool:
        """After a restart: the same pre-prepare, if the view-changes that came in meanwhile justify it again."""
        bound = justification.prepared or self._instance.locked
        if bound is not None and bound.digest != signed.body.digest:
            return False
        self._publish(signed, justification)
        return True

    def _publish(self, signed: Signed[PrePrepare], justification: Justification) -> None:
        attempt, prepared = self._attempt, justification.prepared
        attempt.pre_prepare = signed
        attempt.proposed = JustifiedPrePrepare(
            signed.envelope, justification.view_changes, () if prepared is None else prepared.prepares
        )
        self._send_signed(signed.envelope, attempt.proposed)
        bound = prepared is not None or self._instance.locked is not None
        self._accept(_Accepted(attempt.view, signed.body.digest, signed.body.proposal), reproposal=bound)

    def _is_usable(self, prepared: Prepared) -> bool:
        return prepared.digest in self._right or (prepared.digest, prepared.proposal) not in self._attempt.unusable

    # Segments

    def _accept(self, accepted: _Accepted, *, reproposal: bool) -> None:
        """A prepared segment that was restored for this view stays the accepted one, whatever its leader says now."""
        if self._attempt.accepted is None:
            self._attempt.accepted = accepted
        if self._attempt.accepted == accepted and not self._is_right(accepted.digest, accepted.proposal):
            self._emit(Check(accepted.proposal, accepted.digest, self._attempt.view, self.leader, reproposal=reproposal))

    def _is_right(self, digest: Digest, proposal: Proposal) -> bool:
        return self._right.get(digest) == proposal

    def _remember_right(self, digest: Digest, proposal: Proposal) -> None:
        self._right.setdefault(digest, proposal)
        if len(self._right) > MAX_RIGHT:
            kept = {digest} | {item.digest for item in (self._prepared, self._attempt.accepted) if item is not None}
            del self._right[next(known for known in self._right if known not in kept)]

    # Views

    def _move_to(self, view: View) -> None:
        """Leave the current view for ever: nothing of it is signed any more."""
        self._attempt = _Attempt(view)
        self._timers.stop_view()
        self._prepares.forget_below(view)
        self._view_changes.forget_below(view)
        self._own.forget_below(view)

    def _enter_view(self) -> None:
        self._attempt.entered = True
        if self._own.author is not None:
            self._timers.start_view(self._attempt.view)
        self._emit(ViewEntered(self._attempt.view, self.leader))

    def _change_view(self, view: View) -> None:
        """Ask for a view, naming the highest segment that we hold prepared (design 6.4)."""
        self._move_to(view)
        if self._own.author is None:
            return
        claim = Claim(self._own.view_change(view, self._prepared), self._prepared)
        self._view_changes.add(claim)
        self._send_signed(claim.view_change.envelope, claim.message)

    # Own votes

    def _signable(self, kind: type[Prepare | Commit]) -> _Accepted | None:
        """What a vote of this kind would be for: accepted in this view, right and durable here, and not voted on yet."""
        accepted = self._attempt.accepted
        if accepted is None or not self._own.may_sign(self._attempt.view, kind):
            return None
        return accepted if self._is_right(accepted.digest, accepted.proposal) else None

    def _send_signed(self, vote: Envelope, message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> None:
        """Design 6.3: durable first, then sent. A vote of the journal is persisted again: that is idempotent."""
        self._emit(PersistVote(vote))
        self._emit(Broadcast(message))
        self._timers.start_sending()

    def _send_again(self) -> None:
        """Re-send every own vote of the current view as it stands: the transport loses messages silently (design 6.7)."""
        if self._own.author is None:
            return
        attempt = self._attempt
        claim = self._view_changes.held(self._own.author, attempt.view)
        if claim is not None:
            self._emit(Broadcast(claim.message))
        if attempt.proposed is not None:
            self._emit(Broadcast(attempt.proposed))
        for vote in (self._own.get(attempt.view, Prepare), self._own.get(attempt.view, Commit)):
            if vote is not None:
                self._emit(Broadcast(vote.envelope))

    # Time and restart

    def _observe(self, now: Millis) -> None:
        self._timers.observe(now)
        if self._started:
            return
        self._started = True
        if self._own.all():
            self._send_again()
            self._timers.start_sending()
        view = self._attempt.view
        voted = any(vote.body.view == view and not isinstance(vote.body, ViewChange) for vote in self._own.all())
        if view > 0 and voted:
            self._enter_view()

    def _restore(self, journal: Journal) -> None:
        """Stand where the journal ends: in the highest view signed in, with its votes and prepared certificate (design 6.3)."""
        prepared, votes = journal.prepared, self._own.all()
        self._prepared = prepared
        view = max((vote.body.view for vote in votes), default=View(0))
        view = view if prepared is None else max(view, prepared.view)
        self._attempt = _Attempt(view)
        for vote in votes:
            self._restore_vote(vote)
        self._own.forget_below(view)
        if prepared is not None and prepared.view == view:
            self._attempt.accepted = _Accepted(view, prepared.digest, prepared.proposal)
            for envelope in prepared.prepares:
                self._prepares.add(self._auth.read(envelope, (Prepare,)))

    def _restore_vote(self, vote: Signed[Vote]) -> None:
        body, prepared = vote.body, self._prepared
        if isinstance(body, Commit):
            self._commits.add(Signed(body, vote.envelope))
        elif body.view < self._attempt.view:
            return
        elif isinstance(body, Prepare):
            self._prepares.add(Signed(body, vote.envelope))
        elif isinstance(body, ViewChange):
            names = None if prepared is None else (prepared.view, prepared.digest)
            if body.prepared_view is None:
                self._view_changes.add(Claim(Signed(body, vote.envelope), None))
            elif (body.prepared_view, body.prepared_digest) == names:
                self._view_changes.add(Claim(Signed(body, vote.envelope), prepared))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)


def _author(message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> NodeId:
    if isinstance(message, JustifiedPrePrepare):
        return message.pre_prepare.author
    if isinstance(message, JustifiedViewChange):
        return message.view_change.author
    return message.author
