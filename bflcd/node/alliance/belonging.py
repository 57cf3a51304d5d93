"""Whether this node is a member: waited for before it takes part, watched while it does."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from bflcd.config.sections import NodeSection
from bflcd.core.core import Core
from bflcd.crypto.identity import Identity
from bflcd.ledger.alliance.keys import last_of
from bflcd.ledger.alliance.membership import Membership, membership_of
from bflcd.ledger.state import NEVER, State, members_of
from bflcd.node.alliance.newcomer import UNDER_A_TRIED_KEY, WITH_OTHER_KEYS, Newcomer
from bflcd.node.alliance.poll import MembershipAsker, MembershipPoll
from bflcd.node.alliance.watch import watch_membership
from bflcd.node.anew import ExcludedError, KeyReplacedError
from bflcd.node.reporter import Tell
from bflcd.types import NodeId


class Connections(Protocol):
    """The part of the peer side that is used here."""

    def members(self) -> tuple[NodeId, ...]:
        """Connected members."""
        ...

    def drop(self, peer: NodeId) -> None:
        """End a connection."""
        ...

    def renamed(self, before: NodeId, now: NodeId) -> None:
        """A member goes on under another key."""
        ...


class RefusedAsker(MembershipAsker, Protocol):
    """The part of the exchange that is used here."""

    taken_for_stranger: asyncio.Event
    """Set whenever a peer has refused a request because it holds this node for no member."""


class Keys(Protocol):
    """The part of `KeyRing` that is used here."""

    tried: bool
    """Whether this node runs under a key on members' word alone."""

    def has_others(self, state: State) -> bool:
        """Whether it may have the member's key, if this is not the one. Raises OperatorError, MachineError."""
        ...

    def voucher(self) -> Identity | None:
        """The voucher of its invitation, if that had one. Raises OperatorError, MachineError."""
        ...


class Belonging:
    """`held`: shows the operator why the node waits, empty when it doesn't."""

    def __init__(
        self,
        core: Core,
        identity: Identity,
        peers: Connections,
        asker: RefusedAsker,
        *,
        tell: Tell,
        held: Callable[[str], None],
    ) -> None:
        self._core = core
        self._identity = identity
        self._peers = peers
        self._asker = asker
        self._poll = MembershipPoll(core.context.state.chain, asker, lambda: list(peers.members()))
        self._tell = tell
        self._held = held
        self._members = core.context.members
        self._barred = core.context.barred
        self._excluded = asyncio.Event()

    async def until_member(self, settings: NodeSection, keys: Keys, *, doubted: bool) -> None:
        """Return at once if this node is a member by its own ledger, which may be `doubted`; else once members say so.

        Raises KeyReplacedError if another of its keys is to be tried; OperatorError, MachineError.
        """
        context = self._core.context
        if context.me in context.members and not doubted:
            return
        # members give a stranger nothing but the genesis: asking for more would only get this node banned
        chain = context.state.chain
        patience = UNDER_A_TRIED_KEY if keys.tried else None
        if patience is None and await asyncio.to_thread(keys.has_others, context.state):
            patience = WITH_OTHER_KEYS
        newcomer = Newcomer(
            self._identity,
            chain,
            self._poll,
            applies=settings.apply and not keys.tried,  # a key with an account of its own can't follow another one
            note=settings.name,
            tell=self._tell,
            held=self._held,
            patience=patience,
            own=membership_of(context.state, context.me),
            voucher=await asyncio.to_thread(keys.voucher),
        )
        await newcomer.until_admitted()

    def closed(self, state: State) -> None:
        """A round was closed: who is no member any more, or was put out after it had left, hears nothing from now on."""
        members = frozenset(account.node for account in members_of(state))
        gone, self._members = self._members - members, members
        barred = frozenset(account.node for account in state.accounts if account.kicked_round != NEVER)
        out, self._barred = barred - self._barred, barred
        for node in gone | out:
            self._peers.drop(node)
            if (after := last_of(state, node)) != node:
                self._peers.renamed(node, after)
        if self._core.context.me in gone:
            self._excluded.set()

    async def watch(self) -> None:
        """Raise ExcludedError, or KeyReplacedError, when this node is no member any more, by its own ledger or by what most
        members say."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._until_excluded())
            me, refused = self._core.context.me, self._asker.taken_for_stranger
            group.create_task(watch_membership(me, self._poll, lambda: self._core.context.round, refused))

    async def _until_excluded(self) -> None:
        await self._excluded.wait()
        context = self._core.context
        standing, text = membership_of(context.state, context.me)
        why = KeyReplacedError if standing is Membership.REPLACED else ExcludedError
        raise why(f"this node ({context.me.hex()}) is no member any more: {text}")
