"""How a node comes by its genesis: from its store, from its data directory, or from a peer that its operator named."""

import asyncio
import logging
from typing import Final

from bflcd.config import Config
from bflcd.crypto.identity import peer_id_of
from bflcd.errors import OperatorError, PeerError, Rejection, RequestError
from bflcd.net.exchange import Exchange
from bflcd.net.peers import PeerManager
from bflcd.net.sync import fetch_genesis
from bflcd.params import Genesis
from bflcd.setup.datadir import DataDir, local_genesis
from bflcd.store.protocol import ChainStore
from bflcd.types import Digest, short
from bflcd.wire.blocks import chain_id_of

logger = logging.getLogger(__name__)

GENESIS_RETRY: Final = 1.0
"""Seconds between two rounds of asking peers for the genesis."""


async def find_genesis(config: Config, store: ChainStore, exchange: Exchange, peers: PeerManager) -> tuple[Genesis, bytes | None]:
    """The genesis, and model 0 if it lies in the data directory; waits for a peer if nothing is here.

    Raises OperatorError: `wrong_chain` if store, directory, `--chain-id` or a peer disagree, `no_genesis` if nobody can be asked.
    """
    pinned = bytes.fromhex(config.node.chain_id)
    stored = await store.genesis()
    local = local_genesis(DataDir(config.node.datadir))
    model = None if local is None else local[1]
    if stored is not None and local is not None and chain_id_of(stored) != chain_id_of(local[0]):
        raise OperatorError(
            f"the store holds chain {short(chain_id_of(stored))}, genesis.json is of chain {short(chain_id_of(local[0]))}",
            hint="use a data directory of its own for each chain",
            code="wrong_chain",
        )
    genesis = stored or (None if local is None else local[0])
    if genesis is None:
        return await _ask_peers(config, exchange, peers, Digest(pinned) if pinned else None), model
    if pinned and chain_id_of(genesis) != pinned:
        raise OperatorError(
            f"this data directory is of chain {chain_id_of(genesis).hex()}, --chain-id asks for {pinned.hex()}",
            hint="drop --chain-id, or use another data directory",
            code="wrong_chain",
        )
    return genesis, model


async def _ask_peers(config: Config, exchange: Exchange, peers: PeerManager, pinned: Digest | None) -> Genesis:
    """Ask until one gives it: without a pinned id only those that the operator named with --bootstrap."""
    if not config.node.bootstrap:
        raise OperatorError(
            "this node has no genesis and nobody to ask for it",
            hint="give --bootstrap /ip4/HOST/tcp/PORT/p2p/ID, or put genesis.json into the data directory",
            code="no_genesis",
        )
    trusted = {address.rsplit("/", 1)[-1] for address in config.node.bootstrap}
    logger.info("asking for the genesis")
    while True:
        for peer in peers.peers():
            if peer_id_of(peer.node) not in trusted and pinned is None:
                continue
            try:
                genesis = await fetch_genesis(exchange, peer.node, pinned)
            except RequestError as error:
                logger.warning("no genesis from %s: %s", short(peer.node), error)
            except PeerError as error:
                if error.rejection is Rejection.WRONG_CHAIN:
                    raise OperatorError(str(error), hint="check --chain-id and --bootstrap", code="wrong_chain") from error
                logger.warning("no genesis from %s: %s", short(peer.node), error)
            else:
                logger.info("genesis of chain %s from %s", short(chain_id_of(genesis)), short(peer.node))
                return genesis
        await asyncio.sleep(GENESIS_RETRY)
