"""Pruning over any chain side and any payload store: the rule asked again before each step, deletion in small steps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bflcd.store.protocol import HeldPayload, PayloadIndex, PayloadStore, PruneReport
from bflcd.store.pruning import Payload, first_kept, is_stale, may_prune, prunable
from bflcd.types import Digest, Round

Rule = Callable[[Payload], Awaitable[bool]]
"""Asked in each turn of a deletion: whether the payload may still go."""


class Pruner:
    """Removes payloads that nothing needs any more.

    `turn` is held from the question whether a payload may go until a part of it is gone; who stores what comes to need a payload
    (records, blocks) holds it too. A deletion that is cut short leaves an incomplete payload, which the next prune finds again.
    """

    def __init__(self, index: PayloadIndex, payloads: PayloadStore, turn: asyncio.Lock) -> None:
        self._index = index
        self._payloads = payloads
        self._turn = turn
        self._settled = 0
        """Up to this number, blocks name every payload: what a round costs an archive must not grow with it."""
        self._rewinds = 0

    def unsettle(self) -> None:
        """Blocks were taken back: judge every payload anew."""
        self._settled = 0
        self._rewinds += 1

    async def prune(self, keep: int, *, dry_run: bool) -> PruneReport:
        """See `Upkeep.prune`. A dry run estimates the bytes to be freed by the payloads' sizes."""
        needs, held = await self._index.needs(), await self._payloads.held()
        doomed = prunable(await self._judged(held), needs, keep)
        kept = first_kept(needs, keep)
        height = await self._index.height_before(kept)
        if dry_run:
            size = sum(payload.size for payload in doomed)
            return PruneReport(height, kept, len(doomed), size, size)

        async def may_go(payload: Payload) -> bool:
            return may_prune(payload, await self._index.needs(), keep)

        listed = {payload.root: payload for payload in held}
        gone = [payload for payload in doomed if await self._drop(listed[payload.root], may_go)]
        freed = await self._payloads.return_space() if gone else 0
        return PruneReport(height, kept, len(gone), sum(payload.size for payload in gone), freed)

    async def discard_stale(self, round_: Round) -> None:
        """See `Upkeep.discard_stale`."""

        async def may_go(payload: Payload) -> bool:
            return is_stale(payload, await self._index.pinned(round_), round_)

        rewinds = self._rewinds
        held, pinned = await self._payloads.held(after=self._settled), await self._index.pinned(round_)
        waiting = []
        for payload, listed in zip(await self._judged(held), held, strict=True):
            gone = is_stale(payload, pinned, round_) and await self._drop(listed, may_go)
            if payload.newest is None and not gone:
                waiting.append(listed.number)
        if rewinds == self._rewinds and held:
            self._settled = min(waiting) - 1 if waiting else held[-1].number

    async def unpublished(self) -> tuple[Digest, ...]:
        """See `Upkeep.unpublished`."""
        return tuple(payload.root for payload in await self._judged(await self._payloads.held()) if payload.newest is None)

    async def drop(self, root: Digest) -> None:
        """See `Upkeep.drop_blob`."""

        async def may_go(_: Payload) -> bool:
            return True

        listed = await self._payloads.entry(root)
        if listed is not None:
            await self._drop(listed, may_go)

    async def _drop(self, listed: HeldPayload, may_go: Rule) -> bool:
        """Drop a payload step by step as long as `may_go` says so; whether it is gone. Others go on between the steps."""
        done = False
        while not done:
            async with self._turn:
                (payload,) = await self._judged((listed,))
                if not await may_go(payload):
                    return False
                done = await self._payloads.drop_some(listed)
        return await self._payloads.entry(listed.root) is None

    async def _judged(self, held: Sequence[HeldPayload]) -> tuple[Payload, ...]:
        """What the rule judges, in the same order."""
        newest = await self._index.named([payload.root for payload in held])
        return tuple(Payload(payload.root, payload.size, newest.get(payload.root), payload.begun) for payload in held)
