"""A community before its first round, and the parts of a node that ask, watch and sign in it, for tests of membership."""

import asyncio
from types import SimpleNamespace
from typing import Any

from bflcd.api.schema.alliance import OperationRequest
from bflcd.core.events import OperationSaid
from bflcd.core.node_events import EventKind
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.crypto.identity import Identity
from bflcd.ledger.alliance.membership import Membership
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.node.alliance import watch
from bflcd.node.alliance.newcomer import Newcomer, Patience
from bflcd.node.alliance.poll import MembershipPoll
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import header_hash
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership, MembershipReply
from tests.helpers.ledger import make_genesis, make_identities

GENESIS, IDENTITIES = make_genesis()
HEADER, STATE = genesis_header(GENESIS), genesis_state(GENESIS)
STATE_MEMBERS = {account.node for account in STATE.accounts}
MANAGERS, MEMBER = IDENTITIES[:4], IDENTITIES[9]
STRANGER = next(one for one in make_identities(11) if one.node_id not in STATE_MEMBERS)
CHAIN = STATE.chain


def context_of(state: State, me: NodeId) -> RoundContext:
    return RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), state), me)


class Members:
    """What each member answers, in turn; the last answer stays."""

    def __init__(self, *answers: list[Any]) -> None:
        self.nodes = [NodeId(bytes([number]) * 32) for number in range(len(answers))]
        self.answers = dict(zip(self.nodes, map(list, answers), strict=True))
        self.asked: list[GetMembership] = []
        self.taken_for_stranger = asyncio.Event()

    async def ask(self, peer: NodeId, request: GetMembership, *, deadline: float) -> MembershipReply:
        assert deadline > 0
        self.asked.append(request)
        answers = self.answers[peer]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        standing, text = answer if isinstance(answer, tuple) else (answer, "")
        return MembershipReply(Round(7), str(standing), text, STATE.managers, 1)


class Newcomers:
    """A newcomer, and what it tells."""

    def __init__(
        self,
        members: Members,
        *,
        applies: bool = True,
        patience: Patience | None = None,
        own: tuple[Membership, str] = (Membership.UNKNOWN, ""),
        voucher: Identity | None = None,
    ) -> None:
        self.told: list[tuple[EventKind, str]] = []
        self.held = ""
        self.node = Newcomer(
            STRANGER,
            CHAIN,
            MembershipPoll(CHAIN, members, lambda: members.nodes),
            applies=applies,
            note="a ward's machine",
            tell=lambda kind, _round, text: self.told.append((kind, text)),
            held=self.hold,
            patience=patience,
            own=own,
            voucher=voucher,
        )

    def hold(self, text: str) -> None:
        self.held = text


async def watched(members: Members, *rounds: int) -> None:
    """A member in the last of `rounds`, once it has passed through the others."""
    left = list(rounds)

    def round_of() -> Round:
        return Round(left.pop(0) if len(left) > 1 else left[0])

    poll = MembershipPoll(CHAIN, members, lambda: members.nodes)
    async with asyncio.timeout(10):
        await watch.watch_membership(STRANGER.node_id, poll, round_of, members.taken_for_stranger)


class Core:
    """Keeps what it is given, and shows it."""

    def __init__(self, state: State, me: NodeId, *, full: bool = False, **changes: Any) -> None:
        self.waiting: list[Operation] = []
        self.full = full
        self.context = context_of(state, me)
        self.fields = {
            "context": self.context,
            "syncing": False,
            "started": True,
        } | changes

    def snapshot(self, _: Any) -> Any:
        return SimpleNamespace(**self.fields, waiting=tuple(self.waiting))

    async def say(self, event: OperationSaid) -> None:
        if not self.full:
            self.waiting.append(event.operation)


def asks(kind: Any, **fields: Any) -> OperationRequest:
    return OperationRequest(kind=kind, **fields)
