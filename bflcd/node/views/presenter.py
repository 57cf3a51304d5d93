"""The node as its operator sees it: implements the API's `NodeView`, before the genesis is known and on a chain."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from bflcd.api.earnings import earnings_rows
from bflcd.api.event_bus import EventBus, LogRing
from bflcd.api.prune_target import rounds_to_keep
from bflcd.api.schema.alliance import AllianceView, OperationRequest, OperationView
from bflcd.api.schema.chain import HistoryRow, ModelView, PruneRequest, PruneView
from bflcd.api.schema.events import Event, LogView
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.money import EarningsRow, LedgerView
from bflcd.api.schema.privacy import PrivacyView
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Peer, Status, StopView
from bflcd.core.core import Core
from bflcd.core.events import Instant
from bflcd.core.node_events import EventKind
from bflcd.errors import OperatorError
from bflcd.node.reporter import Tell
from bflcd.node.views import chain as chain_view
from bflcd.node.views.facts import NodeFacts
from bflcd.node.views.members import committee_view, members_view, peer_view
from bflcd.node.views.money import ledger_view
from bflcd.node.views.round import round_view
from bflcd.node.views.status import status_of, status_without_chain
from bflcd.store.protocol import Upkeep

Recover = Callable[[RecoveryRequest], Awaitable[RecoveryView]]
"""Plans a recovery, and signs it unless it is a dry run (`RecoveryService.recover`)."""


class Alliance(Protocol):
    """What is shown and signed of membership (`AllianceService`)."""

    def view(self) -> AllianceView:
        """As `NodeView.alliance`."""
        ...

    async def sign(self, request: OperationRequest) -> OperationView:
        """As `NodeView.sign_operation`."""
        ...


class ChainView(Protocol):
    """What is shown of a chain."""

    def status(self) -> Status:
        """Where the node stands."""
        ...

    def require(self) -> "OnChain":
        """The chain. Raises OperatorError(starting) if the node is on none yet."""
        ...


class NoChain:
    """The genesis is not known yet."""

    def __init__(self, facts: NodeFacts) -> None:
        self._facts = facts

    def status(self) -> Status:
        """See `ChainView`."""
        return status_without_chain(self._facts)

    def require(self) -> "OnChain":
        """See `ChainView`."""
        raise OperatorError(
            "this node is still starting: it has no ledger yet",
            hint="ask again in a moment; on its first start it needs a --bootstrap peer that gives it the genesis",
            code="starting",
        )


class OnChain:
    """A node with a core."""

    def __init__(
        self,
        core: Core,
        facts: NodeFacts,
        *,
        recover: Recover,
        alliance: Alliance,
        clock: Callable[[], Instant],
        device: Callable[[], str],
        rows: Callable[[], int],
        privacy: Callable[[], PrivacyView],
    ) -> None:
        self.core = core
        self.facts = facts
        self.recover = recover
        self.alliance = alliance
        self.clock = clock
        self.device = device
        self.rows = rows
        self.privacy = privacy

    def status(self) -> Status:
        """See `ChainView`."""
        return status_of(self.core.snapshot(self.clock()), self.facts, self.device(), rows=self.rows())

    def require(self) -> "OnChain":
        """See `ChainView`."""
        return self


class Shown(chain_view.Models, Upkeep, Protocol):
    """What of the store is shown, and pruned at the operator's word."""


class Presenter:
    """Answers the API. What it shows of the chain changes once: when the node is on it."""

    def __init__(
        self, facts: NodeFacts, store: Shown, bus: EventBus, *, ring: LogRing, tell: Tell, stop: Callable[[], None]
    ) -> None:
        """`stop` asks the node to stop."""
        self._facts = facts
        self._store = store
        self._bus = bus
        self._ring = ring
        self._tell = tell
        self._stop = stop
        self._chain: ChainView = NoChain(facts)

    def show(self, chain: ChainView) -> None:
        """From now on this is the chain."""
        self._chain = chain

    # -- the running round --------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """See `NodeView`."""
        return self._chain.status()

    def round(self) -> RoundView:
        """See `NodeView`."""
        chain = self._chain.require()
        seen = chain.core.snapshot(chain.clock())
        return round_view(replace(seen, last=seen.last or chain.facts.measures.decided), chain.facts.work)

    def committee(self) -> CommitteeView:
        """See `NodeView`."""
        chain = self._chain.require()
        return committee_view(chain.core.snapshot(chain.clock()))

    def members(self) -> list[MemberView]:
        """See `NodeView`."""
        chain = self._chain.require()
        return members_view(chain.core.snapshot(chain.clock()))

    def peers(self) -> list[Peer]:
        """See `NodeView`."""
        return [peer_view(info) for info in self._facts.peers.peers()]

    async def recover(self, request: RecoveryRequest) -> RecoveryView:
        """See `NodeView`."""
        return await self._chain.require().recover(request)

    def alliance(self) -> AllianceView:
        """See `NodeView`."""
        return self._chain.require().alliance.view()

    async def sign_operation(self, request: OperationRequest) -> OperationView:
        """See `NodeView`."""
        return await self._chain.require().alliance.sign(request)

    def ledger(self) -> LedgerView:
        """See `NodeView`."""
        return ledger_view(self._chain.require().core.context)

    def privacy(self) -> PrivacyView:
        """See `NodeView`."""
        return self._chain.require().privacy()

    # -- the chain ----------------------------------------------------------------------------------------------------

    async def history(self, first: int, count: int) -> list[HistoryRow]:
        """See `NodeView`."""
        return await chain_view.history(self._store, self._chain.require().core.context, first, count)

    async def earnings(self, first: int, count: int) -> list[EarningsRow]:
        """See `NodeView`."""
        self._chain.require()
        return await earnings_rows(self._store, first, count)

    async def prune(self, wanted: PruneRequest) -> PruneView:
        """See `NodeView`."""
        context = self._chain.require().core.context
        keep = rounds_to_keep(wanted.keep, wanted.to, head=context.round, places=context.params.places)
        report = await self._store.prune(keep, dry_run=wanted.dry_run)
        if report.blobs and not wanted.dry_run:
            self._tell(EventKind.PRUNED, report.round, chain_view.pruned_text(report), height=report.height)
            self._facts.measures.models.look_anew()
        await self._facts.measures.refresh()
        return chain_view.prune_view(report, keep, dry_run=wanted.dry_run)

    async def model(self, round_: int | None) -> tuple[bytes, ModelView]:
        """See `NodeView`."""
        return await chain_view.model(self._store, self._chain.require().core.context, round_)

    # -- the process --------------------------------------------------------------------------------------------------

    def request_stop(self) -> StopView:
        """See `NodeView`."""
        self._stop()
        return StopView(stopping=True, pid=self._facts.here()["pid"])

    def events(self, after_seq: int | None) -> AsyncGenerator[Event, None]:
        """See `NodeView`."""
        return self._bus.stream(after_seq)

    def logs(self, lines: int, after: int) -> LogView:
        """See `NodeView`."""
        return self._ring.read(lines, after)
