"""The check of a whole store: pages and indexes by SQLite itself, rows by their checksums, chunks by their hashes."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from bflcd.crypto.hashing import chunk_count
from bflcd.errors import MachineError, PeerError
from bflcd.store.blocks import BLOCKS_SQL, SEGMENTS_SQL, block_is_whole
from bflcd.store.chain import placed_payloads
from bflcd.store.database import Database
from bflcd.store.protocol import Damage
from bflcd.store.rows import checksum, manifest_from_columns
from bflcd.store.schema import CHUNK_ID_BITS
from bflcd.types import CHUNK_BYTES, Digest, short
from bflcd.wire.blocks import Certificate, CertifiedSegment, Header, Segment, header_hash
from bflcd.wire.codec import decode

BATCH_ROWS: Final = 16
"""Rows read at a time: some 16 MiB of chunks, between which other readers get their turn."""

_FETCH_AGAIN: Final = "it is to be fetched again from a peer"


async def check_chain(database: Database, *, deep: bool) -> tuple[Damage, ...]:
    """Every damage found in the file's pages and in the rows of the chain side; `deep` reads all segments too."""
    pages = [Damage(database.path.name, text, None) for text in await database.integrity()]
    parts = [_check_chain(database), _check_segments(database, deep=deep), _check_records(database)]
    return tuple(dict.fromkeys(pages + await _found(database, parts)))


async def check_payloads(database: Database, *, deep: bool) -> tuple[Damage, ...]:
    """Every damage found in the rows of payloads; `deep` reads the bytes of every chunk too."""
    parts = [_check_blobs(database)]
    if deep:
        parts.append(_check_orphans(database))
    found = await _found(database, parts)
    if deep:
        found.extend(await _check_chunks(database))
    return tuple(dict.fromkeys(found))


async def _found(database: Database, parts: Iterable[AsyncIterator[Damage]]) -> list[Damage]:
    found: list[Damage] = []
    for part in parts:
        try:
            found.extend([damage async for damage in part])
        except (MachineError, PeerError) as error:
            found.append(Damage(database.path.name, str(error), None))
        except (TypeError, ValueError) as error:  # columns of other types than the tables have: a torn page
            found.append(Damage(database.path.name, f"a row holds what no row can: {error}", None))
    return found


def _broken(where: str, text: str) -> Damage:
    return Damage(where, text, None)


async def _check_chain(database: Database) -> AsyncIterator[Damage]:
    rows = await database.query("checking", "SELECT name, value, checksum FROM chain")
    for name, value, whole in rows:
        if checksum(name, value) != whole:
            yield _broken(f"the {name}", "its row is not what was written")
    blocks = await database.query("checking", "SELECT count(*) FROM segments")
    if blocks[0][0] and {row[0] for row in rows} != {"genesis", "state"}:
        yield _broken("the chain", "genesis or state is missing")


async def _check_segments(database: Database, *, deep: bool) -> AsyncIterator[Damage]:
    """Checksums, no gap between rounds; with `deep` the segments, and the index of payloads that follows from them."""
    sql = f"{SEGMENTS_SQL if deep else BLOCKS_SQL} WHERE round >= ? ORDER BY round LIMIT ?"
    expected = 0
    while True:
        rows = await database.query("checking", sql, (expected, BATCH_ROWS))
        if not rows:
            return
        for row in rows:
            round_ = row[0]
            if round_ != expected:
                yield _broken(f"round {expected}", f"its block is missing; the next is of round {round_}")
            expected = round_ + 1
            if not block_is_whole(row):
                yield _broken(f"the block of round {round_}", "its row is not what was written")
            elif deep:
                text = await _deep_segment(database, row)
                if text is not None:
                    yield _broken(f"the segment of round {round_}", text)


