"""Everything that lives for one round under one committee. When either changes, all of it is replaced at once."""

from dataclasses import dataclass

from bflcd.consensus.events import Journal
from bflcd.core.effects import Effect, FetchSegment
from bflcd.core.equivocation import EquivocationHandler
from bflcd.core.events import Instant
from bflcd.core.operations import OperationHandler
from bflcd.core.records import Head
from bflcd.core.round.agreement import Agreement
from bflcd.core.round.collection import Before, Collection, Words
from bflcd.core.round.context import RoundContext
from bflcd.core.round.intake import MessageIntake
from bflcd.core.round.local_work import LocalWork
from bflcd.core.round.old_models import OldModels
from bflcd.core.round.recovery_signatures import RecoverySignatures
from bflcd.core.round.retransmission import Retransmissions
from bflcd.core.signing_guard import SigningGuard
from bflcd.core.trust.judging_account import JudgingAccount
from bflcd.crypto.identity import Signer
from bflcd.params import Genesis
from bflcd.types import Millis, NodeId, Round
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Verify


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What a node keeps from round to round, as its rounds use it.

    `private_seed`: secret randomness of this node, from which each round's draws follow; `follows`: it takes no part in rounds;
    `account`: of what its cards have told of its rows.
    """

    genesis: Genesis
    signer: Signer
    verify: Verify
    private_seed: bytes
    follows: bool
    guard: SigningGuard
    operations: OperationHandler
    equivocation: EquivocationHandler
    account: JudgingAccount

    def context(self, head: Head) -> RoundContext:
        """The round that `head` opens."""
        return RoundContext(self.genesis, head, self.signer.node_id, follows=self.follows)


@dataclass(frozen=True, slots=True)
class Decision:
    """What closes the running round, verified; `context`: the round as it was decided, perhaps under a recovery."""

    certificate: Certificate
    context: RoundContext


class RoundState:
    """One round of one node, in one epoch."""

    def __init__(
        self,
        node: NodeParts,
        context: RoundContext,
        opened: Millis,
        before: Before,
        words: Words,
    ) -> None:
        """Begin it at `opened`."""
        self.node = node
        self.context = context
        self.recoveries = RecoverySignatures(context.first_instance, context.head.state.managers, node.verify)
        self.collection = Collection(context, opened, before, words)
        self.retransmissions = Retransmissions(context.params.view_timeout, judges=context.judges)
        self.intake = MessageIntake(context, self.collection, node.equivocation, node.verify)
        self.work = LocalWork(
            context, self.collection, self.retransmissions, node.signer, node.private_seed, account=node.account
        )
        self.models = OldModels(context, node.operations.pool, self.collection)
        self.agreement: Agreement | None = None
        """Ours in the decision, if we hold a seat."""
        self.decision: Decision | None = None
        """The round is decided; its segment has not come yet."""
        self._segment_asked: Millis | None = None

    def in_epoch_of(self, context: RoundContext, opened: Millis, before: Before, words: Words) -> "RoundState":
        """The same round, in the epoch of a recovery: what was gathered, what managers signed and the work done stay."""
        renewed = RoundState(self.node, context, opened, before, words)
        renewed.recoveries = self.recoveries
        renewed.collection.inherit(self.collection)
        renewed.work.inherit(self.work)
        return renewed

    @property
    def may_sign(self) -> bool:
        """Whether the guard allows signatures in this round (design 6.3), and no recovery that we signed forbids them."""
        return self.node.guard.allows(self.context.round) and self.recoveries.signed <= self.context.state.epoch

    def join_agreement(self, journal: Journal) -> Agreement:
        """Take our seat in the decision, as a silent one while nothing may be signed; `journal`: what we signed before."""
        self.agreement = Agreement(
            self.context,
            self.collection,
            self.node.operations.pool,
            self.models,
            self.retransmissions,
            signer=self.node.signer if self.may_sign else None,
            verify=self.node.verify,
            journal=journal,
        )
        return self.agreement

    def deadline(self, now: Millis) -> Millis | None:
        """When time alone changes something, at the latest."""
        if self.context.finished:
            return self.work.deadline()
        waits = [self.retransmissions.deadline(), self.work.deadline()]
        if self.agreement is not None:
            waits.append(self.agreement.deadline())
            sealed = self.collection.own_card is not None  # and shown in its time, whatever this node may sign by then
            if sealed or (self.may_sign and not self.context.bound):
                waits.append(self.collection.deadline(now))
        if self.decision is not None and self._segment_asked is not None:
            waits.append(Millis(self._segment_asked + self.context.params.view_timeout))
        return min((wait for wait in waits if wait is not None), default=None)

    # -- the decision's segment ---------------------------------------------------------------------------------------

    def want_segment(self, now: Instant, holders: tuple[NodeId, ...]) -> list[Effect]:
        """Ask for the segment that closes the round, at most once every T0."""
        if self._segment_asked is not None and now.mono - self._segment_asked < self.context.params.view_timeout:
            return []
        self._segment_asked = now.mono
        wanted = tuple(dict.fromkeys(node for node in holders if node != self.context.me))
        return [FetchSegment(Round(self.context.round + 1), wanted)]

    def want_decided(self, now: Instant) -> list[Effect]:
        """Ask again for a decided segment that has not come: of those who signed for it."""
        if self.decision is None:
            return []
        return self.want_segment(now, tuple(node for node, _ in self.decision.certificate.signatures))

    def segment_refused(self) -> None:
        """What came was not it: ask again at once."""
        self._segment_asked = None
