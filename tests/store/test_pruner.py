"""A prune runs while the node works: what comes to need a blob in the meantime keeps it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bflcd.core.records import Pin
from bflcd.errors import MachineError
from bflcd.store.sqlite import SqliteStore
from bflcd.store.sqlite_chain import needs_from_rows
from bflcd.types import Round
from tests.helpers.store import begin, extend, payload, ref, round_payloads


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(directory)
    try:
        yield store
    finally:
        await store.close()


async def test_a_blob_that_is_pinned_while_a_prune_runs_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a prune that has chosen what goes, when a record pins one of those blobs, then it stays and the others go."""
    async with opened(tmp_path) as store:
        await extend(store, await begin(store), 4)
        pinned, doomed = (ref(data).root for data in round_payloads(1)[:2])
        listed = store.payloads.held

        async def listing() -> object:
            found = await listed()
            await store.persist([Pin(pinned, Round(4))])
            return found

        monkeypatch.setattr(store.payloads, "held", listing)
        report = await store.prune(1, dry_run=False)
        assert [await store.has_blob(root) for root in (pinned, doomed)] == [True, False]
        assert report.blobs >= 1


async def test_what_blocks_name_is_judged_once_and_not_in_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an archive, when offers that lost are discarded round after round, then only what came since is looked at."""
    async with opened(tmp_path) as store:
        chain = await begin(store)
        looked: list[int] = []
        listed = store.payloads.held

        async def listing(after: int) -> object:
            found = await listed(after)
            looked.append(len(found))
            return found

        monkeypatch.setattr(store.payloads, "held", listing)
        for _ in range(8):
            lost = payload(f"lost {chain.round}")
            await store.put_blob(lost)
            chain, _ = await extend(store, chain, 1)
            await store.discard_stale(chain.round)
            assert not await store.has_blob(ref(lost).root)
        assert len(await listed()) > 20
        assert max(looked) <= 5


async def test_what_waits_for_its_block_is_looked_at_until_it_is_named_or_lost(tmp_path: Path) -> None:
    """Given an offer that a record pins, when later rounds have closed, then it is discarded once nothing pins it."""
    async with opened(tmp_path) as store:
        chain, _ = await extend(store, await begin(store), 1)
        waiting = payload("waiting")
        await store.put_blob(waiting)
        await store.persist([Pin(ref(waiting).root, Round(1))])
        await store.discard_stale(Round(1))
        chain, _ = await extend(store, chain, 3)
        assert await store.has_blob(ref(waiting).root)
        await store.discard_stale(chain.round)
        assert not await store.has_blob(ref(waiting).root)


async def test_what_comes_after_the_newest_were_dropped_is_looked_at(tmp_path: Path) -> None:
    """Given the newest payloads dropped, when others come, then they are discarded like any that lost: no number comes twice."""
    async with opened(tmp_path) as store:
        chain, _ = await extend(store, await begin(store), 3)
        await store.discard_stale(chain.round)
        for data in (*round_payloads(2), *round_payloads(1)):
            await store.drop_blob(ref(data).root)
        again = [payload(f"again {number}") for number in range(3)]
        for data in again:
            await store.put_blob(data)
        chain, _ = await extend(store, chain, 1)
        await store.discard_stale(Round(chain.round + 1))
        assert [await store.has_blob(ref(data).root) for data in again] == [False] * 3


async def test_what_was_taken_back_is_judged_anew(tmp_path: Path) -> None:
    """Given blocks that a recovery superseded, when they are taken back, then their payloads count as named by nothing."""
    async with opened(tmp_path) as store:
        chain, _ = await extend(store, await begin(store), 1)
        state = chain.state
        later, _ = await extend(store, chain, 2)
        await store.discard_stale(later.round)
        await store.rewind(Round(1), state)
        await store.discard_stale(Round(9))
        assert not any([await store.has_blob(ref(data).root) for data in round_payloads(2)])


async def test_a_torn_row_stops_a_prune_by_its_name(tmp_path: Path) -> None:
    """Given columns that a torn page has left with other types, when a prune looks what is needed, then it refuses and names them."""
    async with opened(tmp_path) as store:
        for rounds, pins in (([(3, 3), (3, "torn")], []), ([(3, 3)], [("torn",)])):
            with pytest.raises(MachineError) as caught:
                needs_from_rows(store._database, rounds, pins)
            assert caught.value.code == "damaged_store"
