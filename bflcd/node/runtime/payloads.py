"""Payloads of the running round in memory: each is read and verified once for checking, scoring and aggregation."""

from collections import OrderedDict
from typing import Final, Protocol

from bflcd.errors import MachineError
from bflcd.node.runtime.ports import RoundStore
from bflcd.params import BlobRef
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, short

MAX_PAYLOADS: Final = 16 * 1024 * 1024
"""Bytes of payloads kept in memory."""


class LostPayloadError(DamagedBlobError):
    """A payload that a job counts on was found damaged elsewhere, and dropped before the job read it."""

    def __init__(self, root: Digest) -> None:
        MachineError.__init__(
            self,
            f"the payload {short(root)} was dropped while it was needed",
            hint="it is fetched again from a peer; if this repeats, check the disk",
            code="damaged_blob",
        )
        self.root = root
        self.index = 0


class Payloads(Protocol):
    """What jobs read."""

    async def read(self, blob: BlobRef) -> bytes:
        """A payload, verified. Raises DamagedBlobError."""
        ...

    async def forget(self, root: Digest) -> None:
        """Drop it here and in the store."""
        ...


class CachedPayloads:
    """The least recently read ones go first."""

    def __init__(self, store: RoundStore, limit: int = MAX_PAYLOADS) -> None:
        """`limit`: bytes kept."""
        self._store = store
        self._limit = limit
        self._held: OrderedDict[Digest, bytes] = OrderedDict()

    async def read(self, blob: BlobRef) -> bytes:
        """See `Payloads`."""
        data = self._held.get(blob.root)
        if data is not None:
            self._held.move_to_end(blob.root)
            return data
        data = await self._store.blob(blob.root)
        if data is None:
            raise LostPayloadError(blob.root)
        self._held[blob.root] = data
        while sum(map(len, self._held.values())) > self._limit:
            self._held.popitem(last=False)
        return data

    async def forget(self, root: Digest) -> None:
        """See `Payloads`."""
        self._held.pop(root, None)
        await self._store.drop_blob(root)