async def _deep_segment(database: Database, row: tuple[Any, ...]) -> str | None:
    """What is wrong with a segment's bytes or with the payloads listed for it."""
    round_, digest, header_bytes, certificate, _, segment, whole = row
    header = decode(header_bytes, Header)
    if header_hash(header) != digest:
        return "its header does not hash to its id"
    if segment is None:
        expected = [] if header.blob is None else [(header.height, header.round, header.blob.root)]
    else:
        if checksum(round_, segment) != whole:
            return "its row is not what was written"
        try:
            certified = CertifiedSegment(decode(segment, Segment), decode(certificate, Certificate))
        except PeerError as error:
            return str(error)
        expected = [(item.height, item.round, item.root) for item in placed_payloads(certified)]
    listed = await database.query(
        "checking", "SELECT height, round, root FROM payloads WHERE segment = ? ORDER BY height", (round_,)
    )
    return None if listed == expected else "the index of its payloads is not what was written"


async def _check_records(database: Database) -> AsyncIterator[Damage]:
    for round_, kind, place, digest, whole, body in await database.query(
        "checking", "SELECT round, kind, place, digest, checksum, body FROM records"
    ):
        if checksum(round_, kind, place, digest, body) != whole:
            yield _broken(f"a record of round {round_}", "its row is not what was written")
    for round_, root, whole in await database.query("checking", "SELECT round, root, checksum FROM pins"):
        if checksum(round_, root) != whole:
            yield _broken(f"a pin of round {round_}", "its row is not what was written")


async def _check_blobs(database: Database) -> AsyncIterator[Damage]:
    """Manifests against their roots, and the number of chunks."""
    for root, size, missing, hashes, held in await database.query(
        "checking",
        "SELECT root, size, missing, hashes, "
        "(SELECT count(*) FROM chunks c WHERE c.id >= b.id << ?1 AND c.id < (b.id << ?1) + (b.size + ?2 - 1) / ?2) FROM blobs b",
        (CHUNK_ID_BITS, CHUNK_BYTES),
    ):
        if not isinstance(root, bytes):  # what a torn page leaves
            yield _broken("blobs", "a blob has no root any more")
            continue
        where = f"blob {short(root)}"
        if manifest_from_columns(Digest(root), size, hashes) is None:
            yield Damage(where, f"its manifest does not hash to its root; {_FETCH_AGAIN}", Digest(root))
        elif held != chunk_count(size) - missing:
            text = f"{held} chunks are there, {chunk_count(size) - missing} were stored; {_FETCH_AGAIN}"
            yield Damage(where, text, Digest(root))


async def _check_orphans(database: Database) -> AsyncIterator[Damage]:
    sql = "SELECT count(*) FROM chunks WHERE (id >> ?) NOT IN (SELECT id FROM blobs)"
    orphans = await database.query_payloads("checking", sql, (CHUNK_ID_BITS,))
    if orphans[0][0]:
        yield _broken("chunks", f"{orphans[0][0]} chunks belong to no blob")


async def _check_chunks(database: Database) -> list[Damage]:
    """Every chunk's hash, recomputed on SQLite's thread."""
    found: list[Damage] = []
    try:
        blobs = await database.query("checking", "SELECT id, root FROM blobs")
    except MachineError as error:
        return [Damage(database.path.name, str(error), None)]
    for blob_id, root in blobs:
        if not isinstance(root, bytes):
            continue  # found by `_check_blobs`
        where = f"blob {short(root)}"
        try:
            found.extend(
                Damage(f"{where} chunk {index}", f"it does not hash to what its manifest says; {_FETCH_AGAIN}", Digest(root))
                for index in await _damaged_chunks(database, blob_id)
            )
        except MachineError as error:
            found.append(Damage(where, f"{error}; {_FETCH_AGAIN}", Digest(root)))
    return found


async def _damaged_chunks(database: Database, blob_id: int) -> list[int]:
    found: list[int] = []
    first = blob_id << CHUNK_ID_BITS
    position, end = first, first + (1 << CHUNK_ID_BITS)
    while True:
        rows = await database.query_payloads(
            "checking",
            "SELECT c.id, c.hash = chunk_hash(c.data) AND c.hash = substr(b.hashes, (c.id - ?1) * 32 + 1, 32) "
            "FROM chunks c, blobs b WHERE b.id = ?2 AND c.id >= ?3 AND c.id < ?4 ORDER BY c.id LIMIT ?5",
            (first, blob_id, position, end, BATCH_ROWS),
        )
        found.extend(int(chunk_id) - first for chunk_id, good in rows if not good)
        if len(rows) < BATCH_ROWS:
            return found
        position = int(rows[-1][0]) + 1
