"""A node's whole store: a chain side and a payload store, whatever each is made of, and what crosses them."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from bflcd.closing import closing
from bflcd.core.records import Head, Record, RoundRecords
from bflcd.ledger.state import State
from bflcd.params import BlobRef, Genesis
from bflcd.store.protocol import ChainSide, Damage, PayloadStore, PruneReport, StoreStats
from bflcd.store.pruner import Pruner
from bflcd.types import Digest, Height, NodeId, Round
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.requests import Manifest

PLACED_AT_ONCE: Final = 256
"""Payloads that are looked up at a time when those that are missing are counted."""

BELOW_ALL: Final = Height(-1)


class BlockStore:
    """`ChainStore`, `RecordStore`, `AddressBook` and `Upkeep`, and the payload store with the running round filled in.

    For the composition root: whoever works with it depends on the narrow protocols of `bflcd.store.protocol`.
    """

    def __init__(self, chain: ChainSide, payloads: PayloadStore) -> None:
        """Put the two together; `close` closes both."""
        self.chain_side = chain
        self.payloads = payloads
        self._turn = asyncio.Lock()
        self._pruner = Pruner(chain, payloads, self._turn)
        self._changes = 0
        self._oldest: tuple[int, Round] | None = None
        """The first round from which on everything is held, and the value of `_changes` when it was looked up."""
        self._complete_to = BELOW_ALL
        """Up to this height, every payload was held when they were counted, and none was dropped since."""

    async def close(self) -> None:
        """Finish the running writes and close. Idempotent."""
        async with closing("the chain's side of the store", self.chain_side.close):
            await self.payloads.close()

    # The chain

    async def genesis(self) -> Genesis | None:
        """See `ChainStore`."""
        return await self.chain_side.genesis()

    async def initialise(self, genesis: Genesis, header: Header, state: State) -> None:
        """See `ChainStore`."""
        await self.chain_side.initialise(genesis, header, state)
        self._changes += 1

    async def head(self) -> Head:
        """See `ChainStore`."""
        return await self.chain_side.head()

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """See `ChainStore`."""
        async with self._turn:
            await self.chain_side.commit(certified, state)
        self._changes += 1

    async def rewind(self, round_: Round, state: State) -> None:
        """See `ChainStore`."""
        async with self._turn:
            await self.chain_side.rewind(round_, state)
        self._pruner.unsettle()
        self._dropped()

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """See `ChainStore`."""
        return await self.chain_side.segment(round_)

    async def certificate(self, round_: Round) -> Certificate | None:
        """See `ChainStore`."""
        return await self.chain_side.certificate(round_)

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """See `ChainStore`."""
        return await self.chain_side.headers(first, count)

    # Records of the undecided round

    async def persist(self, records: Sequence[Record], relies_on: Iterable[Digest] = ()) -> None:
        """As `RecordStore.persist`, once the payloads `relies_on` are durable: no record is on the disk that says more than the
        disk holds. MissingPayloadError if one of them is not complete; then nothing is stored."""
        async with self._turn:
            await self._persist(records, tuple(relies_on))

    async def _persist(self, records: Sequence[Record], relies_on: tuple[Digest, ...]) -> None:
        if relies_on:
            await self.payloads.make_durable(relies_on)
        await self.chain_side.persist(records)

    async def records(self, round_: Round) -> RoundRecords:
        """See `RecordStore`."""
        return await self.chain_side.records(round_)

    # Payloads

    async def start_blob(self, manifest: Manifest) -> tuple[int, ...]:
        """See `PayloadStore`."""
        return await self.payloads.start_blob(manifest, await self._round())

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """See `PayloadStore`."""
        done = await self.payloads.put_chunk(root, index, data)
        if done:
            self._changes += 1
        return done

    async def put_blob(self, data: bytes) -> BlobRef:
        """See `PayloadStore`."""
        blob = await self.payloads.put_blob(data, await self._round())
        self._changes += 1
        return blob

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        """See `PayloadStore`."""
        await self.payloads.make_durable(roots)

    async def has_blob(self, root: Digest) -> bool:
        """See `PayloadReader`."""
        return await self.payloads.has_blob(root)

    async def manifest(self, root: Digest) -> Manifest | None:
        """See `PayloadReader`."""
        return await self.payloads.manifest(root)

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """See `PayloadReader`."""
        return await self.payloads.chunk(root, index)

    async def blob(self, root: Digest) -> bytes | None:
        """See `PayloadReader`."""
        return await self.payloads.blob(root)

    # Upkeep

    async def unpublished(self) -> tuple[Digest, ...]:
        """See `Upkeep`."""
        return await self._pruner.unpublished()

    async def drop_blob(self, root: Digest) -> None:
        """See `Upkeep`. Which block names it stays on record, so a blob that one needs is missing from then on."""
        self._dropped()
        await self._pruner.drop(root)
        self._dropped()

    async def prune(self, keep: int, *, dry_run: bool) -> PruneReport:
        """See `Upkeep`."""
        report = await self._pruner.prune(keep, dry_run=dry_run)
        self._dropped()
        return report

    async def discard_stale(self, round_: Round) -> None:
        """See `Upkeep`. What no block names is missed by none: the oldest payload stays as it is."""
        await self._pruner.discard_stale(round_)

    async def stats(self) -> StoreStats:
        """See `Upkeep`."""
        blobs, payload_bytes = await self.payloads.totals()
        size = self.chain_side.size_on_disk() + self.payloads.size_on_disk()
        return StoreStats(size, blobs, payload_bytes, await self._oldest_payload())

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """See `Upkeep`."""
        return await self.chain_side.check(deep=deep) + await self.payloads.check(deep=deep)

    # The address book

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """See `AddressBook`."""
        return await self.chain_side.addresses()

    async def remember_address(self, node: NodeId, address: str) -> None:
        """See `AddressBook`."""
        await self.chain_side.remember_address(node, address)

    async def _round(self) -> Round:
        """The undecided round, or 0 before there is a chain."""
        try:
            return (await self.head()).header.round
        except LookupError:
            return Round(0)

    def _dropped(self) -> None:
        self._changes += 1
        self._complete_to = BELOW_ALL

    async def _oldest_payload(self) -> Round:
        changes, known = self._changes, self._oldest
        if known is not None and known[0] == changes:
            return known[1]
        oldest = await self._first_complete_round()
        self._oldest = changes, oldest
        return oldest

    async def _first_complete_round(self) -> Round:
        """The round after the newest that lacks a payload: the newest are looked at first, down to where all was there before."""
        changes, above, below = self._changes, self._complete_to, None
        newest = above
        while placed := await self.chain_side.placed(above, below, PLACED_AT_ONCE):
            newest, below = max(newest, placed[0].height), placed[-1].height
            complete = await self.payloads.complete([item.root for item in placed])
            lacking = next((item for item in placed if item.root not in complete), None)
            if lacking is not None:
                return Round(lacking.round + 1)
        if changes == self._changes:
            self._complete_to = newest
        return Round(0)
