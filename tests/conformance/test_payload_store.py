"""What every `PayloadStore` must do, whatever it is made of."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bflcd.store.blobs import SqlitePayloads, manifest_of
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.memory_payloads import MemoryPayloads
from bflcd.store.protocol import HeldPayload, MissingPayloadError, PayloadStore
from bflcd.types import CHUNK_BYTES, Digest, Round
from tests.helpers.directory_payloads import DirectoryPayloads, WatchedDirectory
from tests.helpers.forgetful_payloads import ForgetfulPayloads
from tests.helpers.store import (
    payload,
    ref,
)

ROUND = Round(3)

KINDS = ("memory", "sqlite", "directory", "forgetful")


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PayloadStore]:
    opened = await open_payloads(request.param, tmp_path)
    yield opened
    await opened.close()
    await opened.close()


async def open_payloads(kind: str, directory: Path) -> PayloadStore:
    match kind:
        case "memory":
            return MemoryPayloads()
        case "sqlite":
            return SqlitePayloads(await Database.open(directory / FILE_NAME))
        case "directory":
            return DirectoryPayloads(directory / "payloads")
        case _:
            return ForgetfulPayloads()


async def drop(store: PayloadStore, root: Digest) -> None:
    listed = await store.entry(root)
    assert listed is not None
    while not await store.drop_some(listed):
        assert not await store.has_blob(root)


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 7])
async def test_a_blob_is_found_again_whole_and_by_chunks(store: PayloadStore, size: int) -> None:
    data = payload("blob", size)
    blob = await store.put_blob(data, ROUND)
    assert blob == ref(data)
    assert await store.put_blob(data, ROUND) == blob
    assert await store.has_blob(blob.root)
    assert await store.blob(blob.root) == data
    assert await store.manifest(blob.root) == manifest_of(data)
    chunks = [await store.chunk(blob.root, index) for index in range(-(-size // CHUNK_BYTES))]
    assert b"".join(chunk for chunk in chunks if chunk is not None) == data
    assert await store.chunk(blob.root, len(chunks)) is None
    assert await store.chunk(blob.root, -1) is None


async def test_chunks_come_in_any_order_and_twice(store: PayloadStore) -> None:
    data = payload("blob", 2 * CHUNK_BYTES + 5)
    manifest, parts = manifest_of(data), [data[:CHUNK_BYTES], data[CHUNK_BYTES : 2 * CHUNK_BYTES], data[2 * CHUNK_BYTES :]]
    root = manifest.blob.root
    assert await store.start_blob(manifest, ROUND) == (0, 1, 2)
    assert await store.put_chunk(root, 2, parts[2]) is False
    assert await store.put_chunk(root, 2, parts[2]) is False
    assert await store.start_blob(manifest, ROUND) == (0, 1)
    assert (await store.has_blob(root), await store.blob(root), await store.chunk(root, 2), await store.manifest(root)) == (
        False,
        None,
        None,
        None,
    )
    assert await store.put_chunk(root, 0, parts[0]) is False
    assert await store.put_chunk(root, 1, parts[1]) is True
    assert await store.put_chunk(root, 1, parts[1]) is True
    assert await store.start_blob(manifest, ROUND) == ()
    assert await store.blob(root) == data


async def test_chunks_that_come_together_are_each_answered_for_themselves(store: PayloadStore) -> None:
    """Given chunks of two blobs, a wrong one and one of no blob, all given at once, Then each is told its own lot."""
    names = {"one": payload("one", 3 * CHUNK_BYTES + 5), "other": payload("other", 2 * CHUNK_BYTES)}
    roots = {name: ref(data).root for name, data in names.items()}
    for data in names.values():
        await store.start_blob(manifest_of(data), ROUND)
    given = [(roots[name], at, data[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES]) for name, data in names.items() for at in (0, 1)]
    wrong, unknown = (roots["one"], 2, b"short"), (Digest(bytes(32)), 0, b"of no blob")
    last = (roots["one"], 2, names["one"][2 * CHUNK_BYTES : 3 * CHUNK_BYTES])
    puts = [store.put_chunk(*put) for put in (*given[:2], wrong, unknown, *given[2:], last)]
    told = await asyncio.gather(*puts, return_exceptions=True)
    assert [answer if isinstance(answer, bool) else type(answer) for answer in told] == [
        *(False, False, ValueError, KeyError, False, True, False)
    ]
    assert await store.start_blob(manifest_of(names["one"]), ROUND) == (3,)
    assert await store.blob(roots["other"]) == names["other"]


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 8, 16])
async def test_who_gives_up_a_chunk_costs_nobody_elses(store: PayloadStore, steps: int) -> None:
    """Given chunks that come together, when the first is cancelled at any of its steps, then all others are stored."""
    data = payload("blob", 5 * CHUNK_BYTES + 5)
    root = ref(data).root
    await store.start_blob(manifest_of(data), ROUND)
    async with asyncio.TaskGroup() as group:
        puts = [group.create_task(store.put_chunk(root, at, data[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES])) for at in range(6)]
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        puts[0].cancel()
    assert await store.start_blob(manifest_of(data), ROUND) in ((0,), ())
    assert await store.put_chunk(root, 0, data[:CHUNK_BYTES])
    assert await store.blob(root) == data


async def test_what_does_not_belong_to_a_blob_is_refused(store: PayloadStore) -> None:
    manifest = manifest_of(payload("blob", CHUNK_BYTES + 5))
    with pytest.raises(KeyError):
        await store.put_chunk(manifest.blob.root, 0, bytes(CHUNK_BYTES))
    await store.start_blob(manifest, ROUND)
    for index, size in ((0, 5), (1, 6), (1, CHUNK_BYTES), (2, 5), (-1, 5)):
        with pytest.raises(ValueError, match="chunk"):
            await store.put_chunk(manifest.blob.root, index, bytes(size))
    assert await store.start_blob(manifest, ROUND) == (0, 1)


async def test_an_unknown_blob_is_absent(store: PayloadStore) -> None:
    root = Digest(b"u" * 32)
    found = (await store.has_blob(root), await store.manifest(root), await store.chunk(root, 0), await store.blob(root))
    assert found == (False, None, None, None)
    assert await store.entry(root) is None
    assert await store.complete([root]) == frozenset()


async def test_only_complete_payloads_are_made_durable(store: PayloadStore) -> None:
    await store.make_durable([])
    whole = await store.put_blob(payload("whole"), ROUND)
    await store.make_durable([whole.root])
    await store.make_durable([whole.root, whole.root])
    partial, unknown = manifest_of(payload("partial", CHUNK_BYTES + 1)), Digest(b"u" * 32)
    await store.start_blob(partial, ROUND)
    await store.put_chunk(partial.blob.root, 1, payload("partial", CHUNK_BYTES + 1)[CHUNK_BYTES:])
    with pytest.raises(MissingPayloadError) as caught:
        await store.make_durable([whole.root, partial.blob.root, unknown])
    assert isinstance(caught.value, LookupError)
    assert caught.value.roots == (partial.blob.root, unknown)


async def test_what_is_held_is_listed_in_the_order_in_which_it_came(store: PayloadStore) -> None:
    first, second = await store.put_blob(payload("first"), ROUND), manifest_of(payload("second", CHUNK_BYTES + 1))
    await store.start_blob(second, Round(4))
    one, two = await store.held()
    assert (one.root, one.size, one.begun) == (first.root, 300, 3)
    assert (two.root, two.size, two.begun) == (second.blob.root, CHUNK_BYTES + 1, 4)
    assert await store.held(after=one.number) == (two,)
    assert await store.entry(first.root) == one
    assert await store.complete([first.root, second.blob.root]) == {first.root}
    assert await store.totals() == (1, 300)
    await store.put_blob(payload("first"), Round(5))
    assert await store.entry(first.root) == HeldPayload(one.number, first.root, 300, Round(5))


async def test_a_number_is_not_given_twice(store: PayloadStore) -> None:
    await store.put_blob(payload("first"), ROUND)
    newest = await store.put_blob(payload("newest"), ROUND)
    number = (await store.held())[-1].number
    await drop(store, newest.root)
    await store.put_blob(payload("newest"), ROUND)
    assert [item.root for item in await store.held(after=number)] == [newest.root]


async def test_a_payload_is_incomplete_from_the_first_step_of_its_deletion_on(store: PayloadStore) -> None:
    """Given a deletion that was cut short, when the payload is dropped or fetched again, then nothing of the old is in the way."""
    data = payload("large", 5 * CHUNK_BYTES + 1)
    root = (await store.put_blob(data, ROUND)).root
    listed = await store.entry(root)
    assert listed is not None
    await store.drop_some(listed)
    assert not await store.has_blob(root)
    assert (await store.blob(root), await store.manifest(root)) == (None, None)
    for index in await store.start_blob(manifest_of(data), ROUND):
        await store.put_chunk(root, index, data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES])
    assert await store.blob(root) == data
    await drop(store, root)
    assert (await store.held(), await store.totals()) == ((), (0, 0))
    assert await store.return_space() >= 0
    assert await store.drop_some(listed)


async def test_what_was_begun_anew_is_not_dropped(store: PayloadStore) -> None:
    data = payload("wanted again")
    blob = await store.put_blob(data, ROUND)
    listed = await store.entry(blob.root)
    assert listed is not None
    await store.start_blob(manifest_of(data), Round(4))
    assert await store.drop_some(listed)
    assert await store.blob(blob.root) == data


async def test_a_sound_store_has_no_damage(store: PayloadStore) -> None:
    await store.put_blob(payload("whole", CHUNK_BYTES + 7), ROUND)
    await store.start_blob(manifest_of(payload("partial")), ROUND)
    assert await store.check(deep=False) == ()
    assert await store.check(deep=True) == ()


class TestPowerLoss:
    """Stores on a disk that writes nothing unless it must."""

    @pytest.fixture(params=["memory", "directory"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> ForgetfulPayloads | WatchedDirectory:
        return ForgetfulPayloads() if request.param == "memory" else WatchedDirectory(tmp_path / "payloads")

    async def test_what_was_made_durable_is_all_that_must_be_left(self, store: ForgetfulPayloads | WatchedDirectory) -> None:
        data = payload("relied on", 2 * CHUNK_BYTES + 1)
        kept, lost = await store.put_blob(data, ROUND), await store.put_blob(payload("lost"), ROUND)
        await store.make_durable([kept.root])
        store.lose_power()
        assert await store.blob(kept.root) == data
        assert not await store.has_blob(lost.root)
        assert [item.root for item in await store.held()] == [kept.root]

    async def test_it_stays_durable_when_it_is_begun_anew(self, store: ForgetfulPayloads | WatchedDirectory) -> None:
        data = payload("relied on", CHUNK_BYTES + 1)
        blob = await store.put_blob(data, ROUND)
        await store.make_durable([blob.root])
        assert await store.start_blob(manifest_of(data), Round(4)) == ()
        store.lose_power()
        assert await store.blob(blob.root) == data

    async def test_what_comes_again_after_it_was_dropped_is_not_durable_yet(
        self, store: ForgetfulPayloads | WatchedDirectory
    ) -> None:
        blob = await store.put_blob(payload("again"), ROUND)
        await store.make_durable([blob.root])
        await drop(store, blob.root)
        await store.put_blob(payload("again"), ROUND)
        store.lose_power()
        assert not await store.has_blob(blob.root)
