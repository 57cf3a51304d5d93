"""Who was asked for a blob during one fetch, what each said, and whom to ask next."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.limits import Clock
from bflcd.types import Millis, NodeId, short

FIRST_BACKOFF: Final = Millis(250)
"""After a holder's first lost or late answer; doubles with each more in a row."""

MAX_TRIES: Final = 5
"""Lost or late answers in a row after which a holder is given up for this fetch: about four seconds of back-off."""

_TOLD: Final = 12
"""Holders that an error names, at most."""


@dataclass(slots=True)
class _Record:
    reason: str = ""
    failures: int = 0
    not_before: Millis = Millis(0)
    given_up: bool = False
    asked: int = 0


class Holders:
    """The state of one fetch. A refusal is final; a lost or late answer or BUSY costs a short pause."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._records: dict[NodeId, _Record] = {}

    def failed(self, node: NodeId, error: PeerError | RequestError) -> None:
        """Note that `node` did not give what it was asked for."""
        record = self._records.setdefault(node, _Record())
        record.reason = str(error)
        if isinstance(error, PeerError) and error.rejection is not Rejection.BUSY:
            record.given_up = True
        elif record.not_before <= self._now():
            # What else was in flight to a holder fails with it: that is one failure, not several.
            record.failures += 1
            record.given_up = record.failures >= MAX_TRIES
            record.not_before = Millis(self._now() + FIRST_BACKOFF * 2 ** (record.failures - 1))

    def answered(self, node: NodeId) -> None:
        """Note that `node` gave what it was asked for."""
        record = self._records.setdefault(node, _Record())
        record.failures = 0
        record.asked += 1

    def usable(self, nodes: Sequence[NodeId]) -> tuple[NodeId, ...]:
        """Those of `nodes` that may be asked now, the least asked first."""
        now = self._now()
        able = [node for node in nodes if not self._given_up(node) and self._record(node).not_before <= now]
        return tuple(sorted(able, key=lambda node: self._record(node).asked))

    def is_usable(self, node: NodeId) -> bool:
        """Whether `node` may be asked now."""
        return bool(self.usable((node,)))

    async def someone(self, nodes: Callable[[], Sequence[NodeId]], what: str) -> NodeId:
        """A node to ask next; waits for one that is paused. Raises RequestError with the whole story if nobody is left."""
        while True:
            named = nodes()
            able = self.usable(named)
            if able:
                return able[0]
            paused = [self._record(node).not_before for node in named if not self._given_up(node)]
            if not paused:
                raise RequestError(f"{what}: nobody gave it: {self.story()}")
            await asyncio.sleep(max(1, min(paused) - self._now()) / 1000)

    def story(self) -> str:
        """Who was asked and what each said."""
        told = [f"{short(node)}: {record.reason or 'no answer yet'}" for node, record in self._records.items()]
        more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        return "; ".join(told[:_TOLD]) + more if told else "no holder is known"

    def _record(self, node: NodeId) -> _Record:
        return self._records.get(node) or _Record()

    def _given_up(self, node: NodeId) -> bool:
        return self._record(node).given_up
