"""Maintenance and following against a real memory store; network and worker are the fakes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from bflcd.config import StoreSection
from bflcd.core.events import SyncChanged
from bflcd.core.node_events import EventKind
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import MachineError, RequestError
from bflcd.learn.health import WorkHealth
from bflcd.learn.protocol import EvaluateJob, EvaluateResult
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.maintenance import Maintenance
from bflcd.params import BlobRef
from bflcd.scheduler import ASYNCIO
from bflcd.store.memory import MemoryStore
from bflcd.store.protocol import DamagedBlobError, PruneReport
from bflcd.types import Digest, Height, Round, short
from bflcd.wire.blocks import header_hash
from tests.helpers.ledger import make_genesis

GENESIS, IDENTITIES = make_genesis(last_round=1)
HEADER, STATE = genesis_header(GENESIS), genesis_state(GENESIS)
CONTEXT = RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), STATE), IDENTITIES[0].node_id)


class Around:
    """What maintenance and follower ask of the node: inbox, network, unpublished updates."""

    def __init__(self) -> None:
        self.core = SimpleNamespace(context=CONTEXT, syncing=False)
        self.forgotten: list[Round] = []
        self.settled: list[object] = []

    def connected(self) -> tuple[()]:
        return ()

    def forget(self, before: Round) -> None:
        self.forgotten.append(before)

    async def settle(self, event: object) -> None:
        self.settled.append(event)


class Shown:
    """What status shows of it."""

    def __init__(self) -> None:
        self.told: list[tuple[EventKind, str]] = []
        self.test_accuracy: float | None = None
        self.looks = 0
        self.models = SimpleNamespace(look_anew=lambda: None)

    def tell(self, kind: EventKind, _: int, text: str, **__: object) -> None:
        self.told.append((kind, text))

    async def refresh(self) -> None:
        self.looks += 1


def maintenance_of(store: MemoryStore, fetcher: object, around: Around, shown: Shown, **settings: object) -> Maintenance:
    return Maintenance(
        StoreSection(**settings),
        store,
        core=around.core,
        unpublished=around,
        network=around,
        fetcher=fetcher,
        compute=Worker(),
        measures=shown,
        tell=shown.tell,
        on_look=lambda: None,
    )


class Fetcher:
    """Puts back what was lost."""

    def __init__(self, store: MemoryStore, data: bytes) -> None:
        self.store, self.data, self.fetched = store, data, 0

    async def fetch(self, blob: BlobRef, holders: object, *, deadline: float) -> None:
        self.fetched += 1
        await self.store.put_blob(self.data)


class Worker:
    ready = object()
    health = WorkHealth(lambda: 0.0)

    async def evaluate(self, job: EvaluateJob) -> EvaluateResult:
        return EvaluateResult(accuracy=910_000, loss=None, rows=10)  # type: ignore[arg-type]


@pytest.fixture
async def store() -> MemoryStore:
    found = MemoryStore()
    await found.initialise(GENESIS, HEADER, STATE)
    return found


@asynccontextmanager
async def keeping(store: MemoryStore, fetcher: Fetcher, **settings: object) -> AsyncIterator[tuple[Maintenance, Around, Shown]]:
    around, shown = Around(), Shown()
    maintenance = maintenance_of(store, fetcher, around, shown, **settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(maintenance.run())
        yield maintenance, around, shown
        task.cancel()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_two_prunes_never_run_at_once(store, monkeypatch) -> None:
    """Given rounds that close faster than a prune ends, then prunes follow each other, and the last closed round counts."""
    running, most, done = 0, 0, 0

    async def prune(keep: int, *, dry_run: bool) -> PruneReport:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running, done = running - 1, done + 1
        return PruneReport(Height(0), Round(0), 0, 0, 0)

    monkeypatch.setattr(store, "prune", prune)
    async with keeping(store, Fetcher(store, b"x"), mode="pruned", keep=2) as (maintenance, runtime, _):
        for round_ in range(1, 6):
            maintenance.round_closed(Round(round_))
            await asyncio.sleep(0.02)
        await until(lambda: runtime.forgotten[-1:] == [5] and running == 0)
    assert most == 1
    assert done >= 2


async def test_a_prune_that_removes_something_is_told(store, monkeypatch) -> None:
    """Given a pruned node, when rounds close, then it tells of payloads that went, and of a prune that found none to go says nothing."""
    reports = [PruneReport(Height(13), Round(2), 9, 90_000, 98_304), PruneReport(Height(13), Round(2), 0, 0, 0)]

    async def prune(keep: int, *, dry_run: bool) -> PruneReport:
        return reports.pop(0)

    monkeypatch.setattr(store, "prune", prune)
    async with keeping(store, Fetcher(store, b"x"), mode="pruned", keep=2) as (maintenance, _, shown):
        for round_ in (4, 5):
            maintenance.round_closed(Round(round_))
            await until(lambda left=5 - round_: len(reports) == left)
    assert shown.told == [(EventKind.PRUNED, "9 payloads up to height 13 were removed, 98304 bytes returned to the disk")]


async def test_a_damaged_payload_is_named_dropped_and_fetched_again(store) -> None:
    data = b"a payload"
    ref = await store.put_blob(data)
    fetcher = Fetcher(store, data)
    async with keeping(store, fetcher) as (maintenance, _, shown):
        maintenance.damaged(ref.root, DamagedBlobError(ref.root, 0))
        await until(lambda: fetcher.fetched == 1)
        await until(lambda: shown.looks >= 1)
    assert shown.told == [
        (EventKind.BLOB_DAMAGED, str(DamagedBlobError(ref.root, 0))),
        (EventKind.BLOB_MENDED, f"the damaged payload {short(ref.root)} was fetched again"),
    ]
    assert await store.blob(ref.root) == data


async def test_a_payload_whose_manifest_is_damaged_too_is_fetched_by_its_block(store, monkeypatch) -> None:
    """Given a payload that block 0 names, when its manifest can't be read, then its address comes from the chain, and the node lives."""
    model = b"the initial model"
    ref = await store.put_blob(model)

    async def manifest(root: Digest) -> None:
        raise MachineError(f"the manifest of blob {root.hex()} is not what was written", code="damaged_store")

    fetcher = Fetcher(store, model)
    monkeypatch.setattr(store, "manifest", manifest)
    async with keeping(store, fetcher) as (maintenance, _, shown):
        maintenance.damaged(ref.root, DamagedBlobError(ref.root, 0))
        await until(lambda: fetcher.fetched == 1 and shown.looks >= 1)
    assert ref == GENESIS.model
    assert await store.blob(ref.root) == model


