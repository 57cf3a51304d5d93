"""What is fixed while one round runs: the head, the parameters, who we are in it."""

from dataclasses import dataclass

from bflcd.consensus.events import Instance
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import may_train, trainers
from bflcd.ledger.state import State
from bflcd.params import BlobRef, Genesis, Params
from bflcd.store.protocol import Head
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.blocks import Header
from bflcd.wire.tensors import update_label


@dataclass(frozen=True, slots=True)
class Situation:
    """The round that the head opens, seen by one node."""

    genesis: Genesis
    head: Head
    me: NodeId

    @property
    def params(self) -> Params:
        """Genesis parameters."""
        return self.genesis.params

    @property
    def state(self) -> State:
        """The ledger at the head."""
        return self.head.state

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
    def committee(self) -> tuple[NodeId, ...]:
        """Members of the committee in seat order."""
        return self.head.state.committee

    @property
    def f(self) -> int:
        """Byzantine members that are survived."""
        return faults(len(self.committee))

    @property
    def q(self) -> int:
        """Quorum."""
        return quorum(len(self.committee))

    @property
    def judges(self) -> bool:
        """Whether we hold a seat."""
        return self.me in self.committee

    @property
    def judges_but_me(self) -> tuple[NodeId, ...]:
        """Whom all that is said in a round concerns: the committee. Said again it is gossiped, in case one can't be reached."""
        return tuple(node for node in self.committee if node != self.me)

    @property
    def trains(self) -> bool:
        """Whether we may train in this round."""
        return self.may_train(self.me)

    @property
    def finished(self) -> bool:
        """Whether genesis says that the community stops here."""
        return 0 < self.params.last_round <= self.round

    @property
    def instance(self) -> Instance:
        """What this round's PBFT instance decides about."""
        state = self.head.state
        return Instance(state.chain, state.round, state.epoch, self.head.hash, state.committee, self.params.view_timeout)

    def may_train(self, node: NodeId) -> bool:
        """Whether a member's offers count in this round."""
        return may_train(self.params, self.state, node)

    def expected_trainers(self, present: frozenset[NodeId] | set[NodeId]) -> set[NodeId]:
        """E: the active trainers among `present`."""
        return set(trainers(self.params, self.state)) & present


def update_label_of(situation: Situation, uploader: NodeId) -> str:
    """What an update's payload must name: chain, round, uploader."""
    return update_label(situation.state.chain, situation.round, uploader)
