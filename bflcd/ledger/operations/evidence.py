"""Evidence: what proves that a member lied, and what it costs (design 6.9).

An honest node signs at most one message in a place: (kind, chain, round, parent, epoch), and view for a vote; also after a crash,
since what it signs is durable first. Two different ones are proof that needs nothing but the two signatures. View-changes are no
part of it: what they claim to be prepared is proved outside the signature, so a bad proof may be anybody's.
"""

from dataclasses import replace
from typing import Final

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.keys import holder_of
from bflcd.ledger.operations.base import Body, Limits, refused
from bflcd.ledger.operations.motion import without_manager
from bflcd.ledger.state import NEVER, Account, State, account_of, with_accounts
from bflcd.types import Amount, NodeId, Round, short
from bflcd.wire.envelope import Envelope, Signed, open_envelope, payload_digest
from bflcd.wire.messages import PUNISHABLE, Commit, Prepare, PrePrepare, PunishableBody
from bflcd.wire.operation import MAX_OPERATION_BYTES, Operation

_NAME: Final = "evidence"


class ConflictError(PeerError):
    """The author signed another message in this place; `evidence` proves it once both signatures hold."""

    def __init__(self, evidence: Operation, message: str) -> None:
        super().__init__(Rejection.CONFLICT, message)
        self.evidence = evidence


def evidence_of(one: Envelope, other: Envelope) -> Operation:
    """The evidence that two different messages of one author make: both, by `payload_digest` in rising order."""
    return Operation(_NAME, tuple(sorted((one, other), key=payload_digest)))


class EvidenceKind:
    """Two messages of the accused in one place. It never trains or judges again; balance and deposit are burnt."""

    name = _NAME
    bodies: tuple[type[Body], ...] = PUNISHABLE
    limits = Limits(per_block=4, per_author=1, max_bytes=MAX_OPERATION_BYTES, rounds=None)

    def author(self, operation: Operation) -> NodeId:
        """The accused: it signed both."""
        return operation.author

    def number(self, _: Operation) -> int | None:
        """None: nobody is punished twice."""
        return None

    def since(self, operation: Operation) -> Round:
        """The round that the messages are of."""
        first: Signed[PunishableBody] = open_envelope(operation.signed[0], PUNISHABLE)
        return first.body.round

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether the accused was punished, under whatever key."""
        account = account_of(state, holder_of(state, operation.author))
        return account is not None and account.punished_round != NEVER

    def describe(self, operation: Operation) -> str:
        """Who lied, and what it costs."""
        return f"{short(operation.author)} signed two different messages in one place: it will lose seat and deposit"

    def check_form(self, operation: Operation) -> None:
        """Raise PeerError: BAD_OPERATION, or the decoder's refusal of what is no message of a punishable kind."""
        accused, count = operation.author, len(operation.signed)
        # Two messages of one author in one place, in the order that makes them one piece of evidence.
        if count != 2:
            raise _refused(accused, f"{count} messages, two are needed")
        first: Signed[PunishableBody] = open_envelope(operation.signed[0], PUNISHABLE)
        second: Signed[PunishableBody] = open_envelope(operation.signed[1], PUNISHABLE)
        if second.author != accused:
            raise _refused(accused, f"the other message is by {short(second.author)}")
        if _place(first.body) != _place(second.body):
            raise _refused(accused, "the two messages belong to different places")
        if first.digest >= second.digest:
            raise _refused(accused, "the two messages are the same, or not in order")

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError as `check_form` does, and BAD_OPERATION for what can't be punished now."""
        # 1. What proves it.
        self.check_form(operation)
        accused, of = operation.author, self.since(operation)
        # 2. Of a round that has come.
        if of > state.round:
            raise _refused(accused, f"its messages are of round {of}, which has not come")
        # 3. Against a member that was not punished before, and answers for that key.
        _require_unpunished(state, accused, of)

    def apply(self, state: State, operation: Operation) -> State:
        """The accused is punished in this round, and manages no more, unless nobody else does."""
        account = _require_unpunished(state, operation.author, self.since(operation))
        punished = replace(account, balance=Amount(0), deposit=Amount(0), punished_round=state.round)
        state = replace(with_accounts(state, punished), burnt=Amount(state.burnt + account.balance + account.deposit))
        manages = account.node in state.managers and len(state.managers) > 1
        return without_manager(state, account.node) if manages else state


EVIDENCE: Final = EvidenceKind()


def _require_unpunished(state: State, accused: NodeId, of: Round) -> Account:
    """The account that answers for what the key `accused` signed in round `of`. Raises PeerError(BAD_OPERATION)."""
    key, account = account_of(state, accused), account_of(state, holder_of(state, accused))
    if key is None or account is None:
        raise _refused(accused, "it is no member")
    if account.successor is not None:
        raise _refused(accused, f"managers have replaced the key in round {account.kicked_round}: it was another's")
    if key.successor is not None and of > key.left_round:
        raise _refused(accused, f"the key was rotated in round {key.left_round}: what it signs in round {of} is nobody's")
    if account.punished_round != NEVER:
        raise _refused(accused, f"it was punished in round {account.punished_round}")
    return account


def _place(body: PunishableBody) -> tuple[object, ...]:
    view = body.view if isinstance(body, PrePrepare | Prepare | Commit) else None
    return type(body), body.chain, body.round, body.parent, body.epoch, view


def _refused(accused: NodeId, text: str) -> PeerError:
    return refused(_NAME, f"against {short(accused)}: {text}")
