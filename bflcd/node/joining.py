"""How a node comes by its genesis: from its store, from its data directory, or from a peer that its operator named."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bflcd.config import Config
from bflcd.crypto.identity import peer_id_of
from bflcd.errors import OperatorError, PeerError, Rejection, RequestError
from bflcd.ledger.alliance.fees import terms_text
from bflcd.net.blobs.race import Race
from bflcd.net.exchange import Exchange
from bflcd.net.peers import PeerManager
from bflcd.net.sync import GENESIS_DEADLINE, fetch_genesis
from bflcd.node.admission import MEBIBYTE, check_admissible
from bflcd.params import Genesis
from bflcd.setup.datadir import DataDir, local_genesis
from bflcd.store.protocol import ChainStore
from bflcd.types import Digest, NodeId, short
from bflcd.wire.blocks import chain_id_of

logger = logging.getLogger(__name__)

GENESIS_RETRY: Final = 1.0
"""Seconds between two rounds of asking peers for the genesis."""

GENESIS_PATIENCE: Final = 2.0
"""Seconds that a peer may take before the next one is asked for the genesis too."""

UNNAMED_SECONDS: Final = 5.0
"""What a peer that the operator has not named may take to give the genesis."""

NAMED_MEMBERS: Final = 12
"""Ids that the summary of a community shows of its members, and of its managers."""

Consent = Callable[[str], Awaitable[bool]]
"""Shows the operator a summary of a community, and says whether to join it."""


async def find_genesis(
    config: Config, store: ChainStore, exchange: Exchange, peers: PeerManager, *, me: NodeId, consent: Consent | None
) -> tuple[Genesis, bytes | None]:
    """The genesis, and model 0 if it lies in the data directory; waits for a peer if nothing is here.

    `consent`: asks the operator of node `me` where no chain id is pinned; None if nobody sits at a terminal. Raises
    OperatorError: `wrong_chain` if store, directory, `--chain-id` or a peer disagree, `no_genesis` if nobody can be asked,
    `unpinned_chain` or `declined` if a peer's genesis is not to be taken, and as `check_admissible` does.
    """
    genesis, model = await _genesis_here(config, store)
    if genesis is None:
        genesis = await _ask_peers(config, exchange, peers, me, consent)
    check_admissible(genesis, config.tasks)
    return genesis, model


async def _genesis_here(config: Config, store: ChainStore) -> tuple[Genesis | None, bytes | None]:
    """What store and data directory hold. Raises OperatorError if they disagree with each other or with `--chain-id`."""
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
    if genesis is not None and pinned and chain_id_of(genesis) != pinned:
        raise OperatorError(
            f"this data directory is of chain {chain_id_of(genesis).hex()}, --chain-id asks for {pinned.hex()}",
            hint="drop --chain-id, or use another data directory",
            code="wrong_chain",
        )
    return genesis, model


async def _ask_peers(config: Config, exchange: Exchange, peers: PeerManager, me: NodeId, consent: Consent | None) -> Genesis:
    """Ask until one gives it. Without a pinned id only those that the operator named with --bootstrap, and then the operator."""
    pinned = Digest(bytes.fromhex(config.node.chain_id)) if config.node.chain_id else None
    _check_askable(config, pinned, consent)
    asked = _Asked(exchange, pinned, config.node.bootstrap)
    logger.info("asking for the genesis")
    while True:
        found = await asked.anyone(lambda: [peer.node for peer in peers.peers()])
        if found is not None:
            giver, genesis = found
            if pinned is None:
                await _agree(genesis, config, me, giver, consent)
            return genesis
        await asyncio.sleep(GENESIS_RETRY)


class _Asked:
    """Who may give the genesis, and who of those that the operator named is on another chain than the pinned one."""

    def __init__(self, exchange: Exchange, pinned: Digest | None, bootstrap: tuple[str, ...]) -> None:
        self._exchange = exchange
        self._pinned = pinned
        self._named = {address.rsplit("/", 1)[-1] for address in bootstrap}
        self._elsewhere: set[NodeId] = set()
        self._race = Race(GENESIS_PATIENCE)

    async def anyone(self, connected: Callable[[], Sequence[NodeId]]) -> tuple[NodeId, Genesis] | None:
        """The first genesis that a connected peer gives, and who gave it; those that the operator named are asked first.

        Whoever else is connected has called itself, and may be a stranger: where the chain is pinned it can be of use, and can
        neither end nor hold up anything. Raises OperatorError once all whom the operator named are on another chain.
        """

        def who() -> list[NodeId]:
            nodes = sorted(connected(), key=lambda node: not self._is_named(node))
            return nodes if self._pinned is not None else [node for node in nodes if self._is_named(node)]

        return await self._race.run(who, self._ask)

    def _is_named(self, peer: NodeId) -> bool:
        return peer_id_of(peer) in self._named

    async def _ask(self, peer: NodeId) -> tuple[NodeId, Genesis] | None:
        named = self._is_named(peer)
        try:
            deadline = GENESIS_DEADLINE if named else UNNAMED_SECONDS
            genesis = await fetch_genesis(self._exchange, peer, self._pinned, deadline=deadline)
        except (RequestError, PeerError) as error:
            logger.warning("no genesis from %s: %s", short(peer), error)
            if named and isinstance(error, PeerError) and error.rejection is Rejection.WRONG_CHAIN:
                self._is_elsewhere(peer, error)
            return None
        logger.info("genesis of chain %s from %s", short(chain_id_of(genesis)), short(peer))
        return peer, genesis

    def _is_elsewhere(self, peer: NodeId, error: PeerError) -> None:
        self._elsewhere.add(peer)
        if len(self._elsewhere) == len(self._named):
            raise OperatorError(str(error), hint="check --chain-id and --bootstrap", code="wrong_chain") from error


def _check_askable(config: Config, pinned: Digest | None, consent: Consent | None) -> None:
    """Raise OperatorError if nobody can be asked, or nothing says whose answer is to be taken."""
    if not config.node.bootstrap:
        raise OperatorError(
            "this node has no genesis and nobody to ask for it",
            hint="give --bootstrap /ip4/HOST/tcp/PORT/p2p/ID, or put genesis.json into the data directory",
            code="no_genesis",
        )
    if pinned is None and not config.node.trust_first_peer and consent is None:
        raise OperatorError(
            "nothing says which community to join: without --chain-id the first peer could give this node any genesis",
            hint="give --chain-id CHAIN, as `bflc-cli status` of a member shows it, or --trust-first-peer to take what the "
            "--bootstrap peer gives; at a terminal you are shown the community and asked",
            code="unpinned_chain",
        )


async def _agree(genesis: Genesis, config: Config, me: NodeId, giver: NodeId, consent: Consent | None) -> None:
    """Raise OperatorError unless the operator takes this genesis: asked now, or said beforehand with --trust-first-peer."""
    check_admissible(genesis, config.tasks)
    summary = summary_of(genesis, me, giver)
    if config.node.trust_first_peer:
        for line in summary.splitlines():
            logger.warning("taken on trust: %s", line)
    elif consent is None or not await consent(summary):
        raise OperatorError(
            f"chain {short(chain_id_of(genesis))} was not joined, as you said",
            hint="give --chain-id CHAIN to join another one",
            code="declined",
        )


def summary_of(genesis: Genesis, me: NodeId, giver: NodeId) -> str:
    """What an operator has to know of a community before joining it, a fact a line."""
    members, task = [member.node for member in genesis.members], genesis.task
    size = f"{genesis.model.size / MEBIBYTE:.2f} MiB, {len(task.tensors)} tensors"
    facts = (
        ("community", genesis.name + (" (a testnet)" if genesis.testnet else "")),
        ("chain id", chain_id_of(genesis).hex()),
        ("given by", f"{short(giver)} ({peer_id_of(giver)})"),
        ("members", f"{len(members)}: {_named(members)}; this node is " + ("one" if me in members else "none") + " of them"),
        ("managers", f"{len(genesis.managers)}: {_named(list(genesis.managers))}"),
        ("fees", terms_text(genesis.terms) + ", unless managers have set others since"),
        ("task", f"{task.factory}, {', '.join(f'{key}={value}' for key, value in task.options) or 'no options'}"),
        ("model", size),
    )
    return "\n".join(f"{name:<10} {value}" for name, value in facts)


def _named(nodes: list[NodeId]) -> str:
    more = f" and {len(nodes) - NAMED_MEMBERS} more" if len(nodes) > NAMED_MEMBERS else ""
    return " ".join(short(node) for node in nodes[:NAMED_MEMBERS]) + more
