"""Flipped bits, many of them, and pages of garbage (row 19): found and named, or harmless; payloads come again from a peer."""

import random
from collections import Counter
from pathlib import Path

import pytest

from bflcd.errors import MachineError
from bflcd.net.blobs.fetcher import BlobFetcher
from bflcd.net.blobs.server import BlobServer
from bflcd.store.database import FILE_NAME
from bflcd.store.protocol import DamagedBlobError
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES, Digest
from tests.helpers.network import CHAIN, clique, real_now
from tests.helpers.store import all_kinds, begin, extend, payload, ref, round_payloads
from tests.helpers.store_damage import BLOB_BYTES, Contents, Files, contents, flipped, used_positions

FEW = 60
MANY = 6000


async def small_store(directory: Path) -> tuple[Files, Contents]:
    """Every table holds something; what it answers while it is whole."""
    store = await SqliteStore.open(directory)
    chain, _ = await extend(store, await begin(store), 3, BLOB_BYTES)
    await store.persist(all_kinds(chain.round, ref(b"model"), ref(b"update")))
    await store.remember_address(chain.state.committee[0], "/ip4/127.0.0.1/tcp/1")
    await store.close()
    files = Files.of(directory)
    store = await SqliteStore.open(directory)
    expected = await contents(store)
    await store.close()
    return files, expected


async def judge(directory: Path, expected: Contents) -> str:
    """`refused`, `found` or `harmless`, or else what is wrong; whatever is no error for people is raised."""
    try:
        store = await SqliteStore.open(directory)
    except MachineError as error:
        return "refused" if FILE_NAME in str(error) else f"refused without a name: {error}"
    try:
        damage = await store.check(deep=True)
        named = all(item.where and item.text for item in damage)
        try:
            answers = await contents(store)
        except MachineError as error:
            return "found" if damage and named else f"reading finds what the check does not: {error}"
        if not damage:
            return "harmless" if answers == expected else "wrong answers, and the check finds nothing"
        return "found" if named else f"found without a name: {damage}"
    finally:
        await store.close()


def all_right(seen: Counter[str], least: int) -> None:
    """Nothing went unnoticed, and the test was worth something."""
    assert set(seen) <= {"refused", "found", "harmless"}, seen
    assert seen["found"] > least, seen


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
async def test_flipped_bits_are_found_or_harmless(tmp_path: Path, count: int) -> None:
    """Given a store with one bit flipped, when it is opened, checked and asked, then the damage is named, or every answer is right."""
    files, expected = await small_store(tmp_path / "source")
    draw, seen = random.Random(19), Counter()
    for position in used_positions(files.main, count, draw):
        spoiled = Files(flipped(files.main, position, draw.randrange(8)), b"")
        seen[await judge(spoiled.put(tmp_path / "flipped"), expected)] += 1
    all_right(seen, count // 2)


@pytest.mark.parametrize("count", [30, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
async def test_sectors_of_garbage_are_found_or_harmless(tmp_path: Path, count: int) -> None:
    """Given some sectors of a page lost, overwritten, or those of another page, then the damage is named, or every answer is right."""
    files, expected = await small_store(tmp_path / "source")
    draw, seen = random.Random(20), Counter()
    for _ in range(count):
        main, pages = bytearray(files.main), len(files.main) // PAGE_BYTES
        first = draw.randrange(PAGE_BYTES // 512) * 512
        size = min(512 * draw.randint(1, 24), PAGE_BYTES - first)
        at, other = (draw.randrange(pages) * PAGE_BYTES + first for _ in range(2))
        main[at : at + size] = draw.choice((bytes(size), draw.randbytes(size), files.main[other : other + size]))
        if bytes(main) != files.main:
            seen[await judge(Files(bytes(main), b"").put(tmp_path / "torn"), expected)] += 1
    all_right(seen, count // 4)


@pytest.mark.parametrize("count", [8, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_a_damaged_payload_is_fetched_again_from_a_peer(tmp_path: Path, count: int) -> None:
    """Given bits flipped anywhere in the chunks of payloads on one node's disk, when they are read, then each is named, dropped, and
    fetched again over the network from a node that holds it whole."""
    large = payload("large", 2 * CHUNK_BYTES + 100)
    sources = [*round_payloads(0, BLOB_BYTES), large]
    whole = await SqliteStore.open(tmp_path / "whole")
    await begin(whole)
    for data in sources:
        await whole.put_blob(data)
    await whole._database.truncate()
    files = Files.of(tmp_path / "whole")
    draw, mended = random.Random(21), 0
    told: list[Digest] = []
    server = BlobServer(whole, chain=lambda: CHAIN, may_serve=lambda *_: True, on_damage=lambda root, _: told.append(root))
    try:
        async with clique([{}, server.handlers()]) as (me, holder):
            for number in range(count):
                data = sources[number % len(sources)]
                store = await SqliteStore.open(Files(spoil(files.main, data, draw), b"").put(tmp_path / "mine"))
                try:
                    await mend(store, data, me, holder.id)
                finally:
                    await store.close()
                mended += 1
    finally:
        await whole.close()
    assert (mended, told) == (count, [])


def spoil(main: bytes, data: bytes, draw: random.Random) -> bytes:
    """The file with one bit of a payload flipped, in the pages that were given back, too."""
    at = -1
    while at < 0:  # what is sought may lie across the edge of a page
        offset, byte, bit = draw.randrange(len(data) - 16), draw.randrange(16), draw.randrange(8)
        sought = data[offset : offset + 16]
        at = main.find(sought)
    return main.replace(sought, flipped(sought, byte, bit))


async def mend(store: SqliteStore, data: bytes, me: object, holder: object) -> None:
    """What the node does with a payload that does not hash to its name."""
    root = ref(data).root
    with pytest.raises(DamagedBlobError) as caught:
        await store.blob(root)
    assert caught.value.root == root
    assert {damage.blob for damage in await store.check(deep=True)} == {root}
    await store.drop_blob(root)
    fetcher = BlobFetcher(
        me.exchange,  # type: ignore[attr-defined]
        store,
        chain=lambda: CHAIN,
        max_bytes=4 * CHUNK_BYTES,
        now=real_now,
        on_misbehaviour=lambda *fault: pytest.fail(str(fault)),
    )
    await fetcher.fetch(ref(data), (holder,))  # type: ignore[arg-type]
    assert await store.blob(root) == data
    assert await store.check(deep=True) == ()
