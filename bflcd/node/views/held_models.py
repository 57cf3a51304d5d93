"""From which round on a node holds every model: what it pruned or missed lies below."""

import asyncio
from typing import Final, Protocol

from bflcd.store.protocol import ChainStore, PayloadReader
from bflcd.types import Digest, Round

BATCH: Final = 256
"""Headers read at a time."""


class Held(ChainStore, PayloadReader, Protocol):
    """What of the store says it."""


class HeldModels:
    """Found once, from the newest model back to the first gap; then kept up round by round.

    A node that prunes nothing has the models of all rounds that it ran in. One that was away fetches the newest only. The newest
    may be on its way here, so it counts from its successor on.
    """

    def __init__(self, store: Held) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self._seen = Round(0)
        self._first = Round(0)
        self._anew = True

    @property
    def first(self) -> Round | None:
        """First round from which on every model is held; None if none is lacking, and while that is not known yet."""
        return self._first or None

    def look_anew(self) -> None:
        """Payloads went or came: the next look begins again."""
        self._anew = True

    async def look(self) -> None:
        """Take in what is new since the last look."""
        async with self._turn:
            known = Round(0) if self._anew else self._seen
            self._anew = False
            newest = (await self._store.head()).header.round
            gap = await self._newest_gap(known, newest)
            if gap is not None or known == 0:
                self._first = Round(0 if gap is None else gap + 1)
            self._seen = newest

    async def _newest_gap(self, begin: Round, end: Round) -> Round | None:
        """The last round from `begin` on and before `end` whose model is not held."""
        while begin < end:
            first = max(begin, Round(end - BATCH))
            for round_, root in reversed(await self._models(first, end)):
                if not await self._store.has_blob(root):
                    return round_
            end = first
        return None

    async def _models(self, first: Round, end: Round) -> list[tuple[Round, Digest]]:
        """Rounds `first` to `end` - 1 with the roots of their models."""
        begin = max(first, Round(1))
        headers = [certified.header for certified in await self._store.headers(begin, end - begin)] if begin < end else []
        genesis = await self._store.genesis() if first == 0 else None
        before = [] if genesis is None else [(Round(0), genesis.model.root)]
        return before + [(header.round, header.blob.root) for header in headers if header.blob is not None]
