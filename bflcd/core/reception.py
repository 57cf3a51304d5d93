"""What becomes of a message: of the running round, of one that is past or to come, of an epoch that is over."""

from dataclasses import replace
from typing import Final

from bflcd.consensus.recovery import is_signed_by_any
from bflcd.core.certificates import Asker, Certificates
from bflcd.core.early_messages import EarlyMessages
from bflcd.core.effects import Blame, Effect
from bflcd.core.events import Instant, MessageReceived
from bflcd.core.facts import SomethingNew, Step
from bflcd.core.relaying import chain_of_payload, round_of_payload, signed_part
from bflcd.core.round.context import RoundContext
from bflcd.core.round.state import NodeParts, RoundState
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.registry import chain_of, kind_of
from bflcd.ledger.state import account_of
from bflcd.types import Epoch, NodeId, Round, short
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, Signed, open_envelope
from bflcd.wire.messages import (
    Announcement,
    Beacon,
    CardSeal,
    Commit,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    OffersClosed,
    Prepare,
    PrePrepare,
    ScoreCard,
    SignedBody,
    ViewChange,
)
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import RecoveryCertificate

BODIES: Final = (Beacon, Offer, OffersClosed, CardSeal, ScoreCard, PrePrepare, Prepare, Commit, ViewChange)
"""What a bare or justified envelope may hold."""

_NUMBERS: Final = tuple(number_of(kind) for kind in BODIES)


class Reception:
    """Leads each message to the part that it concerns. Whatever is refused raises PeerError and has changed nothing."""

    def __init__(self, node: NodeParts, certificates: Certificates, early: EarlyMessages) -> None:
        self._node = node
        self._certificates = certificates
        self._early = early

    def received(self, round_: RoundState, event: MessageReceived, now: Instant, *, syncing: bool) -> Step:
        """Take a message that nobody has checked yet. `syncing`: no part is taken in the round. Raises PeerError."""
        message, context = event.message, round_.context
        if isinstance(message, Announcement):
            decision = round_.decision
            pending = None if decision is None else decision.certificate
            return self._certificates.announced(context, pending, message.certificate, event.peer, now, syncing=syncing)
        if isinstance(message, Operation):
            return self._operation(context, message, event.peer, now)
        if isinstance(message, RecoveryCertificate):
            return self._recovery(round_, message, event.peer, now, syncing=syncing)
        envelope = signed_part(message)
        chain, of = chain_of_payload(envelope.payload, _NUMBERS), round_of_payload(envelope.payload)
        if chain != context.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a message of chain {short(chain)}")
        if of < context.round:  # the rest of it is of no use to anybody, and is not read
            return self._other_round(round_, event, envelope, of, now), []
        signed: Signed[SignedBody] = open_envelope(envelope, BODIES)
        body = signed.body
        if body.round != context.round:
            return self._other_round(round_, event, envelope, body.round, now), []
        if context.finished or syncing or envelope.author == context.me:
            return [], []
        if body.epoch != context.state.epoch:
            return self._other_epoch(context, body.epoch, event, envelope, now), []
        if isinstance(body, Beacon | Offer | OffersClosed | ScoreCard | CardSeal):
            return _collected(round_, Signed(body, envelope), now)
        return _vote(round_, message, event.peer, now)

    def _other_round(
        self, round_: RoundState, event: MessageReceived, envelope: Envelope, of: Round, now: Instant
    ) -> list[Effect]:
        """Which member lags is answered, which is one round ahead is kept, which is further ahead shows that we are behind."""
        context, author = round_.context, envelope.author
        if author not in context.members:
            if of > context.round or account_of(context.state, author) is not None:
                return []  # it may have become one since, and says it again; or has not heard yet that it is none any more
            raise PeerError(Rejection.NOT_MEMBER, f"{short(author)} is no member")
        if of < context.round:
            return self._certificates.answer(context, _asker(event, envelope, of), now)
        self._check_signature(envelope, of)
        if of == context.round + 1:
            self._early.keep(of, event)
            return round_.want_segment(now, (event.peer, author))
        return self._certificates.fall_behind(context, of, event.peer, now)

    def _other_epoch(
        self, context: RoundContext, epoch: Epoch, event: MessageReceived, envelope: Envelope, now: Instant
    ) -> list[Effect]:
        """A recovery has ended the lower epochs of this round; who still speaks in one is told of it, at most once every T0.

        Whoever speaks of a higher one tells us of its recovery when it hears us; what it has said is kept until then, since it
        was confirmed and is not pushed again soon.
        """
        if epoch > context.state.epoch and envelope.author in context.members:
            self._check_signature(envelope, context.round)
            self._early.keep(context.round, event)
        if epoch > context.state.epoch or context.recovery is None:
            return []
        asker = _asker(event, envelope, context.round)
        return self._certificates.answer_epoch(context, context.recovery, asker, now)

    def _check_signature(self, envelope: Envelope, of: Round) -> None:
        """All that can be judged of a message of what has yet to begin here. Raises PeerError."""
        if not self._node.verify(envelope):
            raise PeerError(Rejection.BAD_SIGNATURE, f"a message of round {of} in the name of {short(envelope.author)}")

    def _operation(self, context: RoundContext, operation: Operation, peer: NodeId, now: Instant) -> Step:
        if self._node.operations.knows(operation):
            return [], []
        state, since = context.state, kind_of(operation).since(operation)
        if since > state.round and chain_of(operation) == state.chain:  # not ours to judge yet, and perhaps right
            shown = self._node.operations.shows_later_round(state, context.members, operation)
            return self._certificates.fall_behind(context, since, peer, now) if shown else [], []
        return _news(self._node.operations.received(state, operation))

    def _recovery(
        self, round_: RoundState, certificate: RecoveryCertificate, peer: NodeId, now: Instant, *, syncing: bool
    ) -> Step:
        recovery, context = certificate.recovery, round_.context
        if recovery.chain != context.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a recovery of chain {short(recovery.chain)}")
        if recovery.round < context.round:
            return self._certificates.answer(context, Asker(peer, recovery.round, speaks_for_itself=False), now), []
        if recovery.round > context.round:
            shown = is_signed_by_any(certificate, context.head.state.managers, self._node.verify)
            return self._certificates.fall_behind(context, recovery.round, peer, now) if shown else [], []
        if syncing or context.finished or recovery.epoch < context.state.epoch:
            return [], []
        return round_.recoveries.received(certificate, context)


