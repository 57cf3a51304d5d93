"""What a node does while it is no member: it applies, asks now and then whether it was admitted, and says whom it waits for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bflcd.core.node_events import EventKind
from bflcd.crypto.identity import Identity
from bflcd.ledger.alliance.membership import BELONGS, Membership
from bflcd.ledger.operations.applying import APPLY
from bflcd.ledger.operations.vouching import JOIN
from bflcd.limits import visible
from bflcd.node.alliance.poll import MembershipPoll
from bflcd.node.anew import KeyReplacedError
from bflcd.node.reporter import Tell
from bflcd.types import Digest, Round, short
from bflcd.wire.alliance import Application, Join
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation
from bflcd.wire.requests import MembershipReply

FIRST_PAUSE: Final = 1.0
"""Seconds between the first two times of asking; each is half as long again as the one before."""

LONGEST_PAUSE: Final = 5.0
"""Seconds between two times at most: a manager may take days, and its word is to be heard within a few rounds."""

GROWTH: Final = 1.5

MEANINGS: Final = {
    Membership.UNKNOWN: "it has not applied",
    Membership.APPLIED: "it has applied",
    Membership.REFUSED: "a manager has refused its application",
    Membership.LEFT: "it has left the community",
    Membership.KICKED: "it was put out",
    Membership.REPLACED: "another key has taken the place of its own",
}
"""What each standing means to who reads `status`, where the member that is asked does not say more."""

_JOINING: Final = frozenset({Membership.UNKNOWN, Membership.APPLIED, Membership.REFUSED})
"""Standings in which a voucher admits."""

WAYS_BACK: Final = {
    Membership.KICKED: "only a quorum of managers can take it back",
    Membership.REPLACED: "start the node with the key that the member has now",
}
"""What there is to be done, where it is not to be admitted."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`times`: so often in a row most members have to say one of `words` until a node with several keys tries another one."""

    times: int
    words: frozenset[Membership]


UNDER_A_TRIED_KEY: Final = Patience(4, frozenset(Membership) - BELONGS)
"""Some five seconds: what members say of it counts alone, and whatever they say, it has not applied."""

WITH_OTHER_KEYS: Final = Patience(10, frozenset({Membership.REPLACED}))
"""More than a minute: it was denied before, and all others were tried."""


def meaning_of(reply: MembershipReply) -> str:
    """What a member's answer means, for people."""
    standing = reply.standing
    if standing not in set(Membership):
        return f"it is called {visible(standing)}"
    meaning = MEANINGS.get(Membership(standing), "")
    if not reply.text:
        return meaning
    return f"{meaning}: {visible(reply.text)}" if standing == Membership.REFUSED else visible(reply.text)


class Newcomer:
    """Asks the members that are connected. `held`: gets what the operator should read meanwhile, empty at the end."""

    def __init__(
        self,
        identity: Identity,
        chain: Digest,
        poll: MembershipPoll,
        *,
        applies: bool,
        note: str,
        tell: Tell,
        held: Callable[[str], None],
        patience: Patience | None = None,
        own: tuple[Membership, str] = (Membership.UNKNOWN, ""),
        voucher: Identity | None = None,
    ) -> None:
        """`applies`: whether it hands in an application, with `note`; else it waits for managers who know it. `patience`: with
        members that know nothing good of its key, where it has others. `own`: how it stands by its own ledger, while nobody says
        more: who is put out is barred, and hears from no member. `voucher`: by which it joins, if it is good still."""
        self._identity = identity
        self._chain = chain
        self._poll = poll
        self._applies = applies
        self._note = note
        self._tell = tell
        self._held = held
        self._patience = patience
        self._own = own
        self._voucher = voucher
        self._told = ""

    async def until_admitted(self) -> None:
        """Return when most of the members that answer say that this node is one. Raises KeyReplacedError out of patience."""
        pause, denied = FIRST_PAUSE, 0
        while True:
            replies = await self._poll.replies(self._handed_in)
            if 2 * sum(one.standing in BELONGS for one in replies) > len(replies):
                self._say(Round(max(one.round for one in replies)), "")
                return
            if replies:
                self._report(max(replies, key=lambda one: one.round))
            else:
                self._say(Round(0), f"this node ({self._identity.node_id.hex()}) is no member{self._alone()}")
            denied = denied + 1 if self._is_denied(replies) else 0
            if self._patience is not None and denied >= self._patience.times:
                raise KeyReplacedError(f"most members say that this node ({self._identity.node_id.hex()}) is none under this key")
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    def _is_denied(self, replies: list[MembershipReply]) -> bool:
        words = frozenset() if self._patience is None else self._patience.words
        return 2 * sum(reply.standing in words for reply in replies) > len(replies)

    def _alone(self) -> str:
        """What is said while nobody answers."""
        standing, text = self._own
        way = WAYS_BACK.get(standing)
        return (
            ", and no member is connected to apply to" if way is None or not text else f": {text}, and no member answers; {way}"
        )

    def _handed_in(self, reply: MembershipReply) -> tuple[Operation, ...]:
        """What is handed in upon an answer, the next where the one before is refused: a voucher may be used up, or not be known
        to whoever is asked yet."""
        if not self._applies:
            return ()
        said = list[Operation]()
        if self._voucher is not None and reply.standing in _JOINING:
            join = Join(self._chain, reply.round, self._identity.node_id, self._voucher.node_id)
            said.append(Operation(JOIN.name, (seal(join, self._identity).envelope, seal(join, self._voucher).envelope)))
        if reply.standing == Membership.UNKNOWN:
            application = Application(self._chain, reply.round, self._note)
            said.append(Operation(APPLY.name, (seal(application, self._identity).envelope,)))
        return tuple(said)

    def _report(self, reply: MembershipReply) -> None:
        node, standing = self._identity.node_id.hex(), reply.standing
        managers = " ".join(short(manager) for manager in reply.managers[:4]) + (" ..." if len(reply.managers) > 4 else "")
        admit = f"{reply.needed} of the managers {managers} must admit it: `bflc-cli admit {node}`"
        way = WAYS_BACK.get(Membership(standing), admit) if standing in set(Membership) else admit
        text = f"this node ({node}) is no member: {meaning_of(reply)}; {way}"
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
