"""Certificates that a node knows: the last round's, which answers whoever lags, and the running one's, whose segment is pulled.

Invariants: a certificate is verified before anything follows from it; whoever stands in another round is answered, asked or
claimed to be ahead at most once every T0; two true certificates that contradict each other stop the node.
"""

from typing import Final

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.events import Instance
from bflcd.consensus.forks import fork_of
from bflcd.core.effects import CatchUp, Effect, FetchSegment, Halt, Send, notice
from bflcd.core.equivocation import EquivocationHandler
from bflcd.core.events import Instant
from bflcd.core.round_context import RoundContext
from bflcd.errors import PeerError, Rejection
from bflcd.types import Millis, NodeId, Round, short
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Verify
from bflcd.wire.evidence import evidence_of
from bflcd.wire.messages import Announcement
from bflcd.wire.recovery import RecoveryCertificate

FORK_HINT: Final = (
    "more than a third of that committee lied, and no software can say which block is right: compare with the other operators, "
    "let the managers remove whoever signed both, and start again from the chain that they agree on"
)
"""What an operator is told whose node has seen two certificates for one round."""


class Certificates:
    """Speaks and hears of decided rounds, from one to the next."""

    def __init__(self, context: RoundContext, equivocation: EquivocationHandler, verify: Verify) -> None:
        self._equivocation = equivocation
        self._verify = verify
        self.last: Certificate | None = None
        """That of the newest committed round."""
        self._last_instance: Instance | None = None
        self._announce_at: Millis | None = None
        self._answered: Millis | None = None
        self._behind_at: Millis | None = None
        self.open(context)

    def open(self, context: RoundContext) -> None:
        """A round has begun, or begins anew."""
        self._context = context
        self.pending: Certificate | None = None
        """That of the running round: it is decided, its segment has not come yet."""
        self._asked_segment: Millis | None = None

    def closed(self, certificate: Certificate, decided: RoundContext, now: Instant) -> list[Effect]:
        """The round that was `decided` is committed: its certificate is the last one now.

        One member announces for all: the leader at once, the next seat a moment later unless it has heard it by then. Whoever
        holds no seat only answers those that lag behind; a lost announcement shows in the next round's beacons.
        """
        self.last, self._last_instance, self._announce_at = certificate, decided.instance, None
        committee = self._context.committee
        if self._context.me not in committee:
            return []
        first = (certificate.round + certificate.view) % len(committee)
        turn = (committee.index(self._context.me) - first) % len(committee)
        if turn == 0:
            return [Send(Announcement(certificate))]
        self._announce_at = Millis(now.mono + self._context.params.view_timeout * turn // 8)
        return []

    def tick(self, now: Instant) -> list[Effect]:
        """Announce if nobody else has; ask again for a segment that has not come."""
        effects: list[Effect] = []
        if self._announce_at is not None and now.mono >= self._announce_at and self.last is not None:
            self._announce_at = None
            effects.append(Send(Announcement(self.last)))
        if self.pending is not None:
            effects += self.want_segment(now, tuple(node for node, _ in self.pending.signatures))
        return effects

    def deadline(self) -> Millis | None:
        """When we announce."""
        return self._announce_at

    def answer(self, now: Instant) -> list[Effect]:
        """Who has committed answers any message of that round with the certificate (design 6.2)."""
        return [] if self.last is None or not self._may_answer(now) else [Send(Announcement(self.last))]

    def answer_epoch(self, recovery: RecoveryCertificate, now: Instant) -> list[Effect]:
        """Whoever speaks in an epoch that a recovery has ended is shown that recovery."""
        return [Send(recovery)] if self._may_answer(now) else []

    def _may_answer(self, now: Instant) -> bool:
        if self._answered is not None and now.mono - self._answered < self._context.params.view_timeout:
            return False
        self._answered = now.mono
        return True

    def fall_behind(self, round_: Round, peer: NodeId, now: Instant) -> list[Effect]:
        """`peer` passed on what is of a later round: it may know more."""
        if self._behind_at is not None and now.mono - self._behind_at < self._context.params.view_timeout:
            return []
        self._behind_at = now.mono
        return [CatchUp(round_, peer)]

    def want_segment(self, now: Instant, holders: tuple[NodeId, ...]) -> list[Effect]:
        """Ask for the segment that closes the running round."""
        if self._asked_segment is not None and now.mono - self._asked_segment < self._context.params.view_timeout:
            return []
        self._asked_segment = now.mono
        wanted = tuple(dict.fromkeys(node for node in holders if node != self._context.me))
        return [FetchSegment(Round(self._context.round + 1), wanted)]

    def segment_refused(self) -> None:
        """What came was not it: ask again at once."""
        self._asked_segment = None

    def announced(self, certificate: Certificate, peer: NodeId, now: Instant, *, syncing: bool) -> list[Effect] | None:
        """A peer shows a certificate. None: it is true, and decides the running round. Raises PeerError."""
        context = self._context
        if certificate.chain != context.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a certificate of chain {short(certificate.chain)}")
        forked = self._forked(certificate)
        if forked:
            return forked
        if certificate.round == context.round - 1:
            self._announce_at = None  # somebody else has announced it
            last = self.last
            if last is not None and certificate.epoch > last.epoch and certificate.digest != last.digest:
                return self.fall_behind(Round(context.round + 1), peer, now)  # perhaps a recovery has superseded our block
        if certificate.round < context.round or syncing or self.pending is not None:
            return []
        if certificate.round > context.round:
            return self.fall_behind(Round(certificate.round + 1), peer, now)
        verify_certificate(certificate, context.decided_by(certificate, self._verify).instance, self._verify)
        return None

    def _forked(self, certificate: Certificate) -> list[Effect]:
        """Stop, loudly, at a true certificate that contradicts the one we hold for its round; keep and spread what convicts.

        Raises PeerError if the certificate isn't true.
        """
        context, ours, instance = self._context, self.last, self._last_instance
        if self.pending is not None and certificate.round == context.round:
            ours, instance = self.pending, context.decided_by(certificate, self._verify).instance
        fork = None if ours is None else fork_of(ours, certificate)
        if fork is None or instance is None:
            return []
        verify_certificate(certificate, instance, self._verify)
        named = ", ".join(short(node) for node in fork.liars) or "nobody can be named, since they are of different views"
        text = (
            f"two blocks are certified for round {certificate.round}: {short(fork.ours.digest)} here, in view {fork.ours.view}, "
            f"and {short(certificate.digest)} in view {certificate.view}; signed both: {named}"
        )
        proofs = [
            effect for liar in fork.liars for effect in self._equivocation.note(context.round, evidence_of(*fork.proof(liar)))
        ]
        return [*proofs, notice(context.round, "fork", text), Halt(text, FORK_HINT)]
