"""What crosses chain side and payload store, whatever either is made of: reliance, pruning, sizes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bflcd.core.records import Pin
from bflcd.store.blobs import manifest_of
from bflcd.store.block_store import BlockStore
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.memory import MemoryChain, MemoryStore
from bflcd.store.protocol import MissingPayloadError, PruneReport
from bflcd.store.sqlite import SqliteStore
from bflcd.store.sqlite_chain import SqliteChain
from bflcd.types import CHUNK_BYTES, Height, Round
from tests.helpers.directory_payloads import DirectoryPayloads
from tests.helpers.store import (
    all_kinds,
    begin,
    extend,
    make_proposal,
    own_card,
    own_offer,
    payload,
    put_in_chunks,
    ref,
    round_payloads,
)


@pytest.fixture(params=["memory", "sqlite", "sqlite and a directory", "memory and a directory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlockStore]:
    opened = await open_store(request.param, tmp_path)
    yield opened
    await opened.close()
    await opened.close()


async def open_store(kind: str, directory: Path) -> BlockStore:
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return await SqliteStore.open(directory)
    chain = MemoryChain() if kind.startswith("memory") else SqliteChain(await Database.open(directory / FILE_NAME))
    return BlockStore(chain, DirectoryPayloads(directory / "payloads"))


async def held(store: BlockStore, *payloads: bytes) -> list[bool]:
    return [await store.has_blob(ref(data).root) for data in payloads]


async def test_a_dropped_blob_that_a_block_needs_is_missing_until_it_comes_again(store: BlockStore) -> None:
    await extend(store, await begin(store), 3)
    data = round_payloads(1)[0]
    assert (await store.stats()).oldest_payload == 0
    await store.drop_blob(ref(data).root)
    assert await held(store, data) == [False]
    assert (await store.stats()).oldest_payload == 3
    await put_in_chunks(store, data)
    assert (await store.stats()).oldest_payload == 0
    assert await store.blob(ref(data).root) == data


async def test_a_segment_may_be_committed_without_its_payloads(store: BlockStore) -> None:
    chain = await begin(store)
    chain, certified = chain.next(*round_payloads(0))
    await store.commit(certified, chain.state)
    assert (await store.stats()).oldest_payload == 2
    for data in round_payloads(0):
        await put_in_chunks(store, data)
    stats = await store.stats()
    assert (stats.blobs, stats.payload_bytes, stats.oldest_payload) == (4, 4 * 300, 0)


async def test_records_are_stored_only_with_the_payloads_that_they_rely_on(store: BlockStore) -> None:
    await begin(store)
    here, gone = await store.put_blob(payload("here")), ref(payload("gone"))
    with pytest.raises(MissingPayloadError) as caught:
        await store.persist([own_card(0, here.root, gone.root)], [here.root, gone.root])
    assert caught.value.roots == (gone.root,)
    assert (await store.records(Round(0))).own == ()
    await put_in_chunks(store, payload("gone"))
    await store.persist([own_card(0, here.root, gone.root)], [here.root, gone.root])
    assert (await store.records(Round(0))).own == (own_card(0, here.root, gone.root),)


class TestPruning:
    async def test_payloads_of_old_rounds_go_and_blocks_stay(self, store: BlockStore) -> None:
        chain, committed = await extend(store, await begin(store), 5)
        report = await store.prune(2, dry_run=True)
        assert report == PruneReport(Height(11), Round(4), 12, 12 * 300, 12 * 300)
        assert (await store.stats()).blobs == 16
        report = await store.prune(2, dry_run=False)
        assert (report.height, report.round, report.blobs, report.payload_bytes) == (11, 4, 12, 3600)
        assert await held(store, payload("model 0"), *(data for r in range(3) for data in round_payloads(r))) == [False] * 10
        # The model of round t + 1 is made in round t.
        assert await held(store, *round_payloads(3)) == [True, False, False]
        assert await held(store, *round_payloads(4)) == [True] * 3
        assert [await store.segment(Round(r)) for r in range(1, 6)] == committed
        assert len(await store.headers(Round(1), 9)) == 5
        assert (await store.stats()).oldest_payload == 4
        assert (await store.prune(2, dry_run=False)).blobs == 0
        assert (await store.head()).header == chain.header

    async def test_the_head_is_never_pruned(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 3)
        await store.prune(1, dry_run=False)
        assert await held(store, *round_payloads(2)) == [True, False, False]
        for keep in (0, -1):
            with pytest.raises(ValueError, match="at least 1"):
                await store.prune(keep, dry_run=False)

    async def test_the_model_of_empty_rounds_stays(self, store: BlockStore) -> None:
        chain, _ = await extend(store, await begin(store), 2)
        for _ in range(4):
            chain, certified = chain.next(None)
            await store.commit(certified, chain.state)
        await store.prune(1, dry_run=False)
        assert await held(store, *round_payloads(1)) == [True, False, False]
        assert await store.blob((chain.header.blob or ref(b"")).root) == round_payloads(1)[0]

    async def test_pins_and_records_keep_blobs(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 4)
        pinned, offered, carded, proposed, model = (round_payloads(r)[0] for r in (0, 1, 2, 1, 2))
        offered, proposed, model = (round_payloads(r)[1] for r in (0, 1, 2))
        records = [
            Pin(ref(pinned).root, Round(4)),
            own_offer(4, ref(offered)),
            own_card(4, ref(carded).root),
            make_proposal(4, ref(model), ref(proposed)),
        ]
        await store.persist(records)
        await store.prune(1, dry_run=False)
        assert await held(store, pinned, offered, carded, proposed, model, round_payloads(0)[2]) == [True] * 5 + [False]

    async def test_offers_that_lost_are_discarded(self, store: BlockStore) -> None:
        chain = await begin(store)
        lost, pinned, own, partial = (payload(name, 2 * CHUNK_BYTES) for name in ("lost", "pinned", "own", "partial"))
        for data in (lost, pinned, own):
            await store.put_blob(data)
        await store.start_blob(manifest_of(partial))
        await store.put_chunk(ref(partial).root, 0, partial[:CHUNK_BYTES])
        await store.discard_stale(Round(0))
        assert await held(store, lost, pinned, own) == [True] * 3
        await store.persist([Pin(ref(pinned).root, Round(1)), own_offer(1, ref(own))])
        await extend(store, chain, 1)
        fresh = payload("fresh")
        await store.put_blob(fresh)
        await store.discard_stale(Round(1))
        assert await held(store, lost, pinned, own, fresh, *round_payloads(0)) == [False, True, True, True, True, True, True]
        assert await store.start_blob(manifest_of(partial)) == (0, 1)

    async def test_a_pruned_blob_can_come_again(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 3)
        await store.prune(1, dry_run=False)
        data = round_payloads(0)[1]
        await put_in_chunks(store, data)
        assert await store.blob(ref(data).root) == data
        assert (await store.prune(1, dry_run=False)).blobs == 1


async def test_a_sound_store_has_no_damage(store: BlockStore) -> None:
    chain, _ = await extend(store, await begin(store), 2)
    await store.persist(all_kinds(chain.round, ref(b"model"), ref(b"update")))
    await store.start_blob(manifest_of(payload("partial", 3 * CHUNK_BYTES)))
    assert await store.check(deep=False) == ()
    assert await store.check(deep=True) == ()
