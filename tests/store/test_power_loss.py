"""Power loss takes all that nobody made durable. What is left is enough for what this node has signed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bflcd.core.records import Pin
from bflcd.store.block_store import BlockStore
from bflcd.store.database import FILE_NAME, Database
from bflcd.store.records import pins_of
from bflcd.store.sqlite_chain import SqliteChain
from bflcd.types import Round
from tests.helpers.directory_payloads import WatchedDirectory
from tests.helpers.forgetful_payloads import ForgetfulPayloads
from tests.helpers.store import (
    begin,
    extend,
    make_proposal,
    make_vote,
    own_card,
    own_offer,
    payload,
    put_in_chunks,
    ref,
    round_payloads,
)

Losing = ForgetfulPayloads | WatchedDirectory


@pytest.fixture(params=["memory", "directory"])
async def payloads(request: pytest.FixtureRequest, tmp_path: Path) -> Losing:
    return ForgetfulPayloads() if request.param == "memory" else WatchedDirectory(tmp_path / "payloads")


@pytest.fixture
async def store(tmp_path: Path, payloads: Losing) -> AsyncIterator[BlockStore]:
    """Chain and records in SQLite, payloads elsewhere."""
    opened = BlockStore(SqliteChain(await Database.open(tmp_path / FILE_NAME)), payloads)
    yield opened
    await opened.close()


async def restarted(store: BlockStore, payloads: Losing, directory: Path) -> BlockStore:
    """The same disk after power was lost and came again."""
    await store.close()
    payloads.lose_power()
    return BlockStore(SqliteChain(await Database.open(directory / FILE_NAME)), payloads)


async def test_a_node_that_prepared_still_holds_what_it_said_it_held(store: BlockStore, payloads: Losing, tmp_path: Path) -> None:
    """Given a round up to the prepare, when power is lost, then every payload that offer, card and segment name is here."""
    chain, _ = await extend(store, await begin(store), 1)
    model, mine, theirs = round_payloads(chain.round, 5_000)
    await store.put_blob(mine)
    await store.persist([own_offer(1, ref(mine))], [ref(mine).root])
    await put_in_chunks(store, theirs)
    await store.persist([own_card(1, ref(mine).root, ref(theirs).root)], [ref(mine).root, ref(theirs).root])
    await store.put_blob(model)
    segment = make_proposal(1, ref(model), ref(mine), ref(theirs))
    await store.persist([segment, Pin(ref(model).root, Round(1))], pins_of(segment))
    await store.persist([make_vote(1)])
    again = await restarted(store, payloads, tmp_path)
    assert [await again.blob(ref(data).root) for data in (model, mine, theirs)] == [model, mine, theirs]
    assert (await again.records(Round(1))).votes == (make_vote(1),)
    await again.close()


async def test_what_nobody_relied_on_may_be_gone_and_counts_as_missing(
    store: BlockStore, payloads: Losing, tmp_path: Path
) -> None:
    """Given blocks of a node that caught up, when power is lost, then their payloads are missing until they are fetched again."""
    await extend(store, await begin(store), 2)
    assert (await store.stats()).oldest_payload == 0
    again = await restarted(store, payloads, tmp_path)
    assert (await again.head()).header.round == 2
    assert (await again.stats()).oldest_payload == 3
    for data in (payload("model 0"), *round_payloads(0), *round_payloads(1)):
        await put_in_chunks(again, data)
    assert (await again.stats()).oldest_payload == 0
    await again.close()
