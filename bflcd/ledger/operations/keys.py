"""Rotate and replace: a key takes the place of another, by its member's word or by the managers'.

The account moves to an id that the ledger does not know, with seat, standing and numbers. The key before it is dead from the next
round on, for ever: its account stays, empty, and names its successor. What it has signed until then can still be proved against
whoever rotated it; of a key that managers have replaced they have said that it was another's, so it proves nothing any more.
"""

from dataclasses import replace
from typing import Final

from bflcd.ledger.alliance.keys import MAX_ACCOUNTS_TO_ROTATE, holder_of, replaced, rotated
from bflcd.ledger.operations.base import Limits, refused
from bflcd.ledger.operations.motion import ManagerKind, applicant_of, manager_quorum
from bflcd.ledger.operations.signed_kind import OPERATION_BYTES, NumberedKind
from bflcd.ledger.state import MAX_ROTATIONS, NEVER, Account, State, account_of, is_member
from bflcd.types import MAX_MEMBERS, NodeId, short
from bflcd.wire.envelope import Signed, open_envelope
from bflcd.wire.keys import Replace, Rotate
from bflcd.wire.operation import Operation


class RotateKind(NumberedKind[Rotate]):
    """What its author has is the new key's, which has signed the same: nobody gives itself to a key that is not there."""

    name = "rotate"
    body_type = Rotate
    limits = Limits(per_block=16, per_author=1, max_bytes=OPERATION_BYTES)

    def body(self, operation: Operation) -> Rotate:
        """What both keys have signed. Raises PeerError unless they did, the old one first."""
        if len(operation.signed) != 2:
            raise refused(self.name, f"{len(operation.signed)} messages, it has two: the old key's and the new one's")
        by_old, by_new = operation.signed
        signed: Signed[Rotate] = open_envelope(by_old, (Rotate,))
        if by_old.payload != by_new.payload:
            raise refused(self.name, "the two keys have signed different things")
        if (signed.body.old, signed.body.node) != (by_old.author, by_new.author) or by_old.author == by_new.author:
            raise refused(self.name, "it is not signed by the old key and another, the new one")
        return signed.body

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether another key has taken its author's place."""
        account = account_of(state, operation.author)
        return account is not None and account.successor is not None

    def describe(self, operation: Operation) -> str:
        """Whose key is rotated to which."""
        return f"{short(operation.author)} goes on under the key {short(self.body(operation).node)}"

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        body = self.body(operation)
        # 1. Of a member that may still do so.
        account = _member(state, body.old, self.name)
        if account.rotations >= MAX_ROTATIONS:
            raise refused(self.name, f"{short(body.old)} has rotated {account.rotations} times: only managers can replace it now")
        # 2. To a key that the ledger does not know.
        _check_new(state, body.node, self.name)
        # 3. There is room for the account that stays.
        if len(state.accounts) >= MAX_ACCOUNTS_TO_ROTATE:
            raise refused(self.name, f"the ledger has {len(state.accounts)} accounts: from there on only managers replace keys")

    def apply(self, state: State, operation: Operation) -> State:
        """The account goes on under the new id."""
        body = self.body(operation)
        account = replace(_member(state, body.old, self.name), operations=body.number)
        return rotated(state, account, body.node)


class ReplaceKind(ManagerKind[Replace]):
    """A member's key is lost or stolen: an applicant's takes its place. By applying that one has shown that it is there."""

    name = "replace"
    body_type = Replace

    def needed(self, state: State) -> int:
        """A quorum."""
        return manager_quorum(state)

    def target(self, body: Replace) -> NodeId:
        """Whose key is replaced."""
        return body.node

    def touched(self, body: Replace) -> frozenset[NodeId]:
        """Both keys."""
        return frozenset((body.node, body.by))

    def why(self, body: Replace) -> str:
        """By which it is replaced."""
        return f"by {short(body.by)}"

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it was replaced."""
        account = account_of(state, holder_of(state, self.body(operation).node))
        return account is not None and account.successor is not None

    def describe(self, operation: Operation) -> str:
        """Who replaces whose key by which."""
        body = self.body(operation)
        return f"manager {short(operation.author)} replaces the key {short(body.node)} by {short(body.by)}"

    def check_done(self, state: State, body: Replace) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        # 1. Of a member, also where whoever has its key has rotated it meanwhile.
        _member(state, holder_of(state, body.node), self.name)
        # 2. By an applicant that the ledger does not know otherwise.
        applicant = applicant_of(state, body.by)
        if applicant is None or applicant.refused_round != NEVER:
            raise refused(self.name, f"{short(body.by)} has not applied, or was refused: start a node with that key first")
        _check_new(state, body.by, self.name)
        # 3. There is room for the account that stays.
        if len(state.accounts) >= MAX_MEMBERS:
            raise refused(self.name, f"the ledger has {MAX_MEMBERS} accounts, those of former members and keys counted")

    def done(self, state: State, body: Replace) -> State:
        """The account goes on under the applicant's id."""
        return replaced(state, _member(state, holder_of(state, body.node), self.name), body.by)


ROTATE: Final = RotateKind()
REPLACE: Final = ReplaceKind()


def _member(state: State, node: NodeId, kind: str) -> Account:
    """The account of a member that was not punished. Raises PeerError(BAD_OPERATION)."""
    account = account_of(state, node)
    if account is None or not is_member(account):
        raise refused(kind, f"{short(node)} is no member")
    if account.punished_round != NEVER:
        raise refused(kind, f"{short(node)} was punished in round {account.punished_round}, under whatever key")
    return account


def _check_new(state: State, node: NodeId, kind: str) -> None:
    if account_of(state, node) is not None:
        raise refused(kind, f"the ledger knows the key {short(node)} already")
