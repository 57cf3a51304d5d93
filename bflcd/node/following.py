"""Catching up with a chain that others have carried on: whose word starts it, and how proven segments reach the core.

A peer's claim only says whom to ask. What takes the node out of its round is a segment whose certificate was proven.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from bflcd.consensus.certificate import verify_successor
from bflcd.core.core import Core
from bflcd.core.events import Confirmed, SegmentFetched, SyncChanged
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.exchange import Exchange, OnMisbehaviour
from bflcd.net.sync import ChainSync, NotYetJudgedError, OnProgress, SyncLimits
from bflcd.node.history import HistoryGuard, Witnesses, two_histories
from bflcd.node.recovery.reorg import find_other, take_back
from bflcd.node.runtime.ports import Inbox
from bflcd.params import BlobRef
from bflcd.scheduler import Scheduler
from bflcd.store.protocol import ChainStore
from bflcd.types import NodeId, Round, short
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.envelope import Verify

logger = logging.getLogger(__name__)

FetchFromAny = Callable[[BlobRef, Callable[[], Sequence[NodeId]]], Awaitable[None]]
"""Gets a blob into the store from one of the nodes that the function names. Raises RequestError."""


class RoundClaims:
    """The rounds that connected members say to have reached. Never believed; only asked about."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """`on_change` is told of every claim."""
        self._rounds: dict[NodeId, Round] = {}
        self._on_change = on_change

    def note(self, node: NodeId, round_: Round) -> None:
        """A member's own word on where it stands."""
        self._rounds[node] = round_
        self._on_change()

    def hint(self, node: NodeId, round_: Round) -> None:
        """A message of a later round came through a member: it may know more."""
        self.note(node, max(round_, self._rounds.get(node, Round(0))))

    def forget(self, node: NodeId) -> None:
        """A member is gone."""
        self._rounds.pop(node, None)

    def all(self) -> dict[NodeId, Round]:
        """Everybody's claim."""
        return dict(self._rounds)

    def highest(self) -> Round:
        """The boldest claim."""
        return max(self._rounds.values(), default=Round(0))


class Follower:
    """Brings a running core up to what others can prove, whenever they claim to be ahead, and then tells it where they stand."""

    def __init__(
        self,
        core: Core,
        claims: RoundClaims,
        *,
        inbox: Inbox,
        exchange: Exchange,
        store: ChainStore,
        fetch: FetchFromAny,
        verify: Verify,
        scheduler: Scheduler,
        on_misbehaviour: OnMisbehaviour,
        on_progress: OnProgress,
        limits: SyncLimits | None = None,
        guard: HistoryGuard | None = None,
        signing: SigningGuard,
    ) -> None:
        """`guard`: whether what is taken over has to be shown by several members; None: never. `signing`: whether the core has to
        be told where the others stand."""
        self._core = core
        self._guard = guard
        self._signing = signing
        self._claims = claims
        self._inbox = inbox
        self._exchange = exchange
        self._store = store
        self._verify = verify
        self._scheduler = scheduler
        self._fetch_blob = fetch
        chain = core.context.state.chain
        self._witnesses: Witnesses | None = None
        if guard is not None:
            self._witnesses = Witnesses(exchange, chain, guard, on_misbehaviour=on_misbehaviour, scheduler=scheduler)
        self._chain_sync = ChainSync(
            exchange,
            chain=chain,
            verify_header=self._verify_header,
            apply=self._apply,
            fetch_blob=self._fetch,
            on_misbehaviour=on_misbehaviour,
            on_progress=on_progress,
            on_unlinked=self._compare,
            admit=None if self._witnesses is None else self._witnesses.admit,
            limits=limits,
            scheduler=scheduler,
        )

    def behind(self) -> bool:
        """Whether somebody claims to be ahead."""
        return self._claims.highest() > self._core.context.round

    async def follow(self) -> None:
        """Catch up if somebody claims to be ahead; if by one round, then only after T0: an announcement may be on its way.

        Raises SupersededError once blocks of ours were taken back, which a recovery has superseded.
        """
        context, heard = self._core.context, self._claims.all()
        if self._claims.highest() == context.round + 1:
            await self._scheduler.sleep(context.params.view_timeout / 1000)
        behind = self.behind()
        if behind:
            try:
                await self._chain_sync.run(self._core.context.head_header, self._asked)
            except RequestError as error:
                logger.warning("catching up stopped: %s", error)
        elif self._guard is not None:
            self._guard.proven_ahead = False
        if self._guard is not None and self._guard.look(self._core.context.head_header, self._claims.all()):
            return  # a history that nobody has vouched for is no place to take part in
        await self._confirm(tuple(heard.values()))
        if behind or self._core.syncing:
            # Not in a `finally`: whoever cancels us has cancelled the runtime too, which then never answers.
            await self._inbox.settle(SyncChanged(active=False))

    async def _confirm(self, heard: Sequence[Round]) -> None:
        """Tell a node that knows nothing of what it signed where the others stand, once enough of them have said so.

        Not before what they could prove is here: its head counts then, and no liar among the first hides where the others are.
        """
        if self._signing.in_doubt:
            context = self._core.context
            stands = self._signing.settled_by(heard, len(context.committee), len(context.members))
            if stands is not None:
                await self._inbox.settle(Confirmed(stands))

    def _asked(self) -> dict[NodeId, Round]:
        claims = self._claims.all()
        return claims if self._witnesses is None else self._witnesses.asked(claims)

    async def _fetch(self, blob: BlobRef, holders: Callable[[], Sequence[NodeId]]) -> None:
        """A payload of the newest rounds, unless we owe: then nobody gives it."""
        if not self._core.context.owes:
            await self._fetch_blob(blob, holders)

    def _verify_header(self, certified: CertifiedHeader, previous: Header) -> None:
        """Raise PeerError, as `verify_successor` does; NotYetJudgedError where managers may have changed in between."""
        context = self._core.context
        try:
            verify_successor(previous, certified, context.params, context.head.state.managers, self._verify)
        except PeerError as error:
            if error.rejection is Rejection.BAD_RECOVERY and previous.round > context.round:
                raise NotYetJudgedError(error.rejection, str(error)) from error
            raise

    async def _compare(self, peer: NodeId) -> bool:
        """Take back what a recovery has superseded of ours; True if the peer proves another history, which is no fault of its.

        Raises SupersededError once blocks are taken back, TwoHistoriesError if we can't say that ours is the right one.
        """
        found = await find_other(
            self._exchange, self._store, peer, self._core.context.genesis, self._verify, scheduler=self._scheduler
        )
        if found is None:
            return False
        if not found.supersedes:
            if found.contradicts and self._guard is not None and self._guard.held:
                raise two_histories(found.ours.header, (), found.theirs.header, (peer,))
            logger.warning("%s proves another history from round %d on: it is not followed", short(peer), found.ours.header.round)
            return True
        if not self._core.syncing:
            await self._inbox.settle(SyncChanged(active=True))  # nothing is committed or signed from here on
        raise await take_back(self._store, found.theirs, scheduler=self._scheduler)

    async def _apply(self, certified: CertifiedSegment) -> None:
        wanted = certified.segment.model_header.round
        if not self._core.syncing:
            await self._inbox.settle(SyncChanged(active=True))
        if self._core.context.round < wanted:
            await self._inbox.settle(SegmentFetched(certified, self._core.context.me))
        if self._core.context.round < wanted:
            raise RequestError(f"the segment of round {wanted} was refused by the ledger; see the log")
