"""Certificates of decided rounds: the last one answers whoever lags, and one that contradicts it stops the node.

Invariants: whoever stands in another round is answered or claimed to be ahead at most once every T0, whoever else is; nobody
waits for an answer longer than `QUIET`; two true certificates that contradict each other stop the node.
"""

from dataclasses import dataclass
from typing import Final

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.events import Instance
from bflcd.consensus.forks import fork_of
from bflcd.core.effects import CatchUp, Effect, Halt, Send, notice
from bflcd.core.events import Instant
from bflcd.core.facts import RoundDecided, Step
from bflcd.core.node_events import EventKind
from bflcd.core.operations import OperationHandler
from bflcd.core.round.context import RoundContext
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.types import Millis, NodeId, Round, short
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Verify
from bflcd.wire.messages import Announcement, Gossip
from bflcd.wire.recovery import RecoveryCertificate

FORK_HINT: Final = (
    "more than a third of that committee lied, and no software can say which block is right: compare with the other operators, "
    "let the managers remove whoever signed both, and start again from the chain that they agree on"
)
"""What an operator is told whose node has seen two certificates for one round."""

QUIET: Final = 4
"""Parts of T0: for one of them after a round is committed, its announcement is taken to be under way to those who work on it."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who has brought us what is of an earlier `round`. `speaks_for_itself`: it says that it is its own."""

    peer: NodeId
    round: Round
    speaks_for_itself: bool


