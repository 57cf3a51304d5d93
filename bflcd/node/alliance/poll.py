"""Asking the connected members how this node stands with them: open to strangers, so that who is out learns of it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from bflcd.errors import PeerError, RequestError
from bflcd.ledger.quorum import faults
from bflcd.types import MAX_COMMITTEE, Digest, NodeId, short
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership, MembershipReply

ASK_SECONDS: Final = 5.0
"""What a member has for its answer."""

MAX_ASKED: Final = 2 * (faults(MAX_COMMITTEE) + 1)
"""Members asked at most, all at once, as of histories: of fewer, liars who connect first could be most."""

logger = logging.getLogger(__name__)


class MembershipAsker(Protocol):
    """The part of the exchange that is used here."""

    async def ask(self, peer: NodeId, request: GetMembership, *, deadline: float) -> MembershipReply:
        """As `Exchange.ask`."""
        ...


HandedIn = Callable[[MembershipReply], tuple[Operation, ...]]
"""What is handed in to who has answered so."""


class MembershipPoll:
    """Asks some of the members that `peers` gives."""

    def __init__(self, chain: Digest, asker: MembershipAsker, peers: Callable[[], list[NodeId]]) -> None:
        self._chain = chain
        self._asker = asker
        self._peers = peers

    async def replies(self, handed_in: HandedIn = lambda _: ()) -> list[MembershipReply]:
        """What those say that answer; `handed_in`: what to hand in upon an answer, until one is taken."""
        return [reply for reply in await self.all_replies(handed_in) if reply is not None]

    async def all_replies(self, handed_in: HandedIn = lambda _: ()) -> list[MembershipReply | None]:
        """As `replies`, with None for who was asked and does not answer."""
        asked = self._peers()[:MAX_ASKED]
        return await asyncio.gather(*(self._reply(peer, handed_in) for peer in asked))

    async def _reply(self, peer: NodeId, handed_in: HandedIn) -> MembershipReply | None:
        reply = await self._ask(peer, None)
        for operation in () if reply is None else handed_in(reply):
            taken = await self._ask(peer, operation)
            if taken is not None:
                return taken
        return reply

    async def _ask(self, peer: NodeId, application: Operation | None) -> MembershipReply | None:
        try:
            return await self._asker.ask(peer, GetMembership(self._chain, application), deadline=ASK_SECONDS)
        except (PeerError, RequestError) as error:
            logger.info("%s does not say how we stand: %s", short(peer), error)
            return None
