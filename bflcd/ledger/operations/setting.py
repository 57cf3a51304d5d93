"""Set: what the community works by from the next round on, where a quorum of managers agrees (`ledger.alliance.parameters`)."""

from typing import Final

from bflcd.ledger.alliance.parameters import BOUNDS, value_of, with_value
from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.motion import ManagerKind, manager_quorum
from bflcd.ledger.state import State
from bflcd.types import short
from bflcd.wire.governance import SetParameter
from bflcd.wire.operation import Operation


class SetKind(ManagerKind[SetParameter]):
    """One parameter gets another value."""

    name = "set"
    body_type = SetParameter

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def target(self, body: SetParameter) -> str:
        """Which parameter."""
        return body.name

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it has that value."""
        body = self.body(operation)
        return value_of(state, body.name) == body.value if body.name in BOUNDS else False

    def describe(self, operation: Operation) -> str:
        """Who wants which value."""
        body = self.body(operation)
        return f"manager {short(operation.author)} sets {body.name} to {body.value}"

    def check_form(self, operation: Operation) -> None:
        """Raise PeerError for what no round could set: another name, or a value out of its bounds."""
        body = self.body(operation)
        bounds = BOUNDS.get(body.name)
        if bounds is None:
            raise refused(self.name, f"{body.name} can't be set, only {', '.join(BOUNDS)}")
        if not bounds.low <= body.value <= bounds.high:
            raise refused(self.name, f"{body.name} is {body.value}, it must be from {bounds.low} to {bounds.high}")

    def check_done(self, state: State, body: SetParameter) -> None:
        """Raise PeerError(BAD_OPERATION) for what holds already, and for a last round that is over."""
        if value_of(state, body.name) == body.value:
            raise refused(self.name, f"{body.name} is {body.value} already")
        if body.name == "last_round" and 0 < body.value <= state.round:
            raise refused(self.name, f"round {body.value} can't be the last, we are in round {state.round}")

    def done(self, state: State, body: SetParameter) -> State:
        """The ledger says so."""
        return with_value(state, body.name, body.value)


SET: Final = SetKind()
