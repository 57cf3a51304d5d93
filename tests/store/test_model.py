"""The SQLite store against the one in memory as its model: any order of calls, restarts and crashes between them (row 17)."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from bflcd.core.records import Pin, Record
from bflcd.errors import BflcError
from bflcd.store.blobs import manifest_of
from bflcd.store.block_store import BlockStore
from bflcd.store.memory import MemoryStore
from bflcd.store.protocol import PruneReport
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES, Round
from bflcd.wire.messages import Commit, Prepare
from tests.helpers.store import (
    Chain,
    make_prepared,
    make_proposal,
    make_vote,
    node,
    own_card,
    own_offer,
    payload,
    ref,
    round_payloads,
)
from tests.helpers.store_damage import Files, quick_place

NAMES: Final = ("a", "b", "c", "large")
PAYLOADS: Final = {name: payload(f"free {name}", CHUNK_BYTES + 9 if name == "large" else 700) for name in NAMES}
"""Payloads that any call may name; one of two chunks."""

KINDS: Final = ("vote", "commit vote", "prepared", "offer", "card", "proposal", "pin")


def record(kind: str, round_: int, variant: int, name: str) -> Record:
    """A record; two variants of one kind contradict each other in most places."""
    blob = ref(round_payloads(round_)[1] if name == "update" else PAYLOADS[name])
    digest = bytes([variant]) * 32
    match kind:
        case "vote":
            return make_vote(round_, digest, kind=Prepare)
        case "commit vote":
            return make_vote(round_, digest, view=variant, kind=Commit)
        case "prepared":
            return make_prepared(round_, digest=digest)
        case "offer":
            return own_offer(round_, blob, samples=variant + 1)
        case "card":
            return own_card(round_, blob.root)
        case "proposal":
            return make_proposal(round_, ref(PAYLOADS["a"]), blob, digest=digest)
        case _:
            return Pin(blob.root, Round(round_))


def pruned(report: PruneReport) -> tuple[int, ...]:
    """What both stores count alike: bytes given back to the disk are the file's own."""
    return report.height, report.round, report.blobs, report.payload_bytes


