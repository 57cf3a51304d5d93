"""A kind of operation that only the registry knows of: pool, proposal, block, record, request and gossip carry it as any other."""

from collections.abc import Iterator

import pytest

from bflcd.core.effects import Effect, FetchOperations, Send
from bflcd.core.events import Event, MessageReceived
from bflcd.crypto.identity import Identity
from bflcd.ledger.state import account_of
from bflcd.types import Digest, NodeId
from bflcd.wire.codec import decode, encode
from bflcd.wire.operation import Operation, operation_id
from tests.helpers.dues import dues, dues_registered
from tests.helpers.inside import pool_of
from tests.helpers.scenes import a_world, leader_in, one_state, reach
from tests.helpers.world import World
from tests.net.test_gossip import ALICE, BOB, CHAIN, Listener
from tests.sim.run import make_world, run_world


@pytest.fixture(autouse=True)
def _dues() -> Iterator[None]:
    with dues_registered():
        yield


def a_running_world(seed: int = 0) -> tuple[World, Identity]:
    """At round 2, and a member whose operations come."""
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    return world, next(iter(world.identities.values()))


def chain_of(world: World) -> Digest:
    return next(iter(world.cores.values())).context.state.chain


def bring(world: World, node: NodeId, *operations: Operation) -> None:
    peer = next(other for other in world.cores if other != node)
    for operation in operations:
        world.feed(node, MessageReceived(decode(encode(operation), Operation), peer))


def carried(world: World) -> dict[int, tuple[Operation, ...]]:
    """Operations by the round whose block carries them, by the longest chain."""
    disk = max(world.disks.values(), key=lambda disk: disk.head.state.round)
    return {round_: found for round_, s in sorted(disk.segments.items()) if (found := s.segment.model.operations)}


def settled(world: World, author: Identity, number: int, burnt: int) -> None:
    one_state(world)
    for disk in world.disks.values():
        account = account_of(disk.head.state, author.node_id)
        assert account is not None
        assert (account.operations, disk.head.state.burnt) == (number, burnt)
    assert all(len(pool_of(core)) == 0 for core in world.cores.values()), "nothing waits any more"


@pytest.mark.parametrize("seed", range(3))
def test_what_one_node_hears_a_block_carries_once_and_every_ledger_obeys(seed: int) -> None:
    world, author = a_running_world(seed)
    one = dues(author, chain_of(world), amount=7)
    bring(world, list(world.cores)[seed], one)
    reach(world, 5, 60_000)
    assert list(carried(world).values()) == [(one,)]
    settled(world, author, 1, 7)
    bring(world, list(world.cores)[seed], one)
    reach(world, 6, 60_000)
    assert list(carried(world).values()) == [(one,)], "heard again, it is settled"
    assert world.blames == []


def test_numbers_that_come_in_any_order_are_applied_in_turn() -> None:
    world, author = a_running_world()
    pieces = [dues(author, chain_of(world), number, amount=number) for number in (3, 1, 2)]
    for node, piece in zip(world.cores, pieces, strict=False):
        bring(world, node, piece)
    reach(world, 12, 60_000)  # of what others brought a node says one by lot in each round
    assert [piece for block in carried(world).values() for piece in block] == sorted(pieces, key=encode)
    settled(world, author, 3, 6)
    assert world.blames == []


def test_it_waits_on_disk_while_its_only_holder_is_down() -> None:
    world, author = a_running_world()
    holder, one = leader_in(world), dues(author, chain_of(world))
    world.drop = lambda sender, _receiver, _now: sender == holder
    bring(world, holder, one)
    world.kill(holder)
    world.drop = lambda *_: False
    world.start(holder)
    assert operation_id(one) in pool_of(world.cores[holder])
    reach(world, 6, 200_000)
    settled(world, author, 1, 5)


def test_who_lacks_what_a_proposal_names_asks_for_it() -> None:
    world, author = a_running_world()
    answer, asked = world.answer, list[NodeId]()

    def unsaid(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, FetchOperations):
            asked.append(node)
        if not (isinstance(effect, Send) and isinstance(effect.message, Operation)):
            yield from answer(node, effect)

    world.answer = unsaid  # type: ignore[method-assign]
    bring(world, leader_in(world), dues(author, chain_of(world)))
    reach(world, 4, 60_000)
    assert asked
    settled(world, author, 1, 5)


async def test_gossip_lets_it_pass_and_its_forwarder_stands_for_it() -> None:
    listener = Listener()
    message = dues(ALICE, CHAIN)
    assert listener.hear(message)
    heard = await listener.channel.receive()
    assert (heard.forwarder, heard.author, heard.message) == (BOB.node_id, BOB.node_id, message)


@pytest.mark.parametrize(("seed", "profile"), [(1, "calm"), (5, "crash_storm"), (6, "lossy")])
def test_a_simulated_world_of_whole_interpreters_carries_it(seed: int, profile: str) -> None:
    """The daemon's own interpreter, its store and its requests, among crashes and losses."""
    world, scene = make_world(seed, profile=profile, nodes=5, changing=False)
    author = world.keyring.signers[world.nodes[0].id]
    one = dues(author, world.chain)

    def bring_it() -> None:
        for node in world.nodes[1:]:
            if node.core is not None:
                node.post(MessageReceived(one, world.nodes[0].id))
                return

    for delay in (1_500, 3_000):
        world.after(delay, bring_it)
    result = run_world(world, scene)
    assert result.violations == ()
    for node in world.nodes:
        account = account_of(node.disk.head.state, author.node_id)
        assert account is not None
        assert (account.operations, node.disk.head.state.burnt) == (1, 5)
