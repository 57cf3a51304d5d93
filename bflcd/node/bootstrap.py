"""From a key to a chain: the network and the API are up from the start, the rest is made once the genesis is known."""

import asyncio
import logging
import signal
from random import Random
from typing import Any, Final

from bflcd.api.event_bus import EventBus, LogRing
from bflcd.api.metrics import Metrics
from bflcd.api.server import ApiServer
from bflcd.config import Config, announced
from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection, first_of
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.log import LogContext
from bflcd.net.blob_server import BlobServer
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import GossipChannel
from bflcd.net.peer import PeerCallbacks
from bflcd.net.peers import PeerManager
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.attack import check_attack
from bflcd.node.engine import MarkFile
from bflcd.node.joining import find_genesis
from bflcd.node.recovery.reorg import SupersededError
from bflcd.node.running import Surroundings, join_chain
from bflcd.node.runtime.clock import clock, wall_clock
from bflcd.node.services import CHAIN_REQUESTS
from bflcd.node.standing import Newcomer, Standing
from bflcd.node.views.facts import Measures, NodeFacts
from bflcd.node.views.presenter import Presenter
from bflcd.params import Genesis
from bflcd.store.protocol import BlockStore, DamagedBlobError
from bflcd.types import Digest, NodeId, short
from bflcd.wire.requests import Request, Status

CLOSE_SECONDS: Final = 4.0
"""What an orderly stop may take; systemd and Docker wait longer."""

logger = logging.getLogger(__name__)


class Bootstrap:
    """One node from its start to its end. What it is to its peers changes once, when it is on its chain."""

    def __init__(
        self,
        config: Config,
        identity: Identity,
        store: BlockStore,
        marks: MarkFile,
        log: LogContext,
        *,
        warning: str = "",
    ) -> None:
        """`warning`: what the operator has to know from the start."""
        from bflcd.net.libp2p.transport import Libp2pTransport  # noqa: PLC0415 - 1.4 s of imports, only a running node needs

        self._config = config
        self._store = store
        self._standing: Standing = Newcomer()
        self._stop = asyncio.Event()
        self._ring = LogRing()
        self._metrics = Metrics()
        self._bus = EventBus(wall_clock)
        self._verified = VerifiedEnvelopes()
        self._transport = Libp2pTransport(identity, config.node.listen, self._allows, hears=self._is_member)
        self._exchange = Exchange(
            self._transport, is_member=self._is_member, now=clock, on_misbehaviour=self._punish, on_failure=self._failed
        )
        gossip = GossipChannel(
            self._transport,
            chain=self._chain,
            is_member=self._is_member,
            now=clock,
            on_misbehaviour=self._punish,
            verified=self._verified,
            on_traffic=self._metrics.message,
        )
        self._peers = PeerManager(
            self._transport,
            self._exchange,
            status=self._status,
            is_member=self._is_member,
            callbacks=PeerCallbacks(up=self._peer_up, down=self._peer_down, status=self._peer_status),
            now=clock,
            rng=Random(digest(Domain.PRIVATE, identity.seed, b"jitter")),
            book=store,
            addresses=lambda: announced(config, identity.node_id) or self._transport.addresses(),
            may_be_alone=self._is_alone,
        )
        blobs = BlobServer(
            store,
            chain=self._chain,
            may_serve=self._may_serve,
            on_damage=self._damaged,
        )
        self._exchange.serve({**self._peers.handlers(), **dict.fromkeys(CHAIN_REQUESTS, self._answer), **blobs.handlers()})
        self._facts = NodeFacts(config, identity.node_id, self._peers, Measures(store), addresses=self._transport.addresses)
        if warning:
            self._facts.warn(warning)
        self._presenter = Presenter(self._facts, store, self._bus, ring=self._ring, stop=self._stop.set)
        self._api = ApiServer(self._presenter, self._metrics, config.node.datadir, host=config.api.host, port=config.api.port)
        self._around = Surroundings(
            config=config,
            identity=identity,
            store=store,
            marks=marks,
            log=log,
            exchange=self._exchange,
            gossip=gossip,
            peers=self._peers,
            metrics=self._metrics,
            bus=self._bus,
            facts=self._facts,
            verified=self._verified,
            punish=self._punish,
            sent_bytes=lambda: blobs.sent_bytes,
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> str:
        """Run until SIGTERM, SIGINT or a request to stop, or until blocks were taken back: then why to start anew."""
        why = ""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        logging.getLogger("bflcd").addHandler(self._ring)
        try:
            await self._transport.start()
            for address in self._transport.addresses():
                logger.info("listening at %s", address)
            self._facts.api_url = await self._api.start()
            for address in self._config.node.bootstrap:
                self._peers.add_address(address)
            try:
                async with asyncio.TaskGroup() as group:
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

    async def _live(self) -> None:
        """From the genesis to the end."""
        genesis, first_model = await find_genesis(self._config, self._store, self._exchange, self._peers)
        check_attack(self._config.attack, genesis)
        await self._take_up(genesis, first_model)
        node = await join_chain(genesis, self._around)
        self._standing = node.standing
        self._presenter.show(node.view)
        await node.run()

    async def _take_up(self, genesis: Genesis, first_model: bytes | None) -> None:
        await self._store.initialise(genesis, genesis_header(genesis), genesis_state(genesis))
        if first_model is not None and not await self._store.has_blob(genesis.model.root):
            await self._store.put_blob(first_model)

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        raise _Stopping

    async def _close(self) -> None:
        """Close in the reverse order of starting, within `CLOSE_SECONDS`; the chain's parts have closed by themselves."""
        self._bus.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS), asyncio.TaskGroup() as group:
                group.create_task(self._api.close())
                group.create_task(self._transport.close())
        except TimeoutError:
            logger.warning("closing took more than %.0f s; what was left is cut off", CLOSE_SECONDS)
        logging.getLogger("bflcd").removeHandler(self._ring)

    # -- what peers are told, and tell --------------------------------------------------------------------------------

    def _chain(self) -> Digest:
        return self._standing.chain

    def _status(self) -> Status:
        return self._standing.status()

    def _is_alone(self) -> bool:
        return self._standing.is_alone()

    def _may_serve(self, peer: NodeId, root: Digest) -> bool:
        return self._standing.may_serve(peer, root)

    def _damaged(self, root: Digest, error: DamagedBlobError) -> None:
        self._standing.damaged(root, error)

    async def _answer(self, peer: NodeId, request: Request[Any]) -> object:
        return await self._standing.answer(peer, request)

    def _is_member(self, node: NodeId) -> bool:
        return self._standing.is_member(node)

    def _allows(self, node: NodeId) -> bool:
        return self._peers.allows(node)

    def _peer_up(self, node: NodeId, status: Status) -> None:
        logger.info("peer %s is connected, at round %d", short(node), status.round)
        self._bus.publish("peer_up", status.round, f"{short(node)} is connected", node=node.hex())

    def _peer_down(self, node: NodeId) -> None:
        self._standing.lost(node)
        logger.info("peer %s is gone", short(node))
        self._bus.publish("peer_down", 0, f"{short(node)} is gone", node=node.hex())

    def _peer_status(self, node: NodeId, status: Status) -> None:
        self._standing.heard_of(node, status)

    def _punish(self, node: NodeId, rejection: Rejection, text: str) -> None:
        self._metrics.refused(rejection)
        self._peers.punish(node, rejection, text)

    def _failed(self, error: Exception) -> None:
        self._facts.warn(f"an answer to a peer failed: {error}")


class _Stopping(Exception):  # noqa: N818 - no error: the ordinary end
    """Ends the TaskGroup."""
