"""From which round on models are held: nothing for who prunes and misses nothing, the first round behind the last gap else."""

import pytest

from bflcd.node.views import held_models
from bflcd.node.views.held_models import HeldModels
from bflcd.store.memory import MemoryStore
from bflcd.types import Round
from tests.helpers.store import Chain, begin, extend, payload, ref, round_payloads


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=[held_models.BATCH, 2], autouse=True)
def batch(request, monkeypatch) -> None:
    monkeypatch.setattr(held_models, "BATCH", request.param)


async def trained(store: MemoryStore, chain: Chain, rounds: int, *, models: bool = True) -> Chain:
    """Rounds in which the node had no seat, so that it has none of their updates; without `models` it was away."""
    for _ in range(rounds):
        blobs = round_payloads(chain.round)
        if models:
            await store.put_blob(blobs[0])
        chain, certified = chain.next(*blobs)
        await store.commit(certified, chain.state)
    return chain


async def first_of(held: HeldModels) -> Round | None:
    await held.look()
    return held.first


async def test_a_node_that_never_pruned_lacks_nothing_though_it_never_held_a_seat(store):
    """Given a trainer that has run in every round, when rounds go on, then no height is shown, and no payload of others is missed."""
    chain, held = await begin(store), HeldModels(store)
    for _ in range(3):
        chain = await trained(store, chain, 2)
        assert await first_of(held) is None
        assert (await store.stats()).oldest_payload == chain.round


async def test_a_late_joiner_begins_with_the_model_that_it_fetched(store):
    """Given a node that joined at round 3, then its models begin there, also when it has gone on."""
    chain = await trained(store, await begin(store), 2, models=False)
    chain, held = await trained(store, chain, 1), HeldModels(store)
    await trained(store, chain, 3)
    assert await first_of(held) == 3


async def test_a_gap_that_comes_while_the_node_runs_is_seen(store):
    chain, held = await begin(store), HeldModels(store)
    chain = await trained(store, chain, 2)
    assert await first_of(held) is None
    chain = await trained(store, chain, 2, models=False)
    await trained(store, chain, 2)
    assert await first_of(held) == 5


async def test_the_newest_model_may_be_on_its_way(store):
    chain = await trained(store, await begin(store), 2)
    await trained(store, chain, 1, models=False)
    assert await first_of(HeldModels(store)) is None


async def test_a_prune_shows_once_the_models_are_looked_at_anew_and_so_does_what_was_fetched_again(store):
    await extend(store, await begin(store), 5)
    held = HeldModels(store)
    assert await first_of(held) is None
    report = await store.prune(2, dry_run=False)
    held.look_anew()
    assert await first_of(held) == report.round == 4
    for data in (payload("model 0"), *(round_payloads(round_)[0] for round_ in range(3))):
        await store.put_blob(data)
    assert await store.has_blob(ref(payload("model 0")).root)
    held.look_anew()
    assert await first_of(held) is None


async def test_a_new_chain_lacks_nothing(store):
    await begin(store)
    assert await first_of(HeldModels(store)) is None
