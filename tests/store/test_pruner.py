"""A prune runs while the node works: what comes to need a blob in the meantime keeps it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bflcd.store.protocol import Pin
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round
from tests.helpers.store import begin, extend, ref, round_payloads


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
        listed = store._blobs.payloads

        async def listing() -> object:
            found = await listed()
            await store.persist([Pin(pinned, Round(4))])
            return found

        monkeypatch.setattr(store._blobs, "payloads", listing)
        report = await store.prune(1, dry_run=False)
        assert [await store.has_blob(root) for root in (pinned, doomed)] == [True, False]
        assert report.blobs >= 1