def _asker(event: MessageReceived, envelope: Envelope, of: Round) -> Asker:
    return Asker(event.peer, of, speaks_for_itself=event.peer == envelope.author)


def _collected(round_: RoundState, signed: Signed[Beacon | Offer | OffersClosed | ScoreCard | CardSeal], now: Instant) -> Step:
    match signed.body:
        case Beacon():
            return _news(round_.intake.beacon(Signed(signed.body, signed.envelope)))
        case Offer():
            return _news(round_.intake.offer(Signed(signed.body, signed.envelope)))
        case OffersClosed():
            return _news(round_.intake.closed(Signed(signed.body, signed.envelope)) if round_.context.judges else [])
        case CardSeal():
            return _news(round_.intake.seal(Signed(signed.body, signed.envelope), now) if round_.context.judges else [])
        case ScoreCard():
            return _news(round_.intake.card(Signed(signed.body, signed.envelope)) if round_.context.judges else [])


def _news(effects: list[Effect]) -> Step:
    """What is received again has no effects, and changes nothing."""
    return effects, [SomethingNew()] if effects else []


def _vote(round_: RoundState, message: Envelope | JustifiedPrePrepare | JustifiedViewChange, peer: NodeId, now: Instant) -> Step:
    if round_.agreement is None:
        return [], []
    effects, facts = round_.agreement.received(message, now)
    # what is not proven against its author counts against who passed it on
    named = [replace(effect, node=peer) if isinstance(effect, Blame) and effect.node is None else effect for effect in effects]
    return named, [*facts, SomethingNew()]
