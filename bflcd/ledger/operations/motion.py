"""What managers do: one alone where that is enough, else a motion that stands in the ledger until enough of them are for it.

A manager is for a motion by signing the same: the same kind with the same content, which is its body without round and number. So
there is one way to say something and to agree to it, and nobody agrees to what it has not signed itself.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from bflcd.crypto.hashing import Domain, digest
from bflcd.ledger.alliance.keys import holder_of
from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.signed_kind import NumberedBody, NumberedKind
from bflcd.ledger.quorum import quorum
from bflcd.ledger.state import MAX_MOTIONS, NEVER, Applicant, Motion, State, Voucher, member_of, without_word
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.alliance import Admit, Kick, Refuse, Return
from bflcd.wire.codec import decode_any, encode
from bflcd.wire.governance import Appoint, Dismiss, SetParameter
from bflcd.wire.keys import Replace
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback

MOTIONS_EACH: Final = 4
"""Motions that one manager has open at most."""

_BODIES: Final[tuple[type[Admit | Refuse | Kick | Return | Appoint | Dismiss | SetParameter | Rollback | Replace], ...]] = (
    Admit,
    Refuse,
    Kick,
    Return,
    Appoint,
    Dismiss,
    SetParameter,
    Rollback,
    Replace,
)
"""What motions are of."""

B = TypeVar("B", bound=NumberedBody)


def motion_id(kind: str, content: bytes) -> Digest:
    """What people call a motion by."""
    return digest(Domain.MOTION, kind.encode(), content)


class ManagerKind(NumberedKind[B], ABC):
    """What managers do: to a node, to a parameter, to the model. Whoever derives from it says when it may be, and does it."""

    name: ClassVar[str]

    @abstractmethod
    def needed(self, state: State) -> int:
        """Managers that have to be for it."""

    def suffices(self, body: B, author: NodeId) -> bool:
        """Whether a manager's word is enough, whatever is needed of others."""
        del body, author
        return False

    @abstractmethod
    def target(self, body: B) -> NodeId | str | None:
        """To whom it is done, or to which parameter; None where it is about neither."""

    def touched(self, body: B) -> frozenset[NodeId | str]:
        """Whose standing, or what, it changes."""
        return frozenset((_subject(self.name, body),))

    @abstractmethod
    def check_done(self, state: State, body: B) -> None:
        """Raise PeerError unless it may be done now."""

    @abstractmethod
    def done(self, state: State, body: B) -> State:
        """`state` when it is done."""

    def why(self, body: B) -> str:
        """What an open motion tells people, besides its kind and whom it is about."""
        return getattr(body, "reason", "")

    def content(self, body: B) -> bytes:
        """What a motion is of: the body, whoever signed it and when."""
        return encode(replace(body, round=Round(0), number=1))  # type: ignore[type-var]  # every body is a dataclass

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION) unless its author manages, may still say it, and it may be done."""
        body, author = self.body(operation), operation.author
        # 1. By a manager.
        if not manages(state, author):
            raise refused(self.name, f"{short(author)} is no manager")
        # 2. What may be done now.
        self.check_done(state, body)
        # 3. Not said before, and with room for another motion.
        motion = _find(state, self.name, self.content(body))
        if motion is not None:
            lacking = self._lacking(state, motion)
            if author in motion.approvals and lacking > 0:  # else so many have been dismissed that it takes but a word again
                raise refused(self.name, f"{short(author)} is for it already, {lacking} more are needed")
        elif self.needed(state) > 1 and not self.suffices(body, author):
            opened, each = sum(other.opener == author for other in state.motions), motions_each(state)
            if opened >= each:
                raise refused(self.name, f"{short(author)} has {opened} motions open, of {each} that each may have")
            if len(state.motions) >= MAX_MOTIONS:
                raise refused(self.name, f"{MAX_MOTIONS} motions are open")

    def apply(self, state: State, operation: Operation) -> State:
        """It is done, or one manager more is for it."""
        body = self.body(operation)
        content = self.content(body)
        motion = _find(state, self.name, content) or Motion(self.name, content, operation.author, state.round, ())
        motion = replace(motion, approvals=tuple(sorted({*motion.approvals, operation.author})))
        others = tuple(other for other in state.motions if (other.kind, other.content) != (self.name, content))
        if self._lacking(state, motion) > 0 and not self.suffices(body, operation.author):
            motions = sorted((*others, motion), key=lambda one: (one.opened, motion_id(one.kind, one.content)))
            return replace(state, motions=tuple(motions))
        # What others have said of the same node, or the same thing, was said of how it stood before.
        return self.done(without_motions_about(replace(state, motions=others), self.touched(body)), body)

    def _lacking(self, state: State, motion: Motion) -> int:
        """Managers that are not for it yet and have to be; who is no manager any more doesn't count."""
        return self.needed(state) - sum(manages(state, node) for node in motion.approvals)


