"""Serves blobs to whoever may have them (design 5.2 and 8)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from bflcd.errors import PeerError, Rejection
from bflcd.net.exchange import Handlers
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, NodeId, short
from bflcd.wire.messages import ClosedBy
from bflcd.wire.requests import Chunk, GetChunk, GetManifest, Manifest

logger = logging.getLogger(__name__)

MaySee = Callable[[NodeId, Digest, ClosedBy], bool]
"""Whether a peer may have the blob with this root, by what it shows: an unpublished update is only for its round's committee,
where it is served late once offers are closed. Must not block; raises PeerError where the peer is to hear why not."""

READS: Final = 8
"""Chunks that are read from the store at a time, so that serving leaves the store its time for us."""


class ChunkSource(Protocol):
    """The part of the store that gives blobs."""

    async def manifest(self, root: Digest) -> Manifest | None:
        """As `PayloadReader.manifest`."""
        ...

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """As `PayloadReader.chunk`."""
        ...


class BlobServer:
    """Answers GetManifest and GetChunk. What a peer may not see is refused alike whether we hold it or not."""

    def __init__(
        self,
        store: ChunkSource,
        *,
        chain: Callable[[], Digest],
        may_serve: MaySee,
        on_damage: Callable[[Digest, DamagedBlobError], None],
        reads: int = READS,
    ) -> None:
        self._store = store
        self._chain = chain
        self._may_serve = may_serve
        self._on_damage = on_damage
        self._reads = asyncio.Semaphore(reads)
        self.sent_bytes = 0
        """Bytes of chunks that were given out since the start."""

    def handlers(self) -> Handlers:
        """For `Exchange.serve`."""
        return {GetManifest: self._answer_manifest, GetChunk: self._answer_chunk}

    async def _answer_manifest(self, peer: NodeId, request: GetManifest) -> Manifest:
        self._admit(peer, request)
        async with self._reads:
            manifest = await self._store.manifest(request.root)
        if manifest is None:
            raise _absent(request.root)
        return manifest

    async def _answer_chunk(self, peer: NodeId, request: GetChunk) -> Chunk:
        self._admit(peer, request)
        try:
            async with self._reads:
                data = await self._store.chunk(request.root, request.index)
        except DamagedBlobError as error:
            # The store has named the damage; the node fetches the blob again. A peer must never see the damaged bytes.
            logger.warning("%s", error)
            self._on_damage(request.root, error)
            raise PeerError(Rejection.UNAVAILABLE, f"blob {short(request.root)} is damaged here") from error
        if data is None:
            raise _absent(request.root)
        self.sent_bytes += len(data)
        return Chunk(data)

    def _admit(self, peer: NodeId, request: GetManifest | GetChunk) -> None:
        if request.chain != self._chain():
            raise PeerError(Rejection.WRONG_CHAIN, f"this node is on chain {short(self._chain())}")
        if not self._may_serve(peer, request.root, request.closed):
            raise PeerError(Rejection.REFUSED, f"blob {short(request.root)} is not for you")


def _absent(root: Digest) -> PeerError:
    return PeerError(Rejection.UNAVAILABLE, f"blob {short(root)} is not held here")
