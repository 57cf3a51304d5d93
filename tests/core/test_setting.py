"""Parameters that change while rounds run: every core, newcomers and verifiers compute by the same ones."""

from functools import cache

from bflcd.inspect.chain_check import VerifyReport, verify_store
from bflcd.ledger.state import genesis_state
from bflcd.node.recovery.reorg import state_at
from bflcd.types import Round
from bflcd.wire.governance import SetParameter
from tests.core.test_alliance import ledger, says
from tests.core.test_managing import filled
from tests.helpers.ledger import make_genesis
from tests.helpers.scenes import T0, one_state, reach
from tests.helpers.world import World

NEW_T0, SHARE, MARGIN, HALF = 2 * T0, 100_000, 0, 500_000


@cache
def changed() -> World:
    """Ten members at work by other parameters than the genesis', one of whom slept meanwhile."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6, view_timeout=T0)
    world = World(genesis, identities)
    world.start_all()
    reach(world, 2, 60_000)
    world.kill(identities[9].node_id)
    for name, value in (("view_timeout", NEW_T0), ("reward_share", SHARE), ("score_margin", MARGIN), ("active_fraction", HALF)):
        for manager in identities[:3]:
            says(world, manager, SetParameter, name=name, value=value)
    reach(world, max(world.rounds()) + 2, 200_000)
    return world


def test_all_cores_work_by_what_was_set_from_the_next_round_on() -> None:
    world = changed()
    for core in world.cores.values():
        params = core.context.params
        assert (params.view_timeout, params.reward_share, params.score_margin) == (NEW_T0, SHARE, MARGIN)
        assert core.context.first_instance.view_timeout == NEW_T0
    before = world.genesis.pool * world.genesis.params.reward_share // 1_000_000
    disk = world.disks[next(iter(world.cores))]
    last = disk.segments[disk.head.state.round].segment.model
    assert sum(amount for _, amount in last.rewards) > 10 * before, "a tenth of the pool goes out, not a thousandth"


def test_who_slept_catches_up_by_the_parameters_of_each_round() -> None:
    world = changed()
    sleeper = next(node for node in world.identities if node not in world.cores)
    world.start(sleeper)
    world.catch_up(sleeper)
    assert world.cores[sleeper].context.params.view_timeout == NEW_T0
    one_state(world)


async def test_verify_and_a_rewound_store_compute_by_the_parameters_of_each_round() -> None:
    world = changed()
    last = ledger(world).round
    store = await filled(world, last)
    report = [item async for item in verify_store(store, deep=False)][-1]
    assert isinstance(report, VerifyReport)
    assert (report.findings, report.round) == ((), last)
    assert await state_at(store, Round(last)) == (await store.head()).state
    assert await state_at(store, Round(0)) == genesis_state(world.genesis)


def test_a_last_round_that_managers_set_ends_the_community() -> None:
    genesis, identities = make_genesis(nodes=10, committee=4, places=6, view_timeout=T0)
    world = World(genesis, identities)
    world.start_all()
    reach(world, 2, 60_000)
    for manager in identities[:3]:
        says(world, manager, SetParameter, name="last_round", value=16)
    assert not world.run_until(lambda: max(world.rounds()) > 16, 400_000)
    assert min(world.rounds()) == 16
    assert all(core.context.finished for core in world.cores.values())
