"""The fetcher of one chain's payloads."""

from bflcd.net.blobs.fetcher import BlobFetcher
from bflcd.node.engine import Engine
from bflcd.node.runtime.clock import clock
from bflcd.node.surroundings import Surroundings
from bflcd.params import Genesis
from bflcd.types import Round
from bflcd.wire.tensors import payload_size, update_label


def fetcher_of(genesis: Genesis, around: Surroundings, engine: Engine) -> BlobFetcher:
    """No payload of this chain is larger than an update of the longest label, or the first model."""
    chain = engine.core.context.state.chain
    longest = update_label(chain, Round(2**53), around.identity.node_id)
    return BlobFetcher(
        around.side.exchange,
        around.store,
        chain=lambda: chain,
        max_bytes=max(payload_size(genesis.task.tensors, longest), genesis.model.size),
        now=clock,
        on_misbehaviour=around.side.punish,
        closed=lambda: engine.core.closed_by,
    )
