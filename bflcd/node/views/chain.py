"""The chain behind the running round: its history, its models, and what of them is still held."""

from typing import Protocol

from bflcd.api.history import base_of, history_rows
from bflcd.api.schema.chain import HistoryRow, ModelView, PruneView
from bflcd.core.round.context import RoundContext
from bflcd.errors import OperatorError
from bflcd.params import MILLION, BlobRef
from bflcd.store.protocol import ChainStore, PayloadReader, PruneReport
from bflcd.types import Digest, Height, Round


class Models(ChainStore, PayloadReader, Protocol):
    """Blocks, and the payloads that they name."""


async def history(store: ChainStore, context: RoundContext, first: int, count: int) -> list[HistoryRow]:
    """Models of rounds first, first + 1, ...; round 0 was never decided and has no row."""
    return await history_rows(store, context.genesis, first, count)


def prune_view(report: PruneReport, keep: int, *, dry_run: bool) -> PruneView:
    """What a prune did, or would do."""
    return PruneView(
        dry_run=dry_run,
        keep=keep,
        height=report.height,
        round=report.round,
        blobs=report.blobs,
        payload_bytes=report.payload_bytes,
        freed=report.freed,
    )


def pruned_text(report: PruneReport) -> str:
    """What a prune did, in words."""
    return f"{report.blobs} payloads up to height {report.height} were removed, {report.freed} bytes returned to the disk"


async def model(store: Models, context: RoundContext, round_: int | None) -> tuple[bytes, ModelView]:
    """A model's payload; None means the newest. Raises OperatorError (not_found, pruned)."""
    wanted = context.round if round_ is None else round_
    blob, height, block = await model_block(store, context, wanted)
    scored = await store.segment(Round(wanted + 1))
    base = None if scored is None else base_of([card.payload for card in scored.segment.model.cards])
    data = await store.blob(blob.root)
    if data is None:
        raise OperatorError(
            f"the payload of round {wanted} is not held here", hint="ask an archive node, or a later round", code="pruned"
        )
    return data, ModelView(
        round=wanted,
        height=height,
        root=blob.root.hex(),
        size=blob.size,
        block_hash=block.hex(),
        accuracy=None if base is None else base[1] / MILLION,
        chain_id=context.state.chain.hex(),
        task=context.genesis.task.factory,
    )


async def model_block(store: ChainStore, context: RoundContext, wanted: int) -> tuple[BlobRef, Height, Digest]:
    """Payload, height and hash of the model block of a round. Raises OperatorError(not_found)."""
    if wanted == 0:
        return context.genesis.model, Height(0), context.state.chain
    if wanted == context.round:
        return context.head_blob, context.head_header.height, context.head_hash
    found = await store.headers(Round(wanted), 1) if wanted > 0 else ()
    if not found or found[0].header.blob is None:
        raise OperatorError(f"there is no model of round {wanted}", hint="see `bflc-cli history`", code="not_found")
    return found[0].header.blob, found[0].header.height, found[0].certificate.digest