class StoreMachine(RuleBasedStateMachine):
    """Each rule does the same to both stores and compares what they answer, errors too."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = ExitStack()
        self.place = self.folder.enter_context(quick_place())
        self.starts = 0
        self.model: BlockStore = MemoryStore()
        self.real: BlockStore = self.await_(SqliteStore.open(self.directory))
        self.chain = Chain.start()

    @property
    def directory(self) -> Path:
        return self.place / str(self.starts)

    def await_(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def both(self, call: Callable[[BlockStore], Awaitable[Any]], shown: Callable[[Any], Any] = lambda value: value) -> Any:
        """What both answer, or how both refuse."""

        async def outcome(store: BlockStore) -> Any:
            try:
                return shown(await call(store))
            except (BflcError, ValueError, LookupError) as error:
                return type(error), getattr(error, "code", None)

        expected, found = self.await_(outcome(self.model)), self.await_(outcome(self.real))
        assert found == expected
        return found

    @initialize(blob=st.booleans())
    def begin(self, blob: bool) -> None:
        if blob:
            self.both(lambda store: store.put_blob(payload("model 0")))
        self.both(lambda store: store.initialise(self.chain.genesis, self.chain.header, self.chain.state))

    @rule(held=st.integers(0, 3), empty=st.booleans())
    def commit(self, held: int, empty: bool) -> None:
        """A segment of which the first `held` payloads are here; or an empty one, which names its parent's model."""
        blobs = round_payloads(self.chain.round)
        for data in blobs[:held]:
            self.both(lambda store, data=data: store.put_blob(data))
        after, certified = self.chain.next(None) if empty else self.chain.next(*blobs)
        self.both(lambda store: store.commit(certified, after.state))
        self.chain = after
        self.both(lambda store: store.commit(certified, after.state))  # once more: refused by both

    @rule(
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
        back=st.integers(-1, 1),
        variant=st.integers(0, 1),
        name=st.sampled_from((*NAMES, "update")),
    )
    def persist(self, kinds: list[str], back: int, variant: int, name: str) -> None:
        """Records of the running round, the next, or one that is decided."""
        round_ = max(0, self.chain.round - back)
        self.both(lambda store: store.persist([record(kind, round_, variant, name) for kind in kinds]))

    @rule(name=st.sampled_from(NAMES))
    def put_blob(self, name: str) -> None:
        self.both(lambda store: store.put_blob(PAYLOADS[name]))

    @rule(name=st.sampled_from(NAMES), index=st.integers(0, 2), started=st.booleans(), short=st.booleans())
    def put_chunk(self, name: str, index: int, started: bool, short: bool) -> None:
        """A chunk of a blob; sometimes of one that was never started, or of a wrong length."""
        manifest = manifest_of(PAYLOADS[name])
        if started:
            self.both(lambda store: store.start_blob(manifest))
        data = PAYLOADS[name][index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        self.both(lambda store: store.put_chunk(manifest.blob.root, index, data[1:] if short else data))

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        self.both(lambda store: store.drop_blob(ref(PAYLOADS[name]).root))

    @rule(keep=st.integers(0, 3), dry_run=st.booleans())
    def prune(self, keep: int, dry_run: bool) -> None:
        self.both(lambda store: store.prune(keep, dry_run=dry_run), pruned)

    @rule(back=st.integers(0, 2))
    def discard_stale(self, back: int) -> None:
        self.both(lambda store: store.discard_stale(Round(max(0, self.chain.round - back))))

    @rule(number=st.integers(1, 3))
    def remember_address(self, number: int) -> None:
        self.both(lambda store: store.remember_address(node(number), f"/ip4/127.0.0.1/tcp/{number}"))

    @precondition(lambda self: self.starts < 12)
    @rule(orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        """Close and open again; or go on with what a crash at this instant would leave on the disk."""
        if orderly:
            self.await_(self.real.close())
            self.real = self.await_(SqliteStore.open(self.directory))
            return
        left, old, before = Files.of(self.directory), self.real, self.directory
        self.starts += 1
        self.real = self.await_(SqliteStore.open(left.put(self.directory)))
        self.await_(old.close())
        shutil.rmtree(before)

    @invariant()
    def same(self) -> None:
        """Both answer every question alike."""
        if not hasattr(self, "chain") or self.await_(self.model.genesis()) is None:
            return
        self.both(lambda store: store.genesis())
        self.both(lambda store: store.head())
        self.both(lambda store: store.headers(Round(1), 50))
        self.both(lambda store: store.unpublished(), set)
        self.both(lambda store: store.addresses())
        self.both(lambda store: store.prune(1, dry_run=True), pruned)
        self.both(lambda store: store.stats(), lambda stats: (stats.blobs, stats.payload_bytes, stats.oldest_payload))
        for round_ in {max(0, self.chain.round - 1), self.chain.round, self.chain.round + 1}:
            self.both(lambda store, round_=round_: store.segment(Round(round_)))
            self.both(lambda store, round_=round_: store.records(Round(round_)))
        for data in PAYLOADS.values():
            self.both(lambda store, data=data: store.manifest(ref(data).root))
            self.both(lambda store, data=data: store.blob(ref(data).root))

    def teardown(self) -> None:
        try:
            assert self.await_(self.real.check(deep=True)) == ()
        finally:
            self.await_(self.real.close())
            self.loop.close()
            self.folder.close()


def test_sqlite_answers_as_memory_does_whatever_happens_between() -> None:
    """Given any order of calls, restarts and crashes, then the store on the disk answers each question as the one in memory."""
    few = settings(max_examples=10, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(StoreMachine, settings=few)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sqlite_answers_as_memory_does_for_long() -> None:
    """As above, many more and longer."""
    many = settings(max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(StoreMachine, settings=many)
