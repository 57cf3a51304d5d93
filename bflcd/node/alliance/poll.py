"""Asking the connected members how this node stands with them: open to strangers, so that who is out learns of it."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from bflcd.errors import PeerError, RequestError
from bflcd.types import Digest, NodeId, short
from bflcd.wire.operation import Operation
from bflcd.wire.requests import GetMembership, MembershipReply

ASK_SECONDS: Final = 5.0
"""What a member has for its answer."""

MAX_ASKED: Final = 8
"""Members asked at a time."""

logger = logging.getLogger(__name__)


class MembershipAsker(Protocol):
    """The part of the exchange that is used here."""

    async def ask(self, peer: NodeId, request: GetMembership, *, deadline: float) -> MembershipReply:
        """As `Exchange.ask`."""
        ...


class MembershipPoll:
    """Asks some of the members that `peers` gives."""

    def __init__(self, chain: Digest, asker: MembershipAsker, peers: Callable[[], list[NodeId]]) -> None:
        self._chain = chain
        self._asker = asker
        self._peers = peers

    async def replies(self, application: Callable[[MembershipReply], Operation | None] = lambda _: None) -> list[MembershipReply]:
        """What those say that answer; `application`: what to hand in upon an answer, if anything."""
        found = []
        for peer in self._peers()[:MAX_ASKED]:
            reply = await self._ask(peer, None)
            if reply is None:
                continue
            handed = application(reply)
            if handed is not None:
                reply = await self._ask(peer, handed) or reply
            found.append(reply)
        return found

    async def _ask(self, peer: NodeId, application: Operation | None) -> MembershipReply | None:
        try:
            return await self._asker.ask(peer, GetMembership(self._chain, application), deadline=ASK_SECONDS)
        except (PeerError, RequestError) as error:
            logger.info("%s does not say how we stand: %s", short(peer), error)
            return None
