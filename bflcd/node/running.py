"""A node on its chain: every part is there from the start, and all that runs is a task of one TaskGroup."""

import asyncio
import logging
from typing import Final

from bflcd.api.schema.privacy import PrivacyView
from bflcd.closing import closing
from bflcd.core.core import Core
from bflcd.core.effects import Commit
from bflcd.core.events import IdleChanged, MessageReceived, SyncChanged
from bflcd.core.node_events import EventKind
from bflcd.crypto.hashing import Domain, digest
from bflcd.errors import OperatorError
from bflcd.learn.protocol import WorkerError
from bflcd.ledger.state import members_of
from bflcd.node.alliance.belonging import Belonging
from bflcd.node.alliance.old_models import OldModelSource
from bflcd.node.alliance.paying import Payer
from bflcd.node.alliance.service import AllianceService
from bflcd.node.engine import Engine, check_observer, open_engine
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.history import HistoryGuard, TrustedHead, check_trusted
from bflcd.node.load.watch import LoadWatch
from bflcd.node.maintenance import Maintenance
from bflcd.node.observer import RuntimeObserver
from bflcd.node.privacy.computing import compute_of, worker_of
from bflcd.node.privacy.judging import privacy_of
from bflcd.node.privacy.view import privacy_view
from bflcd.node.recovery.service import RecoveryService
from bflcd.node.runtime.bell import Bell
from bflcd.node.runtime.chain_fetcher import fetcher_of
from bflcd.node.runtime.clock import clock, instant, wall_clock
from bflcd.node.runtime.inbox import QueueInbox
from bflcd.node.runtime.loop import Ports
from bflcd.node.runtime.network import PeerNetwork
from bflcd.node.runtime.numbers import WorkerNumbers
from bflcd.node.services import ChainService
from bflcd.node.standing import NodeOfChain
from bflcd.node.surroundings import Surroundings
from bflcd.node.training_words import Readiness, TrainingWords
from bflcd.node.views.presenter import OnChain
from bflcd.node.watching.models import ModelWatch
from bflcd.params import Genesis
from bflcd.scheduler import ASYNCIO
from bflcd.setup.datadir import DataDir
from bflcd.types import Round

FIRST_LOOK: Final = 1.5
"""Seconds that a starting node waits for a first peer's status, so that one that is behind catches up before it trains."""

HELD_SECONDS: Final = 30.0
"""After so long without enough members that show a history the operator is warned; until then peers are still being dialled."""

HOLD_LOOK: Final = 1.0
"""Seconds between two looks at what is missed."""

logger = logging.getLogger(__name__)


async def join_chain(genesis: Genesis, around: Surroundings) -> "RunningNode":
    """Take up the chain of `genesis`, which the store holds.

    Raises OperatorError if this node only follows and has a seat, or if the chain that it has is not the operator's trusted one.
    """
    head = await around.store.head()
    state, trusted = head.state, TrustedHead.parse(around.config.node.trusted_head)
    await check_trusted(around.store, head.header, trusted, genesis)
    if not around.config.compute.train:
        check_observer(state, around.identity.node_id)
        if around.identity.node_id in state.managers:
            logger.warning("this node only follows and is a manager: it can sign recoveries; a seat would stand empty")
    private_seed = digest(Domain.PRIVATE, around.identity.seed, state.chain)
    engine = await open_engine(
        genesis,
        around.store,
        around.marks,
        signer=around.identity,
        verify=around.side.verified.verify_once,
        private_seed=private_seed,
        train=around.config.compute.train,
        account=around.judging.account,
    )
    if engine.guard.floor is not None:
        text = f"what this node signed before is not known for sure: nothing is signed up to round {engine.guard.floor}"
        around.tell(EventKind.SIGNING_HELD, engine.core.context.round, text)
    guard = HistoryGuard(
        head.header,
        sum(1 for _ in members_of(state)),
        fetched_genesis=not DataDir(around.config.node.datadir).genesis.exists(),
        trusted=trusted,
        now=wall_clock,
    )
    node = RunningNode(genesis, around, engine, private_seed, guard)
    await node.look()
    return node


