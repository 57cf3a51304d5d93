"""Leave, kick and return: who is no member any more, by its own word or by the managers', and who is one again.

The account stays: what it owns is its own, can't be moved and earns nothing while it is out, and the numbers of its operations
go on, so that none is ever applied twice. A deposit goes back to who has left when its time is over, and all that it has goes
to its heir then, if it has named one (`fees`); the deposit of who is put out is burnt. A manager neither leaves nor is put out
while it manages.
"""

from dataclasses import replace
from typing import Final

from bflcd.ledger.alliance.keys import holder_of, last_of, replaced_round
from bflcd.ledger.operations.admitting import newly
from bflcd.ledger.operations.base import Limits, refused
from bflcd.ledger.operations.motion import ManagerKind, manager_quorum, without_applicant
from bflcd.ledger.operations.signed_kind import OPERATION_BYTES, NumberedKind, someone_stays
from bflcd.ledger.state import NEVER, State, account_of, member_of, with_accounts
from bflcd.types import Amount, NodeId, short
from bflcd.wire.alliance import Kick, Leave, Return
from bflcd.wire.operation import Operation


class LeaveKind(NumberedKind[Leave]):
    """Its author is no member from the next round on, and may be admitted again; or it leaves what it has to an heir."""

    name = "leave"
    body_type = Leave
    limits = Limits(per_block=16, per_author=1, max_bytes=OPERATION_BYTES)

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it is gone."""
        return member_of(state, operation.author) is None

    def describe(self, operation: Operation) -> str:
        """Who goes, and to whom it leaves what it has."""
        heir = self.body(operation).heir
        return f"{short(operation.author)} leaves" + ("" if heir is None else f", what it has is for {short(heir)}")

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        heir = self.body(operation).heir
        _check_going(state, operation.author, self.name)
        if heir is None:
            return
        taker = member_of(state, last_of(state, heir))
        if taker is None or taker.punished_round != NEVER or taker.node == operation.author:
            raise refused(self.name, f"its heir {short(heir)} is no other member, or was punished")

    def apply(self, state: State, operation: Operation) -> State:
        """Its account says since when, and for whom it is."""
        return _gone(state, operation.author, heir=self.body(operation).heir)


class KickKind(ManagerKind[Kick]):
    """A member is none any more from the next round on, and stays out unless managers take it back."""

    name = "kick"
    body_type = Kick

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def target(self, body: Kick) -> NodeId:
        """Who is put out."""
        return body.node

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it is out."""
        account = account_of(state, holder_of(state, self.body(operation).node))
        return account is not None and account.kicked_round != NEVER

    def describe(self, operation: Operation) -> str:
        """Who puts out whom."""
        body = self.body(operation)
        return f"manager {short(operation.author)} puts out {short(body.node)}" + (f": {body.reason}" if body.reason else "")

    def check_done(self, state: State, body: Kick) -> None:
        """Raise PeerError(BAD_OPERATION). Whoever has rotated its key meanwhile is put out under the one that it has."""
        node = holder_of(state, body.node)
        account = account_of(state, node)
        if account is not None and account.left_round != NEVER and account.kicked_round == NEVER:
            return  # who has left can still be kept out
        _check_going(state, node, self.name)

    def done(self, state: State, body: Kick) -> State:
        """Its account says since when."""
        return _gone(state, holder_of(state, body.node), kicked=True)


class ReturnKind(ManagerKind[Return]):
    """Who was put out is a member again."""

    name = "return"
    body_type = Return

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def target(self, body: Return) -> NodeId:
        """Who is taken back."""
        return body.node

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it is a member."""
        return member_of(state, self.body(operation).node) is not None

    def describe(self, operation: Operation) -> str:
        """Who takes back whom."""
        return f"manager {short(operation.author)} takes {short(self.body(operation).node)} back"

    def check_done(self, state: State, body: Return) -> None:
        """Raise PeerError(BAD_OPERATION) for who was not put out, and for a proven liar."""
        account = account_of(state, body.node)
        if account is None or account.kicked_round == NEVER:
            raise refused(self.name, f"{short(body.node)} was not put out")
        if account.successor is not None:
            raise refused(
                self.name, f"{short(body.node)} is a key that was replaced in round {replaced_round(account)}, for ever"
            )
        if body.round <= account.kicked_round:
            raise refused(self.name, f"it is older than when {short(body.node)} was put out, in round {account.kicked_round}")
        if account.punished_round != NEVER:
            raise refused(self.name, f"{short(body.node)} was punished in round {account.punished_round}, for ever")

    def done(self, state: State, body: Return) -> State:
        """As a new member, with what it owned."""
        account = account_of(state, body.node)
        if account is None:
            raise refused(self.name, f"{short(body.node)} was not put out")
        return with_accounts(state, newly(state, account))


LEAVE: Final = LeaveKind()
KICK: Final = KickKind()
RETURN: Final = ReturnKind()


def _check_going(state: State, node: NodeId, kind: str) -> None:
    if member_of(state, node) is None:
        raise refused(kind, f"{short(node)} is no member")
    if node in state.managers:
        raise refused(kind, f"{short(node)} is a manager")
    if not someone_stays(state, node):
        raise refused(kind, f"without {short(node)} nobody would be left to hold a seat")


def _gone(state: State, node: NodeId, *, kicked: bool = False, heir: NodeId | None = None) -> State:
    account = account_of(state, node)
    if account is None:
        raise refused("kick" if kicked else "leave", f"{short(node)} is no member")
    state = without_applicant(state, node)
    if not kicked:
        return with_accounts(state, replace(account, left_round=state.round, heir=heir))
    out = replace(account, kicked_round=state.round, deposit=Amount(0), heir=None)
    return replace(with_accounts(state, out), burnt=Amount(state.burnt + account.deposit))
