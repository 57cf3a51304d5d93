"""What is fixed while one round runs: the head, the parameters, who we are in it."""

from dataclasses import dataclass, field, replace

from bflcd.consensus.events import Instance
from bflcd.consensus.recovery import recovered_instance, verify_recovery
from bflcd.core.records import Head
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.fees import owing
from bflcd.ledger.alliance.parameters import in_force
from bflcd.ledger.operations.recovery import RECOVERY, state_at_proposal
from bflcd.ledger.pace import collect_deadline, view_timeout
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import may_train
from bflcd.ledger.state import NEVER, State, members_of
from bflcd.params import BlobRef, Genesis, Params
from bflcd.types import Digest, Epoch, Millis, NodeId, Round
from bflcd.wire.blocks import Certificate, Header, committee_hash
from bflcd.wire.envelope import Verify
from bflcd.wire.recovery import RecoveryCertificate
from bflcd.wire.tensors import update_label


@dataclass(frozen=True, slots=True)
class RoundContext:
    """The round that the head opens, seen by one node."""

    genesis: Genesis
    head: Head
    me: NodeId
    recovery: RecoveryCertificate | None = None
    """What managers have given this round, if they had to (design 6.8); verified."""
    follows: bool = False
    """Whether we take no part: we neither train nor judge, and nobody expects us."""
    state: State = field(init=False)
    """The ledger that the round is decided from: the head's, under the recovery."""
    members: frozenset[NodeId] = field(init=False, compare=False, repr=False)
    """Who belongs to the community in this round."""
    barred: frozenset[NodeId] = field(init=False, compare=False, repr=False)
    """Who was put out of it: nobody connects to it."""
    params: Params = field(init=False, compare=False, repr=False)
    """By which the round works: the genesis', and what managers have set since."""
    owing: frozenset[NodeId] = field(init=False, compare=False, repr=False)
    """Who is left out of this round because it owes: it follows the chain, and gets no payload (`ledger.alliance.fees`)."""

    def __post_init__(self) -> None:
        head = self.head.state
        object.__setattr__(self, "state", head if self.recovery is None else RECOVERY.apply(head, self.recovery))
        object.__setattr__(self, "members", frozenset(account.node for account in members_of(head)))
        barred = (account.node for account in head.accounts if account.kicked_round != NEVER)
        object.__setattr__(self, "barred", frozenset(barred))
        object.__setattr__(self, "params", in_force(self.genesis.params, head))
        object.__setattr__(self, "owing", owing(self.state))

    def state_of(self, epoch: Epoch) -> State:
        """The ledger that a segment first proposed in `epoch` is judged from. Raises PeerError(WRONG_EPOCH) if there is none."""
        if epoch == self.state.epoch:
            return self.state
        proof = None if self.recovery is None else self.recovery.proof
        if proof is None or proof.claim.proposal.epoch != epoch:
            raise PeerError(
                Rejection.WRONG_EPOCH, f"epoch {epoch} of round {self.round} is over: it is in epoch {self.state.epoch}"
            )
        return state_at_proposal(self.head.state, proof)

    def counts(self, epoch: Epoch) -> bool:
        """Whether a segment first proposed in `epoch` can still be decided: the round's own, or what its recovery re-proposes."""
        proof = None if self.recovery is None else self.recovery.proof
        return epoch == self.state.epoch or (proof is not None and proof.claim.proposal.epoch == epoch)

    @property
    def first(self) -> "RoundContext":
        """The round as its model header opened it, whatever managers have given it since."""
        return self if self.recovery is None else replace(self, recovery=None)

    def under(self, recovery: RecoveryCertificate) -> "RoundContext":
        """The round in the epoch of a recovery, which must be verified. Raises PeerError(BAD_RECOVERY) if it does not fit."""
        self.require_fit(recovery)
        return replace(self, recovery=recovery)

    def require_fit(self, recovery: RecoveryCertificate) -> None:
        """Raise PeerError(BAD_RECOVERY) if a recovery is not one of this round, or binds it to what can't be judged here."""
        if recovery.proof is not None:
            state_at_proposal(self.head.state, recovery.proof)
        RECOVERY.check(self.head.state, recovery)

    def decided_by(self, certificate: Certificate, verify: Verify) -> "RoundContext":
        """The round as its certificate says that it was decided: by its first committee, or by the one of a recovery.

        Raises PeerError: WRONG_EPOCH for an epoch that a recovery known here has ended, BAD_RECOVERY.
        """
        ours, theirs = self.recovery, certificate.recovery
        if ours is not None and (theirs is None or theirs.recovery.epoch < ours.recovery.epoch):
            text = f"round {certificate.round} was decided in epoch {certificate.epoch}, which a recovery had ended"
            raise PeerError(Rejection.WRONG_EPOCH, text)
        if theirs is None or (ours is not None and theirs.recovery == ours.recovery):
            return self
        verify_recovery(theirs, self.first_instance, self.head.state.managers, verify)
        return self.first.under(theirs)

    @property
    def round(self) -> Round:
        """t."""
        return self.head.state.round

    @property
    def head_hash(self) -> Digest:
        """Hash of the model header that opens the round."""
        return self.head.hash

    @property
    def head_header(self) -> Header:
        """That header."""
        return self.head.header

    @property
    def head_blob(self) -> BlobRef:
        """The round's model."""
        blob = self.head.header.blob
        assert blob is not None, "a model header always has a blob"
        return blob

    @property
    def place(self) -> tuple[Digest, Round, Epoch, Digest, Digest]:
        """What every signed message of the round begins with: chain, round, epoch, parent, committee."""
        state = self.state
        return state.chain, state.round, state.epoch, self.head_hash, committee_hash(state.epoch, state.committee)

    @property
    def committee(self) -> tuple[NodeId, ...]:
        """Members of the committee in seat order."""
        return self.state.committee

    @property
    def f(self) -> int:
        """Byzantine members that are survived."""
        return faults(len(self.committee))

    @property
    def q(self) -> int:
        """Quorum."""
        return quorum(len(self.committee))

    @property
    def owes(self) -> bool:
        """Whether we are left out of this round because we owe."""
        return self.me in self.owing

    @property
    def judges(self) -> bool:
        """Whether we hold a seat, and take it."""
        return self.me in self.committee and not self.follows

    @property
    def judges_but_me(self) -> tuple[NodeId, ...]:
        """Whom all that is said in a round concerns: the committee. Said again it is gossiped, in case one can't be reached."""
        return tuple(node for node in self.committee if node != self.me)

    @property
    def trains(self) -> bool:
        """Whether we may train in this round, and do."""
        return self.may_train(self.me) and not self.follows

    @property
    def finished(self) -> bool:
        """Whether genesis, or managers later, said that the community stops here."""
        return 0 < self.params.last_round <= self.round

    @property
    def instance(self) -> Instance:
        """What this round's PBFT instance decides about."""
        base = self.first_instance
        return base if self.recovery is None else recovered_instance(base, self.recovery)

    @property
    def first_instance(self) -> Instance:
        """The instance of the round as its model header opened it."""
        state = self.head.state
        return Instance(state.chain, state.round, state.epoch, self.head.hash, state.committee, self.view_timeout)

    @property
    def view_timeout(self) -> Millis:
        """T0 of this round: what the community has set, and as often doubled as it has needed of late."""
        return view_timeout(self.params, self.head.state.pace)

    @property
    def collect_deadline(self) -> Millis:
        """How long a card waits in this round for a first offer."""
        return collect_deadline(self.params, self.head.state.pace)

    @property
    def bound(self) -> bool:
        """Whether the round must decide what an older epoch of it had prepared."""
        return self.recovery is not None and self.recovery.proof is not None

    def may_train(self, node: NodeId) -> bool:
        """Whether a member's offers count in this round."""
        return may_train(self.params, self.state, node)


def update_label_of(context: RoundContext, uploader: NodeId) -> str:
    """What an update's payload must name: chain, round, uploader."""
    return update_label(context.state.chain, context.round, uploader)