class RunningNode:
    """Everything that needs the chain. `standing` is what peers meet, `view` what the operator sees."""

    def __init__(self, genesis: Genesis, around: Surroundings, engine: Engine, private_seed: bytes, guard: HistoryGuard) -> None:
        self._around = around
        self._guard = guard
        self._engine = engine
        core = engine.core
        self._belonging = _belonging_of(core, around)
        self._claimed = Bell()
        self._claims = RoundClaims(self._claimed.ring)
        self._inbox = QueueInbox()
        network = PeerNetwork(around.side.gossip, around.side.peers)
        self._fetcher = fetcher_of(genesis, around, engine)
        self._old_models = OldModelSource(around.store, self._fetcher, network)
        self._worker = worker_of(genesis, around.config, around.identity.node_id, private_seed)
        around.facts.work = self._worker.health
        self._watch = ModelWatch(around.store, self._worker, ASYNCIO, around.tell)
        around.facts.watch = self._watch
        self._readiness = Readiness(core, engine.guard, self._claims, computes=lambda: self._worker.ready is not None)
        around.facts.ready = self._readiness.look()
        self._idle_changed = Bell()
        self._words = TrainingWords(around.identity.node_id, around.facts.training, self._idle_changed.ring)
        self._worker.health.watch(self._say_whether_it_trains)
        compute = compute_of(self._worker, genesis, around, core, on_stop=self._budget_spent)
        self._maintenance = Maintenance(
            around.config.store,
            around.store,
            core=core,
            unpublished=engine.unpublished,
            network=network,
            fetcher=self._fetcher,
            compute=self._worker,
            measures=around.facts.measures,
            tell=around.tell,
            on_look=self._count,
        )
        self._runtime = engine.runtime(
            Ports(
                clock=instant,
                scheduler=ASYNCIO,
                inbox=self._inbox,
                store=around.store,
                marks=around.marks,
                network=network,
                asker=around.side.exchange,
                fetcher=self._fetcher,
                numbers=WorkerNumbers(compute, genesis.task.tensors),
                observer=self._observer(),
                spending=around.judging,
            )
        )
        self._follower = self._new_follower()
        self._alliance = AllianceService(
            core, around.identity, self._inbox.settle, instant, models=self._old_models, coming=around.keys.coming
        )
        self._payer = Payer(core, self._alliance, around.config.node.fee_limit)
        self.standing = self._as_peers_meet_it()
        self.view = self._view()

    def _budget_spent(self, text: str) -> None:
        self._around.tell(EventKind.WORK_FAILED, self._engine.core.context.round, text)
        self._say_whether_it_trains()

    def _as_peers_meet_it(self) -> NodeOfChain:
        around, core = self._around, self._engine.core
        service = ChainService(core, around.store, self._engine.unpublished, self._inbox.settle, instant)
        return NodeOfChain(
            core,
            service,
            self._claims,
            self._maintenance,
            around.facts.measures,
            training=self._words,
            overload=around.facts.overload,
            sponsors=around.sponsors,
        )

    def _new_follower(self) -> Follower:
        around = self._around
        return Follower(
            self._engine.core,
            self._claims,
            inbox=self._inbox,
            exchange=around.side.exchange,
            store=around.store,
            fetch=self._fetcher.fetch,
            verify=around.side.verified.verify_once,
            scheduler=ASYNCIO,
            on_misbehaviour=around.side.punish,
            on_progress=self._progress,
            guard=self._guard,
            signing=self._engine.guard,
        )

    def _view(self) -> OnChain:
        around, core = self._around, self._engine.core
        recover = self._recovery().recover
        return OnChain(
            core,
            around.facts,
            recover=recover,
            alliance=self._alliance,
            clock=instant,
            device=self._device,
            rows=self._rows,
            privacy=self._privacy,
        )

    def _privacy(self) -> PrivacyView:
        around = self._around
        judging = privacy_of(self._engine.core.context, self._worker.ready, around.judging.account)
        return privacy_view(around.facts.privacy, judging)

    def _observer(self) -> RuntimeObserver:
        around = self._around
        return RuntimeObserver(
            me=around.identity.node_id,
            context=around.log,
            tell=around.tell,
            metrics=around.metrics,
            facts=around.facts,
            gossip=around.side.gossip,
            peers=around.side.peers,
            verified=around.side.verified,
            claims=self._claims,
            on_closed=self._closed,
        )

    def _load_watch(self) -> LoadWatch:
        around, core = self._around, self._engine.core
        return LoadWatch(
            around.facts.overload,
            scheduler=ASYNCIO,
            network=around.side.transport.lag,
            queues=(around.side.gossip.oldest, self._inbox.oldest),
            now=clock,
            view_timeout=lambda: core.context.params.view_timeout,
            round_=lambda: core.context.round,
            tell=around.tell,
        )

    def _recovery(self) -> RecoveryService:
        around = self._around
        return RecoveryService(
            self._engine.core,
            store=around.store,
            asker=around.side.exchange,
            peers=lambda: {info.node: info.round for info in around.side.peers.peers() if info.member},
            sign=self._inbox.settle,
            verify=around.side.verified.verify_once,
            on_misbehaviour=around.side.punish,
            clock=instant,
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Read from the store what status shows from the first moment on."""
        head, measures = self._engine.core.context.head, self._around.facts.measures
        await measures.recall(head.header, wall_clock())
        if self._watches:
            await self._watch.recall(head.state.round, self._engine.core.context.params.score_rows)
        self._around.side.peers.prefer(head.state.committee)
        self._around.side.verified.fit(len(head.state.accounts))
        self._around.log.update(round_=head.state.round, view=0)

    async def run(self) -> None:
        """Take part until cancelled, once this node is a member. Raises StartAnewError when it has to start anew."""
        around = self._around
        await self._belonging.until_member(around.config.node, around.keys, doubted=around.excluded)
        async with closing("the compute worker", self._worker.close), asyncio.TaskGroup() as group:
            group.create_task(self._belonging.watch())
            group.create_task(self._start_worker())
            group.create_task(self._maintenance.run())
            group.create_task(self._watch.run())
            group.create_task(self._take_part(group))

    async def _take_part(self, group: asyncio.TaskGroup) -> None:
        """A task as the others, since a group puts what its own body raises behind what its tasks raise thereupon."""
        await self._first_look()
        if self._guard.held:
            # Outside of its rounds from the first moment on: no certificate that a peer shows may move it either.
            group.create_task(self._runtime.run(SyncChanged(active=True)))
            await self._inbox.settle(self._engine.started)
            group.create_task(self._watch_hold())
        else:
            group.create_task(self._runtime.run(self._engine.started))
        group.create_task(self._receive())
        group.create_task(self._load_watch().run())
        group.create_task(self._tell_idle())
        group.create_task(self._follow())
        group.create_task(self._payer.run())

    async def _start_worker(self) -> None:
        """Start the worker early: bad data must be told at once, not in the first round. The node votes without it."""
        if not self._around.config.compute.train:
            return
        try:
            await self._worker.start()
        except (OperatorError, WorkerError) as error:
            hint = f"; {error.hint}" if isinstance(error, OperatorError) and error.hint else ""
            text = f"the compute worker did not start: {error}{hint}; it is tried again with the first job"
            self._around.tell(EventKind.WORK_FAILED, self._engine.core.context.round, text)
        else:
            self._maintenance.worker_started()
            self._look_whether_ready()

    async def _first_look(self) -> None:
        """Wait a moment for a first peer's word on where the chain stands; one that knows nothing of itself, for everybody's."""
        guard = self._engine.guard
        try:
            async with asyncio.timeout(FIRST_LOOK):
                while not guard.may_begin(len(self._claims.all()), self._members()):
                    await self._claimed.after(self._claimed.rings)
        except TimeoutError:
            logger.debug("no peer yet; starting at round %d", self._engine.core.context.round)

    async def _watch_hold(self) -> None:
        """Tell the operator what is missed, once it has been missed for a while and whenever it is another thing."""
        missed, facts = 0.0, self._around.facts
        while self._guard.held:
            await asyncio.sleep(HOLD_LOOK)
            missed = missed + HOLD_LOOK if self._guard.lacking else 0.0
            text = self._guard.lacking if missed >= HELD_SECONDS else ""
            if text and text != facts.held:
                logger.warning("%s", text)
            facts.held = text
        facts.held = ""

    async def _receive(self) -> None:
        while True:
            received = await self._around.side.gossip.receive()
            await self._inbox.put(MessageReceived(received.message, received.forwarder))

    async def _tell_idle(self) -> None:
        """Tell the core who says that it does not train: at first, and whenever that changes."""
        while True:
            heard = self._idle_changed.rings
            await self._inbox.put(IdleChanged(self._words.idle(), self._words.training()))
            await self._idle_changed.after(heard)

    async def _follow(self) -> None:
        while True:
            heard = self._claimed.rings
            await self._follower.follow()
            self._readiness.followed()
            self._look_whether_ready()
            await self._claimed.after(heard)

    # -- small callbacks ----------------------------------------------------------------------------------------------

    def _closed(self, commit: Commit) -> None:
        state = commit.state
        self._maintenance.round_closed(state.round)
        if self._watches:
            self._watch.committed(commit.certified, self._engine.core.context.params.score_rows)
        self._belonging.closed(state)
        self._payer.closed()
        self._around.keys.follow(state)
        self._look_whether_ready()

    def _look_whether_ready(self) -> None:
        if self._readiness.look() is not self._around.facts.ready:
            self._say_whether_it_trains()

    def _say_whether_it_trains(self) -> None:
        self._around.facts.ready = self._readiness.look()  # a worker that has failed at first may have come with its first job
        self._words.say(self._around.facts.training)
        self._around.side.peers.say_anew()

    @property
    def _watches(self) -> bool:
        return self._around.config.compute.train and self._around.config.compute.watch

    def _members(self) -> int:
        return len(self._engine.core.context.members)

    def _progress(self, done: Round, target: Round) -> None:
        self._around.tell(EventKind.SYNC, done, f"catching up: round {done} of {target}", target=target)

    def _count(self) -> None:
        self._around.metrics.totals(
            received=self._fetcher.received_bytes, sent=self._around.side.blobs.sent_bytes, worker_starts=self._worker.starts
        )

    def _rows(self) -> int:
        return 0 if self._worker.ready is None else self._worker.ready.validation_rows

    def _device(self) -> str:
        return "" if self._worker.ready is None else self._worker.ready.device


def _belonging_of(core: Core, around: Surroundings) -> Belonging:
    def held(text: str) -> None:
        around.facts.held = text

    side = around.side
    return Belonging(core, around.identity, side.peers, side.exchange, tell=around.tell, held=held)
