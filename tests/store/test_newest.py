"""Which record was signed last: what the mark file must name after a restart (design 6.3)."""

from pathlib import Path

import pytest

from bflcd.core.signing_guard import mark_of, newest_of
from bflcd.store.block_store import BlockStore
from bflcd.store.memory import MemoryStore
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Round
from tests.helpers.store import begin, make_vote, own_card, own_offer, ref


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path):
    made = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path)
    yield made
    await made.close()


async def test_the_newest_is_what_was_stored_last_not_the_highest_place(store: BlockStore) -> None:
    """Given votes of a later view, when a card or a vote of a lower place follows, then that one is the newest."""
    await begin(store)
    assert newest_of(await store.records(Round(0))) is None
    for record in (make_vote(0, view=3), own_offer(0, ref(b"a")), make_vote(0, view=1), own_card(0)):
        await store.persist((record,))
        assert (await store.records(Round(0))).newest == record
        assert newest_of(await store.records(Round(0))) == mark_of(record)
    await store.persist((make_vote(0, view=3),))
    assert (await store.records(Round(0))).newest == own_card(0), "what was there already is not stored again"
