"""The side of a node that its peers meet, from its start to its end: whatever stands behind it answers."""

import logging
from random import Random
from typing import Any

from bflcd.api.metrics import Metrics
from bflcd.config import Config, announced, dial_rule
from bflcd.core.node_events import EventKind
from bflcd.core.relaying import Standpoint
from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.net.blobs.server import BlobServer
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import GossipChannel
from bflcd.net.peer import PeerCallbacks
from bflcd.net.peers import PeerManager
from bflcd.net.protocol import Transport
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.reporter import Tell
from bflcd.node.runtime.clock import clock
from bflcd.node.services import CHAIN_REQUESTS
from bflcd.node.standing import Newcomer, Standing
from bflcd.store.block_store import BlockStore
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import ZERO_DIGEST, Digest, NodeId, short
from bflcd.wire.messages import ClosedBy
from bflcd.wire.requests import Request, Status

logger = logging.getLogger(__name__)


class PeerSide:
    """Transport, channels and peer manager. `standing`: what the node is to its peers now; it changes once, on its chain."""

    def __init__(self, config: Config, identity: Identity, store: BlockStore, metrics: Metrics, tell: Tell) -> None:
        from bflcd.net.libp2p.transport import Libp2pTransport  # noqa: PLC0415 - 1.4 s of imports, only a running node needs

        self.standing: Standing = Newcomer()
        self._metrics = metrics
        self._tell = tell
        self.verified = VerifiedEnvelopes()
        self.transport: Transport = Libp2pTransport(identity, config.node.listen, self._allows, hears=self._hears)
        self.exchange = Exchange(
            self.transport,
            is_member=self._is_member,
            now=clock,
            on_misbehaviour=self.punish,
            on_failure=self._failed,
            largest=self._largest,
            sheds=self._sheds,
            on_shed=self._metrics.shed_one,
        )
        self.gossip = self._open_gossip()
        self.peers = self._open_peers(config, identity, store)
        self.blobs = BlobServer(store, chain=self._chain, may_serve=self._may_serve, on_damage=self._damaged)
        self.exchange.serve({**self.peers.handlers(), **dict.fromkeys(CHAIN_REQUESTS, self._answer), **self.blobs.handlers()})

    def _open_gossip(self) -> GossipChannel:
        return GossipChannel(
            self.transport,
            chain=self._chain,
            is_member=self._is_member,
            now=clock,
            on_misbehaviour=self.punish,
            verified=self.verified,
            on_traffic=self._metrics.message,
            stands=self._stands,
            is_busy=self._is_catching_up,
            on_shed=self._metrics.shed_one,
        )

    def _open_peers(self, config: Config, identity: Identity, store: BlockStore) -> PeerManager:
        return PeerManager(
            self.transport,
            self.exchange,
            status=self._status,
            is_member=self._is_member,
            callbacks=PeerCallbacks(up=self._peer_up, down=self._peer_down, status=self._peer_status),
            now=clock,
            rng=Random(digest(Domain.PRIVATE, identity.seed, b"jitter")),
            book=store,
            rule=dial_rule(config),
            addresses=lambda: announced(config, identity.node_id) or self.transport.addresses(),
            may_be_alone=self._is_alone,
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, bootstrap: tuple[str, ...]) -> None:
        """Listen, and dial these addresses once `peers` runs."""
        await self.transport.start()
        for address in self.transport.addresses():
            logger.info("listening at %s", address)
        for address in bootstrap:
            self.peers.add_address(address)

    async def close(self) -> None:
        """End every connection."""
        await self.transport.close()

    def punish(self, node: NodeId, rejection: Rejection, text: str) -> None:
        """A peer did what no honest node does."""
        self._metrics.refused(rejection)
        if rejection is Rejection.NOT_MEMBER and self._chain() == ZERO_DIGEST:
            return  # who has no genesis yet takes everybody for a stranger, its own community too
        if rejection is Rejection.NOT_MEMBER and self.standing.was_member(node):
            return  # it may not have heard yet that it is none any more
        self.peers.punish(node, rejection, text)

    # -- what peers are told, and tell --------------------------------------------------------------------------------

    def _chain(self) -> Digest:
        return self.standing.chain

    def _status(self) -> Status:
        return self.standing.status()

    def _is_catching_up(self) -> bool:
        return self.standing.is_catching_up()

    def _is_alone(self) -> bool:
        return self.standing.is_alone()

    def _may_serve(self, peer: NodeId, root: Digest, closed: ClosedBy) -> bool:
        return self.standing.may_serve(peer, root, closed)

    def _sheds(self, request: Request[Any]) -> bool:
        return self.standing.sheds(request)

    def _damaged(self, root: Digest, error: DamagedBlobError) -> None:
        self.standing.damaged(root, error)

    async def _answer(self, peer: NodeId, request: Request[Any]) -> object:
        return await self.standing.answer(peer, request)

    def _largest(self, reply: type) -> int:
        return self.standing.largest(reply)

    def _is_member(self, node: NodeId) -> bool:
        return self.standing.is_member(node)

    def _allows(self, node: NodeId) -> bool:
        """Whether a node may connect: it is not banned, and was not put out."""
        return self.peers.allows(node) and not self.standing.is_barred(node)

    def _hears(self, node: NodeId) -> bool:
        """Whether a node's gossip counts: what a banned member says through others is not heard either."""
        return self._is_member(node) and self._allows(node)

    def _stands(self) -> Standpoint:
        return self.standing.standpoint()

    def _peer_up(self, node: NodeId, status: Status) -> None:
        text = f"peer {short(node)} is connected, at round {status.round}"
        self._tell(EventKind.PEER_UP, status.round, text, node=node.hex())

    def _peer_down(self, node: NodeId) -> None:
        self.standing.lost(node)
        self._tell(EventKind.PEER_DOWN, 0, f"peer {short(node)} is gone", node=node.hex())

    def _peer_status(self, node: NodeId, status: Status) -> None:
        self.standing.heard_of(node, status)

    def _failed(self, error: Exception) -> None:
        self._tell(EventKind.ANSWER_FAILED, 0, f"an answer to a peer failed: {error}")