class Certificates:
    """Announces decided rounds and takes announcements. `context` is the running round's in every call."""

    def __init__(self, operations: OperationHandler, verify: Verify, last: Certificate | None) -> None:
        """`last`: that of the newest committed round, None at the genesis."""
        self._operations = operations
        self._verify = verify
        self._last = last
        self._last_instance: Instance | None = None
        self._closed_at: Millis | None = None
        self._announce_at: Millis | None = None
        self._answered = _Pauses()
        self._shown = _Pauses()
        """Of recoveries, apart from certificates: who has just heard of the round before may need this next, and asks once."""
        self._followed = _Pauses()

    def closed(self, context: RoundContext, certificate: Certificate, now: Instant) -> list[Effect]:
        """The round is committed: its certificate is the last one now. `context`: the round as it was decided, which may be by
        another committee than the one that this node knew of.

        One member announces for all: the leader at once, the next seat a moment later unless it has heard it by then. Whoever
        holds no seat only answers those that lag behind; a lost announcement shows in the next round's beacons.
        """
        self._last, self._last_instance, self._closed_at, self._announce_at = certificate, context.instance, now.mono, None
        committee = context.committee
        if not context.judges:
            return []
        first = certificate.view % len(committee)
        turn = (committee.index(context.me) - first) % len(committee)
        if turn == 0:
            return [Send(Announcement(certificate))]
        self._announce_at = Millis(now.mono + context.params.view_timeout * turn // 8)
        return []

    def tick(self, now: Instant) -> list[Effect]:
        """Announce if nobody else has."""
        if self._announce_at is None or now.mono < self._announce_at or self._last is None:
            return []
        self._announce_at = None
        return [Send(Announcement(self._last))]

    def deadline(self) -> Millis | None:
        """When we announce."""
        return self._announce_at

    def answer(self, context: RoundContext, asker: Asker, now: Instant) -> list[Effect]:
        """Who has committed answers whoever brings a message of that round with the certificate (design 6.2).

        Not at once: most of those who still work on the round that has just been committed hear of it before an answer comes.
        """
        just_closed = self._closed_at is not None and now.mono - self._closed_at < context.params.view_timeout // QUIET
        if self._last is None or (just_closed and asker.round == self._last.round):
            return []
        return _once(self._answered, context, Announcement(self._last), asker, now)

    def answer_epoch(self, context: RoundContext, recovery: RecoveryCertificate, asker: Asker, now: Instant) -> list[Effect]:
        """Whoever speaks in an epoch that a recovery has ended is shown that recovery."""
        return _once(self._shown, context, recovery, asker, now)

    def fall_behind(self, context: RoundContext, round_: Round, peer: NodeId, now: Instant) -> list[Effect]:
        """`peer` passed on what is of a later round: it may know more."""
        return [CatchUp(round_, peer)] if self._followed.is_over(peer, context, now) else []

    def announced(
        self,
        context: RoundContext,
        pending: Certificate | None,
        certificate: Certificate,
        peer: NodeId,
        now: Instant,
        *,
        syncing: bool,
    ) -> Step:
        """A peer shows a certificate. `pending`: the one that we hold for the running round. Raises PeerError."""
        if certificate.chain != context.state.chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"a certificate of chain {short(certificate.chain)}")
        forked = self._forked(context, pending, certificate)
        if forked:
            return forked, []
        if certificate.round == context.round - 1:
            self._announce_at = None  # somebody else has announced it
            last = self._last
            if last is not None and certificate.epoch > last.epoch and certificate.digest != last.digest:
                # perhaps a recovery has superseded our block
                return self.fall_behind(context, Round(context.round + 1), peer, now), []
        if certificate.round < context.round or syncing or pending is not None:
            return [], []
        if certificate.round > context.round:
            return self.fall_behind(context, Round(certificate.round + 1), peer, now), []
        if certificate.epoch > context.state.epoch and certificate.recovery is None:
            # A recovery of this round would be with it. One of an earlier round, which we missed, has superseded our blocks: the
            # peer is asked at once, since two histories that go on side by side are seldom one round apart for longer.
            return self.fall_behind(context, Round(certificate.round + 2), peer, now), []
        return [], [RoundDecided(certificate, (peer,))]

    def _forked(self, context: RoundContext, pending: Certificate | None, certificate: Certificate) -> list[Effect]:
        """Stop, loudly, at a true certificate that contradicts the one we hold for its round; keep and spread what convicts.

        Raises PeerError if the certificate isn't true.
        """
        ours, instance = self._last, self._last_instance
        if pending is not None and certificate.round == context.round:
            ours, instance = pending, context.decided_by(certificate, self._verify).instance
        fork = None if ours is None else fork_of(ours, certificate)
        if fork is None or instance is None:
            return []
        verify_certificate(certificate, instance, self._verify)
        named = ", ".join(short(node) for node in fork.liars) or "nobody can be named, since they are of different views"
        text = (
            f"two blocks are certified for round {certificate.round}: {short(fork.ours.digest)} here, in view {fork.ours.view}, "
            f"and {short(certificate.digest)} in view {certificate.view}; signed both: {named}"
        )
        found = (evidence_of(*fork.proof(node)) for node in fork.liars)
        proofs = [effect for piece in found for effect in self._operations.note(context.round, piece)]
        return [*proofs, notice(context.round, EventKind.FORK, text), Halt(text, FORK_HINT)]


def _once(pauses: "_Pauses", context: RoundContext, answer: Gossip, asker: Asker, now: Instant) -> list[Effect]:
    """Straight to who speaks for itself. The author of what others pass on can be anywhere: all hear one answer a T0."""
    straight = asker.speaks_for_itself or pauses.runs(context, now)
    if not pauses.is_over(asker.peer, context, now):
        return []
    return [Send(answer, (asker.peer,) if straight else ())]


class _Pauses:
    """Of T0, each peer's its own: nobody who asks often keeps the others from their answers."""

    def __init__(self) -> None:
        self._since: dict[NodeId, Millis] = {}

    def runs(self, context: RoundContext, now: Instant) -> bool:
        """Whether anybody's is not over."""
        return any(now.mono - since < context.params.view_timeout for since in self._since.values())

    def is_over(self, peer: NodeId, context: RoundContext, now: Instant) -> bool:
        """Whether this peer's is over, or there was none; then it begins anew."""
        pause = context.params.view_timeout
        self._since = {node: since for node, since in self._since.items() if now.mono - since < pause}
        if peer in self._since:
            return False
        self._since[peer] = now.mono
        return True
