"""Rows of blocks are held against each other when they are read: a state that the head's header does not commit to is damage."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bflcd.errors import MachineError
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.store.database import FILE_NAME
from bflcd.store.rows import checksum
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Amount
from bflcd.wire.codec import encode
from tests.helpers.ledger import make_genesis

GENESIS, _ = make_genesis()
STATE = genesis_state(GENESIS)


async def with_state(directory: Path, value: bytes) -> SqliteStore:
    """A store whose row of the state at the head was exchanged for `value` while nobody had it open, checksum and all."""
    store = await SqliteStore.open(directory)
    await store.initialise(GENESIS, genesis_header(GENESIS), STATE)
    await store.close()
    connection = sqlite3.connect(directory / FILE_NAME)
    connection.execute("UPDATE chain SET value = ?, checksum = ? WHERE name = 'state'", (value, checksum("state", value)))
    connection.commit()
    connection.close()
    return await SqliteStore.open(directory)


async def test_the_state_that_was_written_is_read(tmp_path: Path) -> None:
    store = await with_state(tmp_path, encode(STATE))
    try:
        assert (await store.head()).state == STATE
    finally:
        await store.close()


@pytest.mark.parametrize("value", [encode(replace(STATE, pool=Amount(STATE.pool + 1))), encode(STATE)[:-1]], ids=["rich", "torn"])
async def test_a_state_that_the_header_does_not_commit_to_is_damage(tmp_path: Path, value: bytes) -> None:
    """Row 19: a ledger at the head that hashes to something else is never used, though its row looks whole."""
    store = await with_state(tmp_path, value)
    try:
        with pytest.raises(MachineError, match="the state at the head") as caught:
            await store.head()
    finally:
        await store.close()
    assert caught.value.code == "damaged_store"
