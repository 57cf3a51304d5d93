"""What is about to be signed relies on payloads: they are durable first, or it is not signed."""

import logging
from collections.abc import Sequence
from typing import Final

from bflcd.core.effects import Persist
from bflcd.errors import PeerError, RequestError
from bflcd.node.runtime.payloads import LostPayloadError
from bflcd.node.runtime.ports import Fetcher, Network, RoundStore
from bflcd.params import BlobRef
from bflcd.scheduler import Scheduler
from bflcd.store.protocol import MissingPayloadError
from bflcd.types import Digest, NodeId

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 30.0
"""How long a payload that has gone is asked for: the core waits meanwhile, and the round goes on without this node."""


class Reliance:
    """Carries out `Persist`."""

    def __init__(self, store: RoundStore, fetcher: Fetcher, network: Network, scheduler: Scheduler) -> None:
        self._store = store
        self._fetcher = fetcher
        self._network = network
        self._scheduler = scheduler

    async def persist(self, effect: Persist) -> None:
        """Payloads, then records. One that was dropped since the core heard of it (damaged on the disk, or taken for one that
        lost) is fetched again; LostPayloadError if nobody gives it."""
        roots = tuple(blob.root for blob in effect.relies_on)
        try:
            await self._store.persist(effect.records, roots)
        except MissingPayloadError as error:
            await self._fetch_again([blob for blob in effect.relies_on if blob.root in error.roots])
            await self._persist_again(effect, roots)

    async def _persist_again(self, effect: Persist, roots: tuple[Digest, ...]) -> None:
        try:
            await self._store.persist(effect.records, roots)
        except MissingPayloadError as error:  # dropped once more: this disk does not hold what it is given
            raise LostPayloadError(error.roots[0]) from error

    async def _fetch_again(self, blobs: Sequence[BlobRef]) -> None:
        holders = self._network.connected()
        for blob in blobs:
            async with self._scheduler.scope() as scope:
                fetch = scope.start(self._fetched(blob, holders))
                await self._scheduler.first_done((fetch,), PATIENCE_SECONDS)
                found = fetch.done() and fetch.result()
            if not found:
                raise LostPayloadError(blob.root)

    async def _fetched(self, blob: BlobRef, holders: tuple[NodeId, ...]) -> bool:
        try:
            await self._fetcher.fetch(blob, holders)
        except (RequestError, PeerError) as error:
            logger.warning("a payload that is to be relied on can't be fetched again: %s", error)
            return False
        return True
