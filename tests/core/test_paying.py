"""Members that owe while rounds run: whole cores in virtual time, under terms that ask for money."""

from dataclasses import replace

from bflcd.core.effects import Effect, FetchBlob, Train
from bflcd.core.events import OperationSaid
from bflcd.crypto.identity import Identity
from bflcd.ledger.alliance.fees import in_arrears
from bflcd.ledger.state import State
from bflcd.params import Terms
from bflcd.types import Amount, NodeId
from tests.helpers.ledger import make_genesis
from tests.helpers.money import account, all_units, pays
from tests.helpers.scenes import T0, on_effect, one_state, reach
from tests.helpers.world import World

PERIOD = 6
ASKING = Terms(period_fee=Amount(10), period_rounds=PERIOD, deposit=Amount(100))


def a_world() -> tuple[World, list[Identity]]:
    """Seven members whose first period ends with round 5, at round 2."""
    genesis, identities = make_genesis(nodes=7, committee=4, places=4, view_timeout=T0)
    world = World(replace(genesis, terms=ASKING), identities)
    world.start_all()
    reach(world, 2, 60_000)
    return world, identities


def ledger(world: World) -> State:
    return max((disk.head.state for disk in world.disks.values()), key=lambda state: state.round)


def pay(world: World, *members: Identity) -> None:
    """Their operators have them pay."""
    for member in members:
        state = world.cores[member.node_id].context.state
        world.feed(member.node_id, OperationSaid(pays(state, member)))


def works_of(world: World) -> list[tuple[NodeId, int]]:
    """Who trains or fetches a payload from now on, and in which round."""
    seen: list[tuple[NodeId, int]] = []

    def note(node: NodeId, effect: Effect) -> bool:
        if isinstance(effect, FetchBlob | Train):
            seen.append((node, effect.round))
        return False

    on_effect(world, note)
    return seen


def test_a_member_that_does_not_pay_follows_and_goes_on_by_itself_once_it_has() -> None:
    """Given six members that pay in time and one that does not, when the period ends, then rounds go on without it, it stores
    every block, fetches and trains nothing, and nobody is blamed; when it pays it is packed or seated again."""
    world, members = a_world()
    late = members[6]
    seen = works_of(world)
    pay(world, *members[:6])
    reach(world, PERIOD + 4, 200_000)
    assert in_arrears(ledger(world), ledger(world).round) == {late.node_id}
    assert not [round_ for node, round_ in seen if node == late.node_id and round_ >= PERIOD]
    assert late.node_id not in ledger(world).committee
    assert world.round_of(late.node_id) >= PERIOD + 3, "it follows"
    pay(world, late)
    paid_at = ledger(world).round
    reach(world, paid_at + 6, 400_000)
    state = ledger(world)
    assert max(account(state, late).packed_round, account(state, late).seat_round) > paid_at
    assert all_units(state) == state.supply
    one_state(world)
    assert world.blames == []


def test_a_community_in_which_nobody_pays_goes_on() -> None:
    """Given seven members of whom none pays, when their period ends with one round, then rounds go on with all of them."""
    world, members = a_world()
    reach(world, PERIOD + 4, 200_000)
    state = ledger(world)
    assert {one.paid_round for one in state.accounts} == {PERIOD - 1}
    assert len(state.committee) == 4
    assert max(one.packed_round for one in state.accounts) >= PERIOD + 1, "updates are packed"
    one_state(world)
    assert world.blames == []
    pay(world, *members[:6])
    reach(world, state.round + 4, 400_000)
    after = ledger(world)
    assert in_arrears(after, after.round) == {one.node_id for one in members[6:]}, "since most have paid, it counts again"
