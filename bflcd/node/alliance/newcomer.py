"""What a node does while it is no member: it applies, asks now and then whether it was admitted, and says whom it waits for."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from bflcd.core.node_events import EventKind
from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, RequestError
from bflcd.ledger.membership import Membership
from bflcd.ledger.operations.applying import APPLY
from bflcd.limits import visible
from bflcd.node.reporter import Tell
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.alliance import Application
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership, MembershipReply

ASK_SECONDS: Final = 5.0
"""What a member has for its answer."""

FIRST_PAUSE: Final = 1.0
"""Seconds between the first two times of asking; each is half as long again as the one before."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two times at most: a manager may take days."""

GROWTH: Final = 1.5

MEANINGS: Final = {
    Membership.UNKNOWN: "it has not applied",
    Membership.APPLIED: "it has applied",
    Membership.REFUSED: "a manager has refused its application",
    Membership.LEFT: "it has left the community",
    Membership.KICKED: "it was put out",
    Membership.PUNISHED: "it was proved to have lied",
}
"""What each standing means to who reads `status`, where the member that is asked does not say more."""

WAYS_BACK: Final = {
    Membership.KICKED: "only a quorum of managers can take it back",
    Membership.PUNISHED: "that is for ever",
}
"""What there is to be done, where it is not to be admitted."""

logger = logging.getLogger(__name__)


class MembershipAsker(Protocol):
    """The part of the exchange that is used here."""

    async def ask(self, peer: NodeId, request: GetMembership, *, deadline: float) -> MembershipReply:
        """As `Exchange.ask`."""
        ...


class Newcomer:
    """Asks the members that are connected. `held`: gets what the operator should read meanwhile, empty at the end."""

    def __init__(
        self,
        identity: Identity,
        chain: Digest,
        asker: MembershipAsker,
        peers: Callable[[], list[NodeId]],
        *,
        applies: bool,
        note: str,
        tell: Tell,
        held: Callable[[str], None],
    ) -> None:
        """`applies`: whether it hands in an application, with `note`; else it waits for managers who know it."""
        self._identity = identity
        self._chain = chain
        self._asker = asker
        self._peers = peers
        self._applies = applies
        self._note = note
        self._tell = tell
        self._held = held
        self._told = ""

    async def until_admitted(self) -> None:
        """Return when most of the members that answer say that this node is one."""
        pause = FIRST_PAUSE
        while True:
            replies = await self._ask_all()
            if 2 * sum(one.standing == Membership.MEMBER for one in replies) > len(replies):
                self._say(Round(max(one.round for one in replies)), "")
                return
            if replies:
                self._report(max(replies, key=lambda one: one.round))
            else:
                self._say(
                    Round(0), f"this node ({self._identity.node_id.hex()}) is no member, and no member is connected to apply to"
                )
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    async def _ask_all(self) -> list[MembershipReply]:
        replies = []
        for peer in self._peers():
            reply = await self._ask(peer, None)
            if reply is None:
                continue
            if self._applies and reply.standing == Membership.UNKNOWN:
                reply = await self._ask(peer, self._application(reply.round)) or reply
            replies.append(reply)
        return replies

    async def _ask(self, peer: NodeId, application: Operation | None) -> MembershipReply | None:
        try:
            return await self._asker.ask(peer, GetMembership(self._chain, application), deadline=ASK_SECONDS)
        except (PeerError, RequestError) as error:
            logger.info("%s does not say how we stand: %s", short(peer), error)
            return None

    def _application(self, round_: Round) -> Operation:
        return Operation(APPLY.name, (seal(Application(self._chain, round_, self._note), self._identity).envelope,))

    def _report(self, reply: MembershipReply) -> None:
        node, standing = self._identity.node_id.hex(), reply.standing
        known = Membership(standing) if standing in set(Membership) else None
        meaning = f"it is called {visible(standing)}" if known is None else MEANINGS.get(known, "")
        if reply.text:
            meaning = f"{meaning}: {visible(reply.text)}" if known is Membership.REFUSED else visible(reply.text)
        managers = " ".join(short(manager) for manager in reply.managers[:4]) + (" ..." if len(reply.managers) > 4 else "")
        admit = f"{reply.needed} of the managers {managers} must admit it: `bflc-cli admit {node}`"
        way = admit if known is None else WAYS_BACK.get(known, admit)
        text = f"this node ({node}) is no member: {meaning}; {way}"
        self._say(reply.round, text)

    def _say(self, round_: Round, text: str) -> None:
        """Show it in `status`, and tell it once."""
        self._held(text)
        if text != self._told:
            self._told = text
            if text:
                self._tell(EventKind.NOT_MEMBER_YET, round_, text)
            else:
                self._tell(EventKind.ADMITTED, round_, "this node was admitted: it catches up and takes part")