async def test_the_finished_model_is_measured_once_it_is_here_and_damage_does_not_end_the_node(store, monkeypatch) -> None:
    """Given a community at its end whose model is damaged here, then it is fetched again, and measured after that."""
    model = b"the initial model"
    finished = RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), STATE), IDENTITIES[0].node_id)
    monkeypatch.setattr(RoundContext, "finished", property(lambda _: True))
    monkeypatch.setattr("bflcd.node.maintenance.REFRESH", 0.05)
    assert (await store.put_blob(model)).root == finished.head_blob.root
    whole, damaged = store.blob, [True]

    async def blob(root: Digest) -> bytes | None:
        if damaged[0]:
            raise DamagedBlobError(root, 0)
        return await whole(root)

    monkeypatch.setattr(store, "blob", blob)
    fetcher = Fetcher(store, model)
    async with keeping(store, fetcher) as (_, _, shown):
        await until(lambda: fetcher.fetched >= 1)
        damaged[0] = False
        await until(lambda: shown.test_accuracy == 0.91)


async def test_a_claim_that_nobody_can_prove_never_takes_the_node_out_of_its_round() -> None:
    """Given a member that claims round 1000 and proves nothing, when the node asks, then it goes on with its round meanwhile."""
    around, claims, asked = Around(), RoundClaims(lambda: None), []

    class Exchange:
        async def ask(self, peer: object, request: object, *, deadline: float) -> object:
            asked.append(request)
            raise RequestError("silence")

    follower = Follower(
        around.core,
        claims,
        inbox=around,
        exchange=Exchange(),
        store=MemoryStore(),
        fetch=Fetcher(MemoryStore(), b"x").fetch,
        verify=lambda _: True,
        scheduler=ASYNCIO,
        on_misbehaviour=lambda *_: None,
        on_progress=lambda *_: None,
        signing=SigningGuard(),
    )
    claims.note(IDENTITIES[1].node_id, Round(1000))
    await follower.follow()
    assert len(asked) >= 1
    assert around.settled == [SyncChanged(active=False)]


def test_claims_rise_by_hints_and_forget_who_is_gone() -> None:
    told: list[None] = []
    claims = RoundClaims(lambda: told.append(None))
    one, two = IDENTITIES[1].node_id, IDENTITIES[2].node_id
    claims.note(one, Round(5))
    claims.hint(two, Round(3))
    claims.hint(one, Round(2))
    assert (claims.highest(), claims.all()) == (5, {one: 5, two: 3})
    claims.forget(one)
    assert claims.all() == {two: 3}
    assert len(told) == 3


async def test_looks_at_a_large_store_take_a_fiftieth_of_the_time(store: MemoryStore) -> None:
    """Given a store whose sizes take a second to read, when rounds close all the time, then they are read each 50 s."""
    now = [0.0]

    class Slow(Shown):
        async def refresh(self) -> None:
            await super().refresh()
            now[0] += 1.0

    shown = Slow()
    maintenance = maintenance_of(store, Fetcher(store, b""), Around(), shown)
    maintenance._clock = lambda: now[0]
    for _ in range(100):
        await maintenance._look()
        now[0] += 1.0
    assert shown.looks == 3  # at 0, 50 and 100
