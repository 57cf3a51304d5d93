"""Flipped bits: in a chunk, in a page, anywhere (row 19)."""

import random
from pathlib import Path

import pytest

from bflcd.errors import MachineError
from bflcd.store.blobs import manifest_of
from bflcd.store.database import FILE_NAME
from bflcd.store.protocol import Damage, DamagedBlobError
from bflcd.store.schema import PAGE_BYTES
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES, Round, short
from tests.helpers.store import all_kinds, begin, extend, payload, put_in_chunks, ref
from tests.helpers.store_damage import contents, findings

LARGE = payload("large", 3 * CHUNK_BYTES + 500)
ROOT = ref(LARGE).root


def flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def overwrite(path: Path, data: bytes | bytearray) -> None:
    path.write_bytes(data)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A small store, closed: a file without a log."""
    store = await SqliteStore.open(tmp_path)
    chain, _ = await extend(store, await begin(store), 3, 20_000)
    await store.persist(all_kinds(chain.round, ref(b"model"), ref(b"update")))
    await store.close()
    return tmp_path / FILE_NAME


async def test_a_flipped_bit_in_a_chunk_is_found_named_and_mended(tmp_path: Path) -> None:
    """Given a blob with one bit flipped on the disk, when it is read or checked, then the chunk is named; when it is dropped and
    fetched again, then all is well."""
    store = await SqliteStore.open(tmp_path)
    await begin(store)
    await put_in_chunks(store, LARGE)
    await store.close()
    path = tmp_path / FILE_NAME
    position = bytes_of(path).index(LARGE[2 * CHUNK_BYTES + 500_000 : 2 * CHUNK_BYTES + 500_040])
    flip(path, position + 17, 3)
    store = await SqliteStore.open(tmp_path)
    with pytest.raises(DamagedBlobError) as caught:
        await store.chunk(ROOT, 2)
    assert (caught.value.root, caught.value.index, caught.value.code) == (ROOT, 2, "damaged_blob")
    with pytest.raises(DamagedBlobError):
        await store.blob(ROOT)
    assert await store.chunk(ROOT, 1) == LARGE[CHUNK_BYTES : 2 * CHUNK_BYTES]
    assert await store.check(deep=False) == ()
    text = "it does not hash to what its manifest says; it is to be fetched again from a peer"
    assert await store.check(deep=True) == (Damage(f"blob {short(ROOT)} chunk 2", text, ROOT),)
    await store.drop_blob(ROOT)
    assert await store.start_blob(manifest_of(LARGE)) == (0, 1, 2, 3)
    await put_in_chunks(store, LARGE)
    assert await store.blob(ROOT) == LARGE
    assert await store.check(deep=True) == ()
    await store.close()


async def test_a_lost_chunk_row_and_a_spoiled_manifest_are_found_and_mended(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await put_in_chunks(store, LARGE)
    writer = store._database._writer
    await writer.execute("UPDATE chunks SET id = id + 4096 WHERE (id & 16383) = 1")
    with pytest.raises(DamagedBlobError):
        await store.chunk(ROOT, 1)
    assert [damage.blob for damage in await store.check(deep=False)] == [ROOT]
    await store.drop_blob(ROOT)
    await put_in_chunks(store, LARGE)
    await writer.execute("UPDATE blobs SET hashes = zeroblob(length(hashes))")
    with pytest.raises(MachineError, match="manifest"):
        await store.manifest(ROOT)
    assert [damage.blob for damage in await store.check(deep=False)] == [ROOT]
    await put_in_chunks(store, LARGE)
    assert await store.blob(ROOT) == LARGE
    assert await store.check(deep=True) == ()
    await store.close()


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("UPDATE segments SET header = zeroblob(9) WHERE round = 2", "the block of round 2"),
        ("UPDATE segments SET certificate = zeroblob(9) WHERE round = 1", "the block of round 1"),
        ("DELETE FROM segments WHERE round = 1", "round 1"),
        ("UPDATE chain SET value = zeroblob(9) WHERE name = 'state'", "the state"),
        ("UPDATE chain SET value = zeroblob(9) WHERE name = 'genesis'", "the genesis"),
        ("UPDATE records SET body = zeroblob(9) WHERE kind = 1", "a record of round 3"),
        ("UPDATE pins SET checksum = zeroblob(16)", "a pin of round 3"),
    ],
)
async def test_a_spoiled_row_is_named(file: Path, sql: str, where: str) -> None:
    store = await SqliteStore.open(file.parent)
    await store._database._writer.execute("PRAGMA foreign_keys = OFF")
    await store._database._writer.execute(sql)
    assert where in {damage.where for damage in await store.check(deep=False)}
    await store.close()


@pytest.mark.parametrize(
    "sql",
    ["UPDATE segments SET segment = zeroblob(9) WHERE round = 2", "UPDATE payloads SET root = zeroblob(32) WHERE round = 2"],
)
async def test_a_spoiled_segment_or_index_is_found_by_the_deep_check(file: Path, sql: str) -> None:
    store = await SqliteStore.open(file.parent)
    await store._database._writer.execute(sql)
    assert await store.check(deep=False) == ()
    assert "the segment of round 2" in {damage.where for damage in await store.check(deep=True)}
    await store.close()


async def test_a_spoiled_row_is_never_served(file: Path) -> None:
    store = await SqliteStore.open(file.parent)
    await store._database._writer.execute("UPDATE segments SET segment = zeroblob(9), certificate = zeroblob(9) WHERE round = 2")
    await store._database._writer.execute("UPDATE chain SET value = zeroblob(9)")
    await store._database._writer.execute("UPDATE records SET body = zeroblob(9)")
    calls = (
        store.genesis(),
        store.head(),
        store.segment(Round(2)),
        store.certificate(Round(2)),
        store.headers(Round(1), 5),
        store.records(Round(3)),
    )
    for call in calls:
        with pytest.raises(MachineError) as caught:
            await call
        assert caught.value.code == "damaged_store"
        assert FILE_NAME in str(caught.value)
    await store.close()


async def test_a_spoiled_page_is_found_by_the_check(file: Path) -> None:
    """Given a page of an index or a table overwritten, when the store is checked or opened, then it says so."""
    whole = bytes_of(file)
    pages = len(whole) // PAGE_BYTES
    for page in range(2, pages):
        spoiled = bytearray(whole)
        spoiled[page * PAGE_BYTES : page * PAGE_BYTES + 64] = b"\xaa" * 64
        overwrite(file, spoiled)
        assert await findings(file.parent), page


async def test_a_flipped_bit_anywhere_is_found_or_harmless(file: Path) -> None:
    """Given one flipped bit anywhere in the file, when the store is opened and checked, then the check finds it, or the store
    answers every question as before."""
    store = await SqliteStore.open(file.parent)
    expected = await contents(store)
    await store.close()
    whole = bytes_of(file)
    used = [at for at in range(len(whole)) if whole[at]]
    draw = random.Random(19)
    found = 0
    for position in draw.sample(used, 60) + draw.sample(range(100), 10) + draw.sample(range(len(whole)), 10):
        overwrite(file, whole)
        flip(file, position, draw.randrange(8))
        if await findings(file.parent):
            found += 1
            continue
        store = await SqliteStore.open(file.parent)
        assert await contents(store) == expected, position
        await store.close()
    assert found >= 50


async def test_text_that_is_none_is_damage(file: Path) -> None:
    """Given a bit that makes text of a row's bytes, when the row is read, then that is called damage, as SQLite's own errors are."""
    store = await SqliteStore.open(file.parent)
    with pytest.raises(MachineError) as caught:
        await store._database.query("reading", "SELECT CAST(x'ff00ff' AS TEXT)")
    assert caught.value.code == "damaged_store"
    await store.close()


async def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 1000)
    with pytest.raises(MachineError) as caught:
        await SqliteStore.open(tmp_path)
    assert caught.value.code == "damaged_store"
    assert bytes_of(tmp_path / FILE_NAME) == b"this is no database" * 1000
