"""What a node has before it knows its chain, and keeps on it."""

from dataclasses import dataclass

from bflcd.api.metrics import Metrics
from bflcd.config import Config
from bflcd.crypto.identity import Identity
from bflcd.log import LogContext
from bflcd.node.engine import MarkFile
from bflcd.node.peer_side import PeerSide
from bflcd.node.privacy.judging import JudgingFile
from bflcd.node.reporter import Tell
from bflcd.node.views.facts import NodeFacts
from bflcd.setup.keyring import KeyRing
from bflcd.store.block_store import BlockStore


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Made by `Bootstrap`, read by all that it starts."""

    config: Config
    identity: Identity
    store: BlockStore
    marks: MarkFile
    log: LogContext
    side: PeerSide
    metrics: Metrics
    tell: Tell
    facts: NodeFacts
    keys: KeyRing
    judging: JudgingFile
    excluded: bool = False
    """Whether members have said that this node is none: it asks first whether it is one again."""

    @property
    def sponsors(self) -> frozenset[str]:
        """Peer ids that the operator named."""
        return frozenset(address.rsplit("/", 1)[-1] for address in self.config.node.bootstrap)
