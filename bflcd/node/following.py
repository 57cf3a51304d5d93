"""Catching up with a chain that others have carried on: whose word starts it, and how proven segments reach the core.

A peer's claim only says whom to ask. What takes the node out of its round is a segment whose certificate was proven.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from bflcd.api.event_bus import EventBus
from bflcd.consensus.certificate import verify_successor
from bflcd.core.events import SegmentFetched, SyncChanged
from bflcd.errors import RequestError
from bflcd.net.blobs import BlobFetcher
from bflcd.net.exchange import Exchange, OnMisbehaviour
from bflcd.net.sync import ChainSync
from bflcd.node.recovery.reorg import find_superseding, take_back
from bflcd.node.runtime.loop import Runtime
from bflcd.params import BlobRef
from bflcd.store.protocol import BlockStore
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.envelope import Verify

logger = logging.getLogger(__name__)


class RoundClaims:
    """The rounds that connected members say to have reached. Never believed; only asked about."""

    def __init__(self) -> None:
        self._rounds: dict[NodeId, Round] = {}
        self._changed = asyncio.Event()
        self._more = asyncio.Event()

    def note(self, node: NodeId, round_: Round) -> None:
        """A member's own word on where it stands."""
        self._rounds[node] = round_
        self._more.set()
        self._changed.set()

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

    async def more(self) -> None:
        """Return once any member says something more."""
        self._more.clear()
        await self._more.wait()

    async def changed(self) -> None:
        """Return at the next claim."""
        await self._changed.wait()
        self._changed.clear()


class Follower:
    """Brings a running core up to what others can prove, whenever they claim to be ahead."""

    def __init__(
        self,
        runtime: Runtime,
        claims: RoundClaims,
        exchange: Exchange,
        fetcher: BlobFetcher,
        bus: EventBus,
        *,
        store: BlockStore,
        verify: Verify,
        on_misbehaviour: OnMisbehaviour,
    ) -> None:
        self._runtime = runtime
        self._exchange = exchange
        self._store = store
        self._core = runtime.core
        self._claims = claims
        self._fetcher = fetcher
        self._bus = bus
        self._verify = verify
        self._catch_up = ChainSync(
            exchange,
            chain=self._core.context.state.chain,
            verify_header=self._verify_header,
            apply=self._apply,
            fetch_blob=self._fetch,
            on_misbehaviour=on_misbehaviour,
            on_progress=self._progress,
            on_unlinked=self._compare,
        )

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self._fallen_behind()
            try:
                await self._catch_up.run(self._core.context.head_header, self._claims.all)
            except RequestError as error:
                logger.warning("catching up stopped: %s", error)
            # Not in a `finally`: whoever cancels us has cancelled the runtime too, which then never answers.
            await self._runtime.settle(SyncChanged(active=False))

    async def _fallen_behind(self) -> None:
        """Return when a member claims to be ahead; if by one round, then still after T0: an announcement may be on its way."""
        while True:
            await self._claims.changed()
            ahead = self._claims.highest()
            if ahead == self._core.context.round + 1:
                await asyncio.sleep(self._core.context.params.view_timeout / 1000)
            if ahead > self._core.context.round:
                return

    def _verify_header(self, certified: CertifiedHeader, previous: Header) -> None:
        context = self._core.context
        verify_successor(previous, certified, context.params, context.head.state.managers, self._verify)

    async def _compare(self, peer: NodeId) -> None:
        """Look whether a recovery has superseded blocks of ours. Raises SupersededError once they are taken back."""
        superseding = await find_superseding(self._exchange, self._store, peer, self._core.genesis, self._verify)
        if superseding is None:
            return
        if not self._core.syncing:
            await self._runtime.settle(SyncChanged(active=True))  # nothing is committed or signed from here on
        raise await take_back(self._store, superseding)

    async def _apply(self, certified: CertifiedSegment) -> None:
        wanted = certified.segment.model_header.round
        if not self._core.syncing:
            await self._runtime.settle(SyncChanged(active=True))
        if self._core.context.round < wanted:
            await self._runtime.settle(SegmentFetched(certified, self._core.context.me))
        if self._core.context.round < wanted:
            raise RequestError(f"the segment of round {wanted} was refused by the ledger; see the log")

    async def _fetch(self, blob: BlobRef, holders: Callable[[], Sequence[NodeId]]) -> None:
        await self._fetcher.fetch(blob, holders)

    def _progress(self, done: Round, target: Round) -> None:
        logger.info("catching up: round %d of %d", done, target)
        self._bus.publish("sync", done, f"catching up: round {done} of {target}", target=int(target))
