"""A payload store that keeps its word and not a byte more: power loss takes whatever nobody made durable."""

from collections.abc import Iterable

from bflcd.store.memory_payloads import MemoryPayloads
from bflcd.store.protocol import HeldPayload
from bflcd.types import Digest


class ForgetfulPayloads(MemoryPayloads):
    """`PayloadStore` whose disk writes nothing unless `make_durable` asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self._durable: frozenset[Digest] = frozenset()
        self.relied_on: frozenset[Digest] = frozenset()
        """Every payload that was ever made durable, held or dropped since."""

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        named = tuple(roots)
        await super().make_durable(named)
        self._durable |= set(named)
        self.relied_on |= set(named)

    async def drop_some(self, payload: HeldPayload) -> bool:
        self._durable -= {payload.root}
        return await super().drop_some(payload)

    def lose_power(self) -> None:
        """What is left is what was made durable, and not dropped since."""
        self._blobs = {root: blob for root, blob in self._blobs.items() if root in self._durable}
