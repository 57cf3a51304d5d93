"""The composition root: every part is made here, in order, and everything that runs is a task of one TaskGroup."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Final

import uvloop

from bflcd.api.event_bus import EventBus, LogRing
from bflcd.api.metrics import Metrics
from bflcd.api.server import ApiServer
from bflcd.config import Config, announced
from bflcd.core.core import Core
from bflcd.core.events import Confirmed, MessageReceived, Started
from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Identity
from bflcd.errors import BflcError, Rejection
from bflcd.learn.client import WorkerClient
from bflcd.learn.protocol import WorkerError
from bflcd.ledger.quorum import faults
from bflcd.ledger.roles import account_of
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.log import LogContext, set_up_logging, shut_down_logging
from bflcd.net.blob_server import BlobServer
from bflcd.net.blobs import BlobFetcher
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import GossipChannel
from bflcd.net.peer import PeerCallbacks
from bflcd.net.peers import PeerManager
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.attack import AttackingCompute, attack_warnings, check_attack
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.joining import find_genesis
from bflcd.node.maintenance import Maintenance
from bflcd.node.observer import RuntimeObserver
from bflcd.node.recovery.reorg import SupersededError
from bflcd.node.recovery.service import RecoveryService
from bflcd.node.runtime.loop import Runtime, newest_of
from bflcd.node.services import ChainService
from bflcd.node.views.presenter import Presenter
from bflcd.params import Genesis
from bflcd.setup.datadir import DataDir, open_identity
from bflcd.store.marks import MarkFile, holds, signing_floor
from bflcd.store.protocol import BlockStore, DamagedBlobError
from bflcd.store.sqlite import SqliteStore
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Height, Millis, NodeId, Round, short
from bflcd.version import __version__
from bflcd.wire.envelope import Envelope
from bflcd.wire.requests import Status
from bflcd.wire.tensors import payload_size, update_label

logger = logging.getLogger(__name__)

MARK_FILE: Final = "marks"
"""Name of the mark file in the data directory."""

SWITCH_SECONDS: Final = 0.0005
"""How long one thread may keep the interpreter from another: the loop and the network's thread keep waiting for each other."""

THREADS: Final = 4
"""Threads that work for the event loop; none of their jobs lasts long, and the disk takes one write at a time."""

FIRST_LOOK: Final = 1.5
"""Seconds that a starting node waits for a first peer's status, so that one that is behind catches up before it trains."""

CLOSE_SECONDS: Final = 4.0
"""What an orderly stop may take; systemd and Docker wait longer."""


def run(config: Config) -> int:
    """Run one node until it is told to stop; returns the exit code 0. Raises BflcError for what the operator should read."""
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        uvloop.run(_main(config))
    except BaseExceptionGroup as failures:
        raise first_of(failures) from failures
    finally:
        shut_down_logging()
    return 0


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure to report: one with a message for people if there is any, else the first."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [failures]
    while stack:
        item = stack.pop()
        if isinstance(item, BaseExceptionGroup):
            stack.extend(reversed(item.exceptions))
        else:
            leaves.append(item)
    return next((leaf for leaf in leaves if isinstance(leaf, BflcError)), leaves[0])


