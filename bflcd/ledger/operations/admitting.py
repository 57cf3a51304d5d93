"""Admit and refuse: managers answer who wants to be a member (paper III-A); whom they know they admit unasked."""

from bisect import insort
from dataclasses import replace
from operator import attrgetter
from typing import Final

from bflcd.ledger.alliance.keys import replaced_round
from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.motion import ManagerKind, applicant_of, voucher_of, without_applicant, without_voucher
from bflcd.ledger.state import HALF, NEVER, Account, State, account_of, is_member, member_of, with_accounts
from bflcd.types import MAX_MEMBERS, Amount, MicroNats, NodeId, PartsPerMillion, Round, short
from bflcd.wire.alliance import Admit, Refuse
from bflcd.wire.operation import Operation


class AdmitKind(ManagerKind[Admit]):
    """A member more, from the next round on: with nothing yet, or with the account that it had before it left."""

    name = "admit"
    body_type = Admit

    def needed(self, state: State) -> int:
        """As many as the terms say, or all managers if they are fewer."""
        return min(state.terms.admission, len(state.managers))

    def target(self, body: Admit) -> NodeId:
        """Who is admitted."""
        return body.node

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it is a member."""
        return member_of(state, self.body(operation).node) is not None

    def describe(self, operation: Operation) -> str:
        """Who lets whom in."""
        return f"manager {short(operation.author)} admits {short(self.body(operation).node)}"

    def check_done(self, state: State, body: Admit) -> None:
        """Raise PeerError(BAD_OPERATION) for a member, and for who was put out or punished."""
        check_admissible(state, self.name, body.node, body.round)

    def done(self, state: State, body: Admit) -> State:
        """The account is there, and its owner no applicant any more."""
        return admitted(state, body.node)


class RefuseKind(ManagerKind[Refuse]):
    """An applicant hears no, and why; it can't apply again before its application has run out. A voucher is withdrawn."""

    name = "refuse"
    body_type = Refuse

    def needed(self, state: State) -> int:
        """As many as admit."""
        return min(state.terms.admission, len(state.managers))

    def target(self, body: Refuse) -> NodeId:
        """Who is refused."""
        return body.node

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether it does not wait any more, nor is a voucher that is open."""
        node = self.body(operation).node
        known = applicant_of(state, node)
        return (known is None or known.refused_round != NEVER) and voucher_of(state, node) is None

    def describe(self, operation: Operation) -> str:
        """Who refuses whom."""
        body = self.body(operation)
        return f"manager {short(operation.author)} refuses {short(body.node)}" + (f": {body.reason}" if body.reason else "")

    def check_done(self, state: State, body: Refuse) -> None:
        """Raise PeerError(BAD_OPERATION) for who does not wait, and is no voucher's key either."""
        if voucher_of(state, body.node) is not None:
            return
        known = applicant_of(state, body.node)
        if known is None:
            raise refused(self.name, f"{short(body.node)} has not applied, nor is it a voucher that is open")
        if known.refused_round != NEVER:
            raise refused(self.name, f"{short(body.node)} was refused in round {known.refused_round}")

    def done(self, state: State, body: Refuse) -> State:
        """The application is marked; the voucher is gone."""
        state = without_voucher(state, body.node)
        told = (
            replace(one, refused_round=state.round, reason=body.reason) if one.node == body.node else one
            for one in state.applicants
        )
        return replace(state, applicants=tuple(told))


def check_admissible(state: State, kind: str, node: NodeId, round_: Round) -> None:
    """Raise PeerError(BAD_OPERATION) unless `node` may become a member by what was said in `round_`."""
    account = account_of(state, node)
    if account is None:
        if len(state.accounts) >= MAX_MEMBERS:
            raise refused(kind, f"the ledger has {MAX_MEMBERS} accounts, those of former members counted")
        return
    if is_member(account):
        raise refused(kind, f"{short(node)} is a member")
    if account.successor is not None:
        raise refused(kind, f"{short(node)} is a key that was replaced in round {replaced_round(account)}, for ever")
    if account.punished_round != NEVER:
        raise refused(kind, f"{short(node)} was punished in round {account.punished_round}, for ever")
    if account.kicked_round != NEVER:
        raise refused(kind, f"{short(node)} was put out in round {account.kicked_round}: it takes a return")
    if round_ <= account.left_round:
        raise refused(kind, f"it is older than when {short(node)} left, in round {account.left_round}")


def admitted(state: State, node: NodeId) -> State:
    """`state` in which `node` is a member, with nothing or with the account that it had, and no applicant any more."""
    state = without_applicant(state, node)
    account = account_of(state, node)
    if account is not None:
        return with_accounts(state, newly(state, account))
    accounts = list(state.accounts)
    fresh = Account(node=node, balance=Amount(0), packed_round=NEVER, packed_score=MicroNats(0), seat_round=NEVER)
    insort(accounts, fresh, key=attrgetter("node"))
    return replace(state, accounts=tuple(accounts))


def newly(state: State, account: Account) -> Account:
    """The account of who comes back: what it owns and its numbers stay, what is remembered of its presence does not.

    What it has paid for stays too, if its period runs and its deposit is here; else it pays as who is new.
    """
    paid = account.paid_round if account.paid_round > state.round and account.deposit >= state.terms.deposit else NEVER
    back = replace(account, left_round=NEVER, kicked_round=NEVER, heir=None, availability=PartsPerMillion(0), offering=HALF)
    return replace(back, paid_round=paid)


ADMIT: Final = AdmitKind()
REFUSE: Final = RefuseKind()
