"""Vouch and join: managers admit beforehand whoever shows a voucher, once (ADR 24).

A voucher is a key: its public half stands in the ledger until it is used, withdrawn or over, its secret is in the invitation.
That key signs the newcomer's id, so who sees a `join` on its way can't use it for another node; and since a used voucher is in no
ledger, nothing has to be remembered of it.
"""

from bisect import insort
from dataclasses import replace
from operator import attrgetter
from typing import Final

from bflcd.ledger.operations.admitting import ADMIT, admitted, check_admissible
from bflcd.ledger.operations.base import Limits, refused
from bflcd.ledger.operations.motion import manages, voucher_of, without_motions_about, without_voucher
from bflcd.ledger.operations.signed_kind import OPERATION_BYTES, NumberedKind, SignedKind
from bflcd.ledger.state import MAX_VOUCHERS, State, Voucher, account_of, member_of
from bflcd.types import NodeId, short
from bflcd.wire.alliance import Join, Vouch
from bflcd.wire.envelope import Signed, open_envelope
from bflcd.wire.operation import Operation

VOUCHERS_EACH: Final = 8
"""Vouchers that one manager stands behind at most."""

MAX_VOUCHER_ROUNDS: Final = 2**20
"""Rounds that a voucher holds at most: three weeks of rounds of two seconds."""


class VouchKind(NumberedKind[Vouch]):
    """A manager more stands behind a voucher, the first one opens it. It is good once as many do as admit a member."""

    name = "vouch"
    body_type = Vouch

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether its author stands behind it."""
        voucher = voucher_of(state, self.body(operation).node)
        return voucher is not None and operation.author in voucher.approvals

    def describe(self, operation: Operation) -> str:
        """Who vouches how long."""
        body = self.body(operation)
        return f"manager {short(operation.author)} admits who has the voucher {short(body.node)}, through round {body.until}"

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        body, author = self.body(operation), operation.author
        # 1. By a manager.
        if not manages(state, author):
            raise refused(self.name, f"{short(author)} is no manager")
        # 2. For a time that is bounded.
        if not state.round < body.until <= state.round + MAX_VOUCHER_ROUNDS:
            text = f"it holds through round {body.until}, in round {state.round} it must be one of the next {MAX_VOUCHER_ROUNDS}"
            raise refused(self.name, text)
        # 3. One that it opens, or that is open: whoever comes after its use must not open it again.
        voucher = voucher_of(state, body.node)
        self._check_opening(voucher, body, author)
        # 4. By a key that is nobody's.
        if account_of(state, body.node) is not None:
            raise refused(self.name, f"the ledger knows the key {short(body.node)} already")
        # 5. There is room, and a share of it for each.
        behind, most = sum(author in one.approvals for one in state.vouchers), vouchers_each(state)
        if behind >= most:
            raise refused(self.name, f"{short(author)} stands behind {behind} vouchers, of {most} that each may")
        if voucher is None and len(state.vouchers) >= MAX_VOUCHERS:
            raise refused(self.name, f"{MAX_VOUCHERS} vouchers are open")

    def _check_opening(self, voucher: Voucher | None, body: Vouch, author: NodeId) -> None:
        """Raise PeerError(BAD_OPERATION) unless it opens what is not open, or stands behind what was open when it was said."""
        if voucher is None and not body.opens:
            raise refused(self.name, f"there is no voucher {short(body.node)}: it was used or withdrawn, or its time is over")
        if voucher is not None and body.opens:
            raise refused(self.name, f"the voucher {short(body.node)} is open already")
        if voucher is not None and voucher.until != body.until:
            raise refused(self.name, f"the voucher {short(body.node)} holds through round {voucher.until}, not {body.until}")
        if voucher is not None and body.round <= voucher.opened:
            text = f"it was said in round {body.round}, the voucher {short(body.node)} was opened in round {voucher.opened}"
            raise refused(self.name, text)
        if voucher is not None and author in voucher.approvals:
            raise refused(self.name, f"{short(author)} stands behind the voucher {short(body.node)} already")

    def apply(self, state: State, operation: Operation) -> State:
        """It is open, with one manager more behind it."""
        body = self.body(operation)
        voucher = voucher_of(state, body.node) or Voucher(body.node, body.until, (), state.round)
        voucher = replace(voucher, approvals=tuple(sorted({*voucher.approvals, operation.author})))
        vouchers = list(without_voucher(state, body.node).vouchers)
        insort(vouchers, voucher, key=attrgetter("key"))
        return replace(state, vouchers=tuple(vouchers))


class JoinKind(SignedKind[Join]):
    """A member more, from the next round on, by a voucher: its own word and that of the voucher's key."""

    name = "join"
    body_type = Join
    limits = Limits(per_block=4, per_author=1, max_bytes=OPERATION_BYTES, waiting=16)

    def body(self, operation: Operation) -> Join:
        """What both keys have signed. Raises PeerError unless they did, the newcomer's first."""
        if len(operation.signed) != 2:
            raise refused(self.name, f"{len(operation.signed)} messages, it has two: the newcomer's and the voucher's")
        by_node, by_voucher = operation.signed
        signed: Signed[Join] = open_envelope(by_node, (Join,))
        if by_node.payload != by_voucher.payload:
            raise refused(self.name, "newcomer and voucher have signed different things")
        if (signed.body.node, signed.body.voucher) != (by_node.author, by_voucher.author):
            raise refused(self.name, "it is not signed by the newcomer and the voucher that it names")
        return signed.body

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether its author is a member."""
        return member_of(state, operation.author) is not None

    def describe(self, operation: Operation) -> str:
        """Who joins by which voucher."""
        return f"{short(operation.author)} joins by the voucher {short(self.body(operation).voucher)}"

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        body = self.body(operation)
        # 1. By a voucher that nobody has used, behind which enough managers stand now.
        voucher = voucher_of(state, body.voucher)
        if voucher is None:
            raise refused(self.name, f"there is no voucher {short(body.voucher)}: it was used or withdrawn, or its time is over")
        behind, needed = len(standing_behind(state, voucher)), ADMIT.needed(state)
        if behind < needed:
            raise refused(self.name, f"{behind} managers stand behind the voucher {short(body.voucher)}, {needed} are needed")
        # 2. Said in a round that has come.
        if body.round > state.round:
            raise refused(self.name, f"it is of round {body.round}, we are in round {state.round}")
        # 3. By who may be admitted.
        check_admissible(state, self.name, body.node, body.round)

    def apply(self, state: State, operation: Operation) -> State:
        """It is a member, as if managers had admitted it now, and the voucher is no more."""
        body = self.body(operation)
        state = without_motions_about(without_voucher(state, body.voucher), frozenset((body.node,)))
        return admitted(state, body.node)


VOUCH: Final = VouchKind()
JOIN: Final = JoinKind()


def standing_behind(state: State, voucher: Voucher) -> tuple[NodeId, ...]:
    """The managers whose word for a voucher counts now."""
    return tuple(node for node in voucher.approvals if manages(state, node))


def vouchers_each(state: State) -> int:
    """Vouchers that one manager may stand behind: its share of all, so that some of them never take the others' room."""
    return max(1, min(VOUCHERS_EACH, MAX_VOUCHERS // len(state.managers)))