def _threads() -> ThreadPoolExecutor:
    """Threads for hashing, decoding and the disk, all started at once: one that comes late brings a memory arena of its own."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="bflcd")
    together = threading.Barrier(THREADS)
    for _ in range(THREADS):
        pool.submit(together.wait)
    return pool


async def _main(config: Config) -> None:
    asyncio.get_running_loop().set_default_executor(_threads())
    datadir = DataDir(config.node.datadir)
    datadir.check()
    identity = open_identity(config)
    context = LogContext(short(identity.node_id))
    set_up_logging(config.log.level, config.log.format, datadir.path, context)
    logger.info("bflcd %s, node %s, pid %d", __version__, short(identity.node_id), os.getpid())
    for text in attack_warnings(config.attack):
        logger.warning("%s", text)
    store = await SqliteStore.open(datadir.path)
    try:
        marks = MarkFile(datadir.path / MARK_FILE)
        try:
            why = ""
            while (why := await Node(config, identity, store, marks, context, warning=why).run()) != "":
                logger.warning("starting again from the new head")
        finally:
            marks.close()
    finally:
        await store.close()
    logger.info("stopped")


def clock() -> Millis:
    """Milliseconds of a clock that never jumps."""
    return Millis(time.monotonic_ns() // 1_000_000)


def wall_clock() -> Millis:
    """Unix milliseconds."""
    return Millis(time.time_ns() // 1_000_000)


class Node:
    """One running node: makes its parts, starts them, and is what they report to."""

    def __init__(
        self,
        config: Config,
        identity: Identity,
        store: BlockStore,
        marks: MarkFile,
        context: LogContext,
        *,
        warning: str = "",
    ) -> None:
        """`warning`: what the operator has to know from the start."""
        from bflcd.net.libp2p.transport import Libp2pTransport  # noqa: PLC0415 - 1.4 s of imports, only a running node needs

        self._config = config
        self._identity = identity
        self._store = store
        self._marks = marks
        self._context = context
        self._genesis: Genesis | None = None
        self._first_model: bytes | None = None
        self._members: frozenset[NodeId] = frozenset()
        self._core: Core | None = None
        self._group: asyncio.TaskGroup | None = None
        self._stop = asyncio.Event()
        self._claims = RoundClaims()
        self._maintenance: Maintenance | None = None
        self._rng = Random(digest(Domain.PRIVATE, identity.seed, b"jitter"))
        self._compute: WorkerClient | None = None

        self.metrics = Metrics()
        self.bus = EventBus(wall_clock)
        self._ring = LogRing()
        self._service = ChainService(store, lambda: self._genesis)
        self._transport = Libp2pTransport(identity, config.node.listen, self._allows, hears=self._is_member)
        self._exchange = Exchange(
            self._transport, is_member=self._is_member, now=clock, on_misbehaviour=self._punish, on_failure=self._failed
        )
        self._verified = VerifiedEnvelopes()
        self._gossip = GossipChannel(
            self._transport,
            chain=self._chain,
            is_member=self._is_member,
            now=clock,
            on_misbehaviour=self._punish,
            verified=self._verified,
            on_traffic=self.metrics.message,
        )
        self._peers = PeerManager(
            self._transport,
            self._exchange,
            status=self._own_status,
            is_member=self._is_member,
            callbacks=PeerCallbacks(up=self._peer_up, down=self._peer_down, status=self._peer_status),
            now=clock,
            rng=self._rng,
            book=store,
            addresses=lambda: announced(config, identity.node_id) or self._transport.addresses(),
            may_be_alone=lambda: len(self._members) == 1,
        )
        self._blobs = BlobServer(store, chain=self._chain, may_serve=self._service.may_serve, on_damage=self._damaged)
        self.presenter = Presenter(
            config,
            identity.node_id,
            store,
            self._peers,
            self.bus,
            ring=self._ring,
            addresses=self._transport.addresses,
            stop=self._stop.set,
            device=self._device,
        )
        if warning:
            self.presenter.warn(warning)
        self._api = ApiServer(self.presenter, self.metrics, config.node.datadir, host=config.api.host, port=config.api.port)
        self._exchange.serve({**self._peers.handlers(), **self._service.handlers(), **self._blobs.handlers()})

    # -- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> str:
        """Run until SIGTERM, SIGINT or a request to stop, or until blocks were taken back: then why a new `Node` has to go on."""
        why = ""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        logging.getLogger("bflcd").addHandler(self._ring)
        try:
            await self._transport.start()
            for address in self._transport.addresses():
                logger.info("listening at %s", address)
            self.presenter.api_url = await self._api.start()
            for address in self._config.node.bootstrap:
                self._peers.add_address(address)
            try:
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    group.create_task(self._until_stopped())
                    group.create_task(self._transport.wait_closed())
                    group.create_task(self._peers.run())
                    group.create_task(self._live())
            except* _Stopping:
                logger.info("stopping")
            except* SupersededError as failures:
                why = str(first_of(failures))
                logger.critical("%s", why)
        finally:
            await self._close()
        return why

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        raise _Stopping

    async def _close(self) -> None:
        """Close in the reverse order of starting, within `CLOSE_SECONDS`."""
        self.bus.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS), asyncio.TaskGroup() as group:
                group.create_task(self._api.close())
                if self._compute is not None:
                    group.create_task(self._compute.close())
                group.create_task(self._transport.close())
        except TimeoutError:
            logger.warning("closing took more than %.0f s; what was left is cut off", CLOSE_SECONDS)
        logging.getLogger("bflcd").removeHandler(self._ring)

    async def _live(self) -> None:
        """From the genesis to the running core."""
        genesis, self._first_model = await find_genesis(self._config, self._store, self._exchange, self._peers)
        check_attack(self._config.attack, genesis)
        await self._adopt(genesis)
        core, started, runtime, follower = await self._make_core(genesis)
        assert self._group is not None
        if self._identity.node_id not in self._members:
            # members give a stranger nothing but the genesis: asking for more would only get this node banned
            self.presenter.warn(
                f"this node ({self._identity.node_id.hex()}) is no member of chain {short(core.context.state.chain)}: "
                "members give it nothing; its id has to stand in the genesis"
            )
            return
        assert self._maintenance is not None
        self._group.create_task(self._start_worker())
        self._group.create_task(self._maintenance.run())
        await self._first_look(fresh=started.fresh)
        self._group.create_task(runtime.run(started))
        if started.fresh:
            self._group.create_task(self._confirm(runtime, faults(len(core.context.committee))))
        self._group.create_task(self._hear(runtime))
        self._group.create_task(follower.run())

    # -- genesis ------------------------------------------------------------------------------------------------------

    async def _adopt(self, genesis: Genesis) -> None:
        self._members = frozenset(member.node for member in genesis.members)
        self._verified.fit(len(self._members))
        await self._store.initialise(genesis, genesis_header(genesis), genesis_state(genesis))
        if self._first_model is not None and not await self._store.has_blob(genesis.model.root):
            await self._store.put_blob(self._first_model)
        self._genesis = genesis

    async def _make_core(self, genesis: Genesis) -> tuple[Core, Started, Runtime, Follower]:
        head = await self._store.head()
        records = await self._store.records(head.state.round)
        mark = self._marks.highest()
        floor = signing_floor(mark, head.state.round, mark is not None and holds(mark, records))
        if floor is not None:
            logger.warning("the database is behind the mark file: nothing is signed up to round %d", floor)
        newest_mark = newest_of(records)
        if floor is None and newest_mark is not None and newest_mark != mark:
            await self._marks.write(newest_mark)  # killed between the two: what is said again has its mark first (design 6.3)
        await self._store.discard_stale(head.state.round)
        is_member = account_of(head.state, self._identity.node_id) is not None
        if not is_member:
            logger.warning(
                "this node (%s) is no member of chain %s: it only follows", self._identity.node_id.hex(), short(head.state.chain)
            )
        private = digest(Domain.PRIVATE, self._identity.seed, head.state.chain)
        core = Core(genesis, head, self._identity, self._verify, private, train=self._config.compute.train and is_member)
        core.certificates.last = await self._store.certificate(head.state.round) if head.state.round else None
        spec = genesis.task.tensors
        fetcher = BlobFetcher(
            self._exchange,
            self._store,
            chain=self._chain,
            max_bytes=max(
                payload_size(spec, update_label(head.state.chain, Round(2**53), self._identity.node_id)), genesis.model.size
            ),
            now=clock,
            on_misbehaviour=self._punish,
        )
        seed = int.from_bytes(digest(Domain.PRIVATE, private, b"split")[:7], "big")
        attack = self._config.attack.for_worker(self._identity.node_id)
        self._compute = WorkerClient(
            genesis.task,
            self._config.data.for_worker(),
            validation_fraction=genesis.params.validation_fraction,
            split_seed=seed,
            device=self._config.compute.device,
            threads=self._config.compute.threads,
            attack=attack,
        )
        watch = RuntimeObserver(
            me=self._identity.node_id,
            context=self._context,
            bus=self.bus,
            metrics=self.metrics,
            presenter=self.presenter,
            gossip=self._gossip,
            peers=self._peers,
            claims=self._claims,
            on_closed=self._round_closed,
        )
        runtime = Runtime(
            core,
            store=self._store,
            marks=self._marks,
            speaker=self._gossip,
            asker=self._exchange,
            fetcher=fetcher,
            compute=self._compute if attack is None else AttackingCompute(self._compute, attack, lambda: core.context),
            observer=watch,
        )
        runtime.remember((*records.votes, *records.own))
        runtime.restricted = dict.fromkeys(await self._store.unpublished(), head.state.round)
        self._core, self._fetcher = core, fetcher
        self._maintenance = Maintenance(
            self._config.store,
            self._store,
            runtime=runtime,
            fetcher=fetcher,
            compute=self._compute,
            presenter=self.presenter,
            on_look=self._count,
        )
        follower = Follower(
            runtime,
            self._claims,
            self._exchange,
            fetcher,
            self.bus,
            store=self._store,
            verify=self._verify,
            on_misbehaviour=self._punish,
        )
        self._service.runtime = runtime
        self.presenter.core = core
        self.presenter.desk = RecoveryService(
            core,
            store=self._store,
            asker=self._exchange,
            peers=lambda: {info.node: info.round for info in self._peers.peers() if info.member},
            sign=runtime.settle,
            verify=self._verify,
            on_misbehaviour=self._punish,
        )
        await self.presenter.refresh()
        newest = await self._store.segment(head.state.round) if head.state.round else None
        if newest is not None:
            self.presenter.note_accuracy(newest)
        self._peers.prefer(head.state.committee)
        self._context.update(round_=head.state.round, view=0)
        fresh = mark is None and not (records.votes or records.own)
        if fresh and head.state.round > 0:
            # A node that had lost everything and was killed while it caught up looks like this: what it signed before is unknown.
            floor = Round(head.state.round + 1)
        return core, Started(records, floor, fresh), runtime, follower

    async def _start_worker(self) -> None:
        """Start the worker early: bad data must be told at once, not in the first round."""
        assert self._compute is not None
        if not self._config.compute.train and self._core is not None and not self._core.context.judges:
            return
        try:
            await self._compute.start()
        except WorkerError as error:
            logger.warning("the compute worker did not start: %s; it is tried again with the first job", error)

    async def _first_look(self, *, fresh: bool) -> None:
        """Wait a moment for a first peer's word on where the chain stands; one that knows nothing of itself, for everybody's."""
        if len(self._members) == 1:
            return
        try:
            async with asyncio.timeout(FIRST_LOOK):
                await self._claims.first()
                if fresh:
                    await self._claims.heard(len(self._members) - 1)
        except TimeoutError:
            logger.debug("no peer yet; starting at round %d", self._core.context.round if self._core else 0)

    async def _confirm(self, runtime: Runtime, liars: int) -> None:
        """Tell a node that knows nothing of what it signed where the others stand, as soon as more than `liars` have said so.

        That takes nothing from a community: without so many it has no quorum either.
        """
        others = min(liars + 1, len(self._members) - 1)
        await self._claims.heard(others)
        await runtime.settle(Confirmed(self._claims.confirmed(others - 1) if others else Round(0)))

    async def _hear(self, runtime: Runtime) -> None:
        while True:
            heard = await self._gossip.receive()
            await runtime.submit(MessageReceived(heard.message, heard.forwarder))

    # -- what peers tell ----------------------------------------------------------------------------------------------

    def _peer_up(self, node: NodeId, status: Status) -> None:
        logger.info("peer %s is connected, at round %d", short(node), status.round)
        self.bus.publish("peer_up", status.round, f"{short(node)} is connected", node=node.hex())

    def _peer_down(self, node: NodeId) -> None:
        self._claims.forget(node)
        logger.info("peer %s is gone", short(node))
        self.bus.publish("peer_down", 0, f"{short(node)} is gone", node=node.hex())

    def _peer_status(self, node: NodeId, status: Status) -> None:
        if status.chain == self._chain() and self._is_member(node):
            self._claims.note(node, status.round)

    def _own_status(self) -> Status:
        if self._core is None:
            return Status(ZERO_DIGEST, Round(0), Height(0), ZERO_DIGEST, Epoch(0), Round(0), __version__, wall_clock())
        context = self._core.context
        return Status(
            chain=context.state.chain,
            round=context.round,
            height=context.head_header.height,
            head=context.head_hash,
            epoch=context.state.epoch,
            oldest_payload=self.presenter.stats.oldest_payload,
            version=__version__,
            time=wall_clock(),
        )

    # -- small callbacks ----------------------------------------------------------------------------------------------

    def _chain(self) -> Digest:
        return ZERO_DIGEST if self._core is None else self._core.context.state.chain

    def _is_member(self, node: NodeId) -> bool:
        return node in self._members

    def _allows(self, node: NodeId) -> bool:
        return self._peers.allows(node)

    def _verify(self, envelope: Envelope) -> bool:
        return self._verified.verify_once(envelope)

    def _punish(self, node: NodeId, rejection: Rejection, text: str) -> None:
        self.metrics.refused(rejection)
        self._peers.punish(node, rejection, text)

    def _failed(self, error: Exception) -> None:
        self.presenter.warn(f"an answer to a peer failed: {error}")

    def _damaged(self, root: Digest, error: DamagedBlobError) -> None:
        if self._maintenance is not None:
            self._maintenance.damaged(root, error)

    def _count(self) -> None:
        assert self._compute is not None
        self.metrics.totals(
            received=self._fetcher.received_bytes, sent=self._blobs.sent_bytes, worker_starts=self._compute.starts
        )

    def _round_closed(self, round_: Round) -> None:
        if self._maintenance is not None:
            self._maintenance.round_closed(round_)

    def _device(self) -> str:
        ready = self._compute.ready if self._compute is not None else None
        return ready.device if ready is not None else ""


class _Stopping(Exception):  # noqa: N818 - no error: the ordinary end
    """Ends the TaskGroup."""
