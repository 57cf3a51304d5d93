"""Appoint and dismiss: who manages, from the next operation on. A quorum of those who manage decides it; one goes by itself.

Whoever is dismissed is a member like any other, and may leave. Somebody always manages.
"""

from bisect import insort
from dataclasses import replace
from typing import Final

from bflcd.ledger.alliance.keys import holder_of
from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.motion import ManagerKind, manager_quorum, without_manager
from bflcd.ledger.state import NEVER, State, member_of
from bflcd.types import MAX_COMMITTEE, NodeId, short
from bflcd.wire.governance import Appoint, Dismiss
from bflcd.wire.operation import Operation


class AppointKind(ManagerKind[Appoint]):
    """A manager more."""

    name = "appoint"
    body_type = Appoint

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def target(self, body: Appoint) -> NodeId:
        """Who is to manage."""
        return body.node

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it manages."""
        return holder_of(state, self.body(operation).node) in state.managers

    def describe(self, operation: Operation) -> str:
        """Who wants whom to manage."""
        return f"manager {short(operation.author)} appoints {short(self.body(operation).node)}"

    def check_done(self, state: State, body: Appoint) -> None:
        """Raise PeerError(BAD_OPERATION) for who is no member in good standing, for who manages, and where there is no room.

        Whoever has rotated its key meanwhile manages under the one that it has."""
        node = holder_of(state, body.node)
        account = member_of(state, node)
        if account is None:
            raise refused(self.name, f"{short(body.node)} is no member")
        if account.punished_round != NEVER:
            raise refused(self.name, f"{short(body.node)} was punished in round {account.punished_round}, for ever")
        if node in state.managers:
            raise refused(self.name, f"{short(body.node)} is a manager")
        if len(state.managers) >= MAX_COMMITTEE:
            raise refused(self.name, f"{MAX_COMMITTEE} members manage, and no more can")

    def done(self, state: State, body: Appoint) -> State:
        """It stands among the managers."""
        managers = list(state.managers)
        insort(managers, holder_of(state, body.node))
        return replace(state, managers=tuple(managers))


class DismissKind(ManagerKind[Dismiss]):
    """A manager less: by the others, or by its own word alone."""

    name = "dismiss"
    body_type = Dismiss

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def suffices(self, body: Dismiss, author: NodeId) -> bool:
        """Its own word."""
        return body.node == author

    def target(self, body: Dismiss) -> NodeId:
        """Who is to manage no more."""
        return body.node

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it manages no more."""
        return holder_of(state, self.body(operation).node) not in state.managers

    def describe(self, operation: Operation) -> str:
        """Who wants whom to manage no more."""
        body = self.body(operation)
        whom = "itself" if body.node == operation.author else short(body.node)
        return f"manager {short(operation.author)} dismisses {whom}" + (f": {body.reason}" if body.reason else "")

    def check_done(self, state: State, body: Dismiss) -> None:
        """Raise PeerError(BAD_OPERATION) for who is no manager, and for the last one."""
        if holder_of(state, body.node) not in state.managers:
            raise refused(self.name, f"{short(body.node)} is no manager")
        if len(state.managers) == 1:
            raise refused(self.name, f"{short(body.node)} is the last manager")

    def done(self, state: State, body: Dismiss) -> State:
        """It is a member like any other, under whatever key it goes on."""
        return without_manager(state, holder_of(state, body.node))


APPOINT: Final = AppointKind()
DISMISS: Final = DismissKind()
