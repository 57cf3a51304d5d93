"""Rollback: managers put an older model in the place of a round's aggregate (docs/adr/0021-rollback.md).

That the address is the target round's own is none of the ledger's business, as the value of an aggregate is not: the committee
compares it with its headers before it prepares (`core.round.old_models`).
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.motion import ManagerKind, manager_quorum
from bflcd.ledger.state import LastRollback, State
from bflcd.params import BlobRef
from bflcd.types import NodeId, short
from bflcd.wire.codec import decode
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback


class RollbackKind(ManagerKind[Rollback]):
    """The model of the block in which a quorum has said it is the older one; nothing else of the ledger goes back."""

    name = "rollback"
    body_type = Rollback

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def target(self, body: Rollback) -> None:
        """It is about no member."""
        del body

    def why(self, body: Rollback) -> str:
        """To which model, and the reason."""
        return f"to the model of round {body.target}, {short(body.model.root)}" + (f": {body.reason}" if body.reason else "")

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether the model went back since it was signed."""
        return _is_old(state, self.body(operation))

    def describe(self, operation: Operation) -> str:
        """Who goes back to what."""
        return f"manager {short(operation.author)} goes back {self.why(self.body(operation))}"

    def check_done(self, state: State, body: Rollback) -> None:
        """Raise PeerError(BAD_OPERATION) for a model that has not come, and for what was said of one that is gone."""
        if body.target > state.round:
            raise refused(self.name, f"there is no model of round {body.target} yet, we are in round {state.round}")
        if state.rollback is not None and _is_old(state, body):
            text = f"the model went back to that of round {state.rollback.target} in round {state.rollback.round}"
            raise refused(self.name, f"it is of round {body.round}, and {text}")

    def done(self, state: State, body: Rollback) -> State:
        """The block of this round has the older model."""
        return replace(state, rollback=LastRollback(state.round, body.target, body.model))


ROLLBACK: Final = RollbackKind()


def rolled_back_in(state: State) -> BlobRef | None:
    """The model that a rollback gives to the block of the round that `state` is in the midst of, if one does."""
    last = state.rollback
    return last.model if last is not None and last.round == state.round else None


def rollbacks_of(operations: Iterable[Operation]) -> tuple[Rollback, ...]:
    """What of `operations` goes back to an older model, in their order."""
    return tuple(ROLLBACK.body(operation) for operation in operations if operation.kind == ROLLBACK.name)


def open_rollbacks(state: State) -> tuple[tuple[Rollback, tuple[NodeId, ...]], ...]:
    """Rollbacks that too few managers are for yet, the oldest first, each with those who are."""
    motions = (motion for motion in state.motions if motion.kind == ROLLBACK.name)
    return tuple((decode(motion.content, Rollback), motion.approvals) for motion in motions)


def _is_old(state: State, body: Rollback) -> bool:
    return state.rollback is not None and body.round <= state.rollback.round
