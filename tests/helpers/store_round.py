"""One round of a node as its store sees it, write by write: what is acknowledged, and how it goes on after a failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bflcd.core.records import OwnRecord, Pin, VoteRecord
from bflcd.core.signing_guard import Mark, holds
from bflcd.store.marks import MarkFile
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round, View
from bflcd.wire.envelope import payload_digest
from bflcd.wire.messages import Commit
from tests.helpers.store import (
    Chain,
    make_proposal,
    make_vote,
    own_card,
    own_offer,
    payload,
    put_in_chunks,
    ref,
    round_payloads,
)

SIZE = 70_000
"""Bytes of a payload: some pages."""


@dataclass(slots=True)
class StoredRound:
    """Every write of a round, in order. `sent`: marks of the signatures that were allowed to leave."""

    store: SqliteStore
    marks: MarkFile
    chain: Chain
    done: int = 0
    sent: list[Mark] = field(default_factory=list)

    async def play(self) -> Chain:
        """The writes that are not done yet; the chain after the round. Raises what the first that fails raises."""
        round_ = self.chain.round
        blobs = round_payloads(round_, SIZE)
        offer, card = own_offer(round_, ref(blobs[1])), own_card(round_, ref(blobs[1]).root, ref(blobs[2]).root)
        proposal = make_proposal(round_, ref(blobs[0]), ref(blobs[1]), ref(blobs[2]))
        after, certified = self.chain.next(*blobs)
        steps: list[Callable[[], Awaitable[object]]] = [
            lambda: self.store.put_blob(blobs[1]),
            lambda: self._sign(offer),
            lambda: put_in_chunks(self.store, blobs[2]),
            lambda: self._sign(card),
            lambda: self.store.put_blob(blobs[0]),
            lambda: self.store.persist([proposal, Pin(ref(blobs[0]).root, round_)]),
            lambda: self._sign(make_vote(round_)),
            lambda: self._sign(make_vote(round_, kind=Commit)),
            lambda: self.store.put_blob(payload(f"an offer that loses {round_}", SIZE)),
            lambda: self.store.commit(certified, after.state),
            lambda: self.store.remember_address(self.chain.state.committee[0], f"/ip4/127.0.0.1/tcp/{round_}"),
            lambda: self.store.discard_stale(Round(round_ + 1)),
            lambda: self.store.prune(2, dry_run=False),
        ]
        for step in steps[self.done :]:
            await step()
            self.done += 1
        return after

    async def _sign(self, record: VoteRecord | OwnRecord) -> None:
        """As the runtime does it: database, mark file, and only then the network."""
        await self.store.persist([record])
        mark = (
            Mark(record.epoch, record.round, record.view, record.phase, record.digest)
            if isinstance(record, VoteRecord)
            else Mark(record.epoch, record.round, View(0), record.phase, payload_digest(record.envelope))
        )
        await self.marks.write(mark)
        self.sent.append(mark)

    async def check(self, store: SqliteStore) -> None:
        """Whatever was acknowledged is there, and nothing contradicts what was sent."""
        head = await store.head()
        committed = self.done >= 10
        assert head.header.round in ({self.chain.round + 1} if committed else {self.chain.round, self.chain.round + 1})
        if head.header.round == self.chain.round:
            records = await store.records(self.chain.round)
            assert all(holds(mark, records) for mark in self.sent)
        assert await store.check(deep=True) == ()
