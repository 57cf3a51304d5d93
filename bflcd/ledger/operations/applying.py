"""Apply: a device that is no member asks to become one (paper III-A); managers admit it or refuse it."""

from dataclasses import replace
from typing import Final

from bflcd.ledger.alliance.keys import replaced_round
from bflcd.ledger.operations.base import Limits, refused
from bflcd.ledger.operations.motion import applicant_of, without_applicant
from bflcd.ledger.operations.signed_kind import OPERATION_BYTES, SignedKind
from bflcd.ledger.state import MAX_APPLICANTS, NEVER, Applicant, State, account_of, member_of
from bflcd.types import short
from bflcd.wire.alliance import Application
from bflcd.wire.operation import Operation


class ApplyKind(SignedKind[Application]):
    """Its author stands among the applicants, until it is admitted or its time is over."""

    name = "apply"
    body_type = Application
    limits = Limits(per_block=4, per_author=1, max_bytes=OPERATION_BYTES, waiting=16)

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether its author is a member, or has applied as late or later."""
        known = applicant_of(state, operation.author)
        applied = known is not None and known.round >= self.body(operation).round
        return applied or member_of(state, operation.author) is not None

    def describe(self, operation: Operation) -> str:
        """Who wants to join."""
        note = self.body(operation).note
        return f"{short(operation.author)} asks to become a member" + (f": {note}" if note else "")

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        body, author = self.body(operation), operation.author
        # 1. Of who is none, and may become one.
        account = account_of(state, author)
        if member_of(state, author) is not None:
            raise refused(self.name, f"{short(author)} is a member")
        if account is not None and account.successor is not None:
            raise refused(self.name, f"{short(author)} is a key that was replaced in round {replaced_round(account)}, for ever")
        if account is not None and account.punished_round != NEVER:
            raise refused(self.name, f"{short(author)} was punished in round {account.punished_round}")
        if account is not None and account.kicked_round != NEVER:
            raise refused(self.name, f"{short(author)} was put out in round {account.kicked_round}")
        # 2. Said lately, and not said before.
        if not body.round <= state.round < body.round + state.terms.application_rounds:
            raise refused(self.name, f"it is of round {body.round}, we are in round {state.round}")
        if account is not None and body.round <= account.left_round:
            raise refused(self.name, f"it is older than when {short(author)} left, in round {account.left_round}")
        known = applicant_of(state, author)
        if known is not None and known.refused_round != NEVER:
            why = f": {known.reason}" if known.reason else ""
            raise refused(self.name, f"{short(author)} was refused in round {known.refused_round}{why}")
        if known is not None and body.round < known.round + (state.terms.application_rounds + 1) // 2:
            raise refused(self.name, f"{short(author)} has applied in round {known.round}, which is known still")
        # 3. There is room.
        if known is None and len(state.applicants) >= MAX_APPLICANTS:
            raise refused(self.name, f"{MAX_APPLICANTS} applications wait for the managers")

    def apply(self, state: State, operation: Operation) -> State:
        """One applicant more, or the same one lately: its time begins now, its own word may be as old as is allowed."""
        body = self.body(operation)
        others = without_applicant(state, operation.author).applicants
        applicants = sorted((*others, Applicant(operation.author, state.round, body.note)), key=lambda one: one.node)
        return replace(state, applicants=tuple(applicants))


APPLY: Final = ApplyKind()