def manages(state: State, node: NodeId) -> bool:
    """Whether a node's word is a manager's: not that of a proven liar."""
    account = member_of(state, node)
    return node in state.managers and account is not None and account.punished_round == NEVER


def motions_each(state: State) -> int:
    """Motions that one manager may have open: its share of all, so that a third of them never takes the room of the others."""
    return max(1, min(MOTIONS_EACH, MAX_MOTIONS // len(state.managers)))


def manager_quorum(state: State) -> int:
    """Managers for what no single one may do, as for a recovery (design 6.8)."""
    return quorum(len(state.managers))


def without_manager(state: State, node: NodeId) -> State:
    """`state` in which `node` manages no more, nor is for any motion: appointed again it has to say so again."""
    return replace(without_word(state, node), managers=tuple(other for other in state.managers if other != node))


def without_applicant(state: State, node: NodeId) -> State:
    """`state` without an application of `node`."""
    return replace(state, applicants=tuple(one for one in state.applicants if one.node != node))


def applicant_of(state: State, node: NodeId) -> Applicant | None:
    """The application of a node that the ledger remembers."""
    return next((one for one in state.applicants if one.node == node), None)


def voucher_of(state: State, key: NodeId) -> Voucher | None:
    """The open voucher of a key."""
    return next((one for one in state.vouchers if one.key == key), None)


def without_voucher(state: State, key: NodeId) -> State:
    """`state` without the voucher of `key`: it was used, or withdrawn."""
    return replace(state, vouchers=tuple(one for one in state.vouchers if one.key != key))


def without_expired(state: State, round_: Round) -> State:
    """`state` without the motions, applications and vouchers that have run out by `round_`."""
    terms = state.terms
    motions = tuple(one for one in state.motions if round_ - one.opened < terms.motion_rounds)
    applicants = tuple(one for one in state.applicants if round_ - one.round < terms.application_rounds)
    vouchers = tuple(one for one in state.vouchers if one.until >= round_)
    return replace(state, motions=motions, applicants=applicants, vouchers=vouchers)


def without_motions_about(state: State, subjects: frozenset[NodeId | str]) -> State:
    """`state` in which nothing is open about these nodes and parameters, under whatever key a node goes on."""
    touched = {_now(state, one) for one in subjects}
    return replace(state, motions=tuple(one for one in state.motions if _now(state, _about(one)) not in touched))


def _about(motion: Motion) -> NodeId | str:
    """Whom, or what, a motion is about."""
    return _subject(motion.kind, decode_any(motion.content, _BODIES))


def _subject(kind: str, body: Any) -> NodeId | str:
    """The node or the parameter that a body names; what names none is about what its kind changes."""
    if isinstance(body, SetParameter):
        return body.name
    node: NodeId | str = getattr(body, "node", kind)
    return node


def _now(state: State, subject: NodeId | str) -> NodeId | str:
    """A node under the key that it has rotated to; anything else as it is."""
    return holder_of(state, subject) if isinstance(subject, bytes) else subject


def _find(state: State, kind: str, content: bytes) -> Motion | None:
    return next((one for one in state.motions if (one.kind, one.content) == (kind, content)), None)
