"""Members that only follow the chain: nobody waits for them, nobody seats them, and they say nothing in a round."""

from dataclasses import replace

import pytest

from bflcd.core.effects import Send, Train
from bflcd.core.events import RecoverySigned
from bflcd.errors import OperatorError
from bflcd.ledger.state import NEVER
from bflcd.node.engine import check_observer
from bflcd.types import NodeId
from tests.core.test_recovery import a_recovery, managers, stuck
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

SEEDS = range(3)


def a_world(seed: int, following: int, nodes: int = 10) -> World:
    """Ten members that take part, and so many more that follow."""
    genesis, identities = make_genesis(nodes=nodes + following, committee=4, places=6)
    world = World(genesis, identities, seed)
    others = [identity.node_id for identity in identities if identity.node_id not in genesis.committee]
    world.following = frozenset(others[:following])
    world.start_all()
    return world


def took(world: World, first: int, last: int) -> int:
    """Milliseconds that these rounds took."""
    assert world.run_until(lambda: min(world.rounds()) >= first, 120_000)
    begun = world.now
    assert world.run_until(lambda: min(world.rounds()) >= last, 120_000)
    return world.now - begun


@pytest.mark.parametrize("seed", SEEDS)
def test_a_round_is_as_fast_with_members_that_follow_as_without(seed: int) -> None:
    """After round 0, in which nobody can know yet who is there: as many follow as train."""
    with_them, without = (took(a_world(seed, following), 1, 9) for following in (6, 0))
    assert with_them <= 1.1 * without


@pytest.mark.parametrize("seed", SEEDS)
def test_who_follows_is_not_expected_not_present_and_not_seated(seed: int) -> None:
    world = a_world(seed, following=6)
    said: list[NodeId] = []
    answer = world.answer

    def watching(node, effect):
        if isinstance(effect, Send | Train) and node in world.following:
            said.append(node)
        return answer(node, effect)

    world.answer = watching
    assert world.run_until(lambda: min(world.rounds()) >= 8, 120_000)
    assert not said, "it says nothing by itself"
    for disk in world.disks.values():
        for account in disk.head.state.accounts:
            if account.node in world.following:
                assert (account.seat_round, account.packed_round, account.availability) == (NEVER, NEVER, 0)
    for core in world.cores.values():
        assert not core.snapshot(world.instant()).present & world.following


def test_who_follows_and_holds_a_seat_takes_no_part_in_its_committee() -> None:
    """Given a seat whose holder follows, then it sends no card and no vote, and the other three decide."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6)
    world = World(genesis, identities)
    world.following = frozenset(genesis.committee[:1])
    world.start_all()
    (observer,) = world.following
    core = world.cores[observer]
    assert not core.context.judges
    assert any("only follow, though we hold a seat" in text for _, node, text in world.notices if node == observer)
    assert world.run_until(lambda: min(world.rounds()) >= 1, 120_000)
    signed = {author for disk in world.disks.values() for author, _ in disk.segments[1].certificate.signatures}
    assert observer not in signed


def test_a_seat_can_not_only_follow() -> None:
    genesis, identities = make_genesis(nodes=10, committee=4, places=6)
    state = World(genesis, identities).disks[identities[0].node_id].head.state
    with pytest.raises(OperatorError, match="holds a seat in round 0") as refused:
        check_observer(state, genesis.committee[0])
    assert refused.value.code == "holds_seat"
    check_observer(replace(state, committee=genesis.committee[1:]), genesis.committee[0])


def test_a_manager_that_follows_signs_recoveries_all_the_same() -> None:
    world, dead = stuck()
    manager = managers(world)[0]
    world.kill(manager)
    world.following = frozenset((manager,))
    world.start(manager)
    recovery = a_recovery(world, dead)
    world.feed(manager, RecoverySigned(recovery, None))
    assert world.cores[manager].recovery_refusal(recovery).startswith("this manager has signed")
