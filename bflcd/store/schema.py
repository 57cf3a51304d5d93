"""Tables of the store's database, and how an older file becomes a current one."""

from typing import Final

APPLICATION_ID: Final = 0x42464C43
"""`BFLC` in the file's header: tells our database from any other."""

PAGE_BYTES: Final = 32 * 1024
"""Measurements for rows of 1 MiB: writes 20 % faster than with 4 KiB, reads 3 x faster than with 64 KiB."""

CHUNK_ID_BITS: Final = 14
"""A chunk's row id is its blob's id, then its index: 2^14 chunks a blob (`bflcd.types.MAX_CHUNKS`), deleted by ranges of ids."""

FIRST_VERSION: Final = 3
"""`user_version` of the first script's file. Older files hold messages that are no more (docs/protocol.md); none was released."""

_VERSION_3: Final = """
-- One row each: genesis, and the state after the head.
CREATE TABLE chain (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- By the round of the model header. The segment comes last, so that reading headers touches none of it. Block 0 has neither
-- certificate nor segment.
CREATE TABLE segments (
    round INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    header BLOB NOT NULL,
    certificate BLOB,
    checksum BLOB NOT NULL,
    segment BLOB,
    segment_checksum BLOB
) STRICT;

-- Which blocks name which blobs, whether or not the blob is held. `round`: of the block itself.
CREATE TABLE payloads (
    height INTEGER PRIMARY KEY,
    round INTEGER NOT NULL,
    segment INTEGER NOT NULL REFERENCES segments (round),
    root BLOB NOT NULL
) STRICT;
CREATE INDEX payloads_by_root ON payloads (root, round);

-- Blobs held in full or in part. `id`: never given twice, so that what came since a look has higher ones. `missing`: chunks that
-- are not there, kept by the triggers below. `hashes`: the chunk hashes in order. `begun`: round in which it came.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    hashes BLOB NOT NULL
) STRICT;

-- id: blobs.id * 2^14 + index.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE TRIGGER chunk_came AFTER INSERT ON chunks
BEGIN
    UPDATE blobs SET missing = missing - 1 WHERE id = new.id >> 14;
END;
CREATE TRIGGER chunk_went AFTER DELETE ON chunks
BEGIN
    UPDATE blobs SET missing = missing + 1 WHERE id = old.id >> 14;
END;

-- What must survive a crash while its round is undecided (bflcd.store.records).
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    place BLOB NOT NULL,
    digest BLOB NOT NULL,
    checksum BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (round, kind, place)
) STRICT;

CREATE TABLE pins (
    round INTEGER NOT NULL,
    root BLOB NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (round, root)
) STRICT, WITHOUT ROWID;

CREATE TABLE addresses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    node BLOB NOT NULL,
    address TEXT NOT NULL,
    UNIQUE (node, address)
) STRICT;

-- Blocks that a recovery superseded: kept for people, never served (design 6.8).
CREATE TABLE abandoned (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL,
    hash BLOB NOT NULL,
    header BLOB NOT NULL,
    certificate BLOB NOT NULL,
    segment BLOB
) STRICT;
"""

MIGRATIONS: Final = (_VERSION_3,)
"""The first makes a new file, each further one brings a file to the next version. Never changed once released: append."""


def version_of(migrations: tuple[str, ...]) -> int:
    """`user_version` after these migrations."""
    return FIRST_VERSION + len(migrations) - 1


def migration_script(version: int, migrations: tuple[str, ...]) -> str:
    """One transaction that applies every migration above `version`, 0 for a new file; it fails as a whole or not at all."""
    steps = "\n".join(migrations[max(version - FIRST_VERSION + 1, 0) :])
    return f"BEGIN IMMEDIATE;\n{steps}\nPRAGMA user_version = {version_of(migrations)};\nCOMMIT;"
