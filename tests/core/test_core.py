"""Scenarios over whole cores in virtual time; the numbers are rows of the fault catalogue."""

from dataclasses import replace
from itertools import pairwise

import pytest

from bflcd.core.effects import Blame, Persist, Send
from bflcd.core.events import Confirmed, MessageReceived, SyncChanged
from bflcd.core.records import OwnRecord, VoteRecord
from bflcd.types import Digest, NodeId, Round, Signature
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Beacon
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World, leader_of

T0 = 1_250


def a_world(nodes: int = 10, committee: int = 4, places: int = 6, seed: int = 0, **params: object) -> World:
    genesis, identities = make_genesis(nodes=nodes, committee=committee, places=places, **params)
    world = World(genesis, identities, seed)
    world.start_all()
    return world


def reach(world: World, round_: int, limit: int) -> None:
    assert world.run_until(lambda: min(world.rounds()) >= round_, limit), (world.rounds(), world.notices[-30:])


def elapsed(world: World, round_: int, limit: int = 400_000) -> int:
    before = world.now
    reach(world, round_, limit)
    return world.now - before


def one_state(world: World) -> None:
    """Every node that stands at the newest round holds the same head and state."""
    newest = max(world.rounds())
    heads = {world.disks[n].head.hash for n in world.cores if world.round_of(n) == newest}
    assert len(heads) == 1
    for node in world.cores:
        state = world.disks[node].head.state
        assert sum(a.balance + a.deposit for a in state.accounts) + state.pool + state.burnt == state.supply


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_community_fills_every_place(seed: int) -> None:
    world = a_world(seed=seed)
    reach(world, 8, 60_000)
    one_state(world)
    certified = world.disks[next(iter(world.cores))].segments
    assert all(sum(u.offer is not None for u in certified[r].segment.updates) == 6 for r in range(1, 9))
    assert all(certified[r].certificate.view == 0 for r in range(1, 9))
    assert world.blames == []


def test_the_committee_changes_each_round() -> None:
    world = a_world()
    reach(world, 6, 60_000)
    segments = world.disks[next(iter(world.cores))].segments
    committees = [set(segments[r].segment.model_header.model.committee) for r in range(1, 7)]
    assert all(not (before & after) for before, after in pairwise(committees))


def test_row_1_a_leader_that_dies_before_proposing_costs_a_view_change() -> None:
    world = a_world()
    reach(world, 3, 60_000)
    usual = elapsed(world, 4)
    world.kill(leader_of(world))
    assert elapsed(world, 5) <= usual + T0 + 2 * T0 + T0  # S(1) + T0 beyond the usual


@pytest.mark.parametrize("seed", range(8))
def test_rows_2_to_4_a_leader_that_dies_anywhere_in_its_round(seed: int) -> None:
    """Given a leader killed after a seed-dependent number of its messages, when time goes on, then one block wins everywhere."""
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    victim = leader_of(world)
    said = 0
    carry_out = world.carry_out

    def counting(node: NodeId, effects: list[object]) -> None:
        nonlocal said
        for effect in effects:
            if node == victim and isinstance(effect, Send):
                said += 1
                if said == 2 + seed:
                    world.kill(victim)
                    return
            carry_out(node, [effect])  # type: ignore[list-item]

    world.carry_out = counting  # type: ignore[method-assign, assignment]
    reach(world, 5, 60_000)
    one_state(world)


def test_row_7_a_silent_member_changes_nothing_but_the_last_card() -> None:
    world = a_world()
    reach(world, 2, 60_000)
    member = world.cores[next(iter(world.cores))].context.committee[-1]
    world.kill(member)
    reach(world, 6, 60_000)
    one_state(world)


def test_rows_8_and_9_without_a_quorum_nothing_is_decided_and_after_healing_it_goes_on() -> None:
    world = a_world()
    reach(world, 2, 60_000)
    nodes = list(world.cores)
    left = set(world.cores[nodes[0]].context.committee[:2]) | set(nodes[:2])
    world.drop = lambda s, r, _n: (s in left) != (r in left)
    before = max(world.rounds())
    world.run_until(lambda: False, 30_000)
    assert max(world.rounds()) <= before + 1  # at most the round that was already prepared
    world.drop = lambda _s, _r, _n: False
    assert elapsed(world, before + 3) <= 2 * 16 * T0 + 20_000
    one_state(world)


def test_row_10_a_minority_that_was_cut_off_follows_after_the_heal() -> None:
    world = a_world()
    reach(world, 2, 60_000)
    lost = next(n for n in world.cores if n not in world.cores[n].context.committee)
    world.drop = lambda s, r, _n: lost in (s, r)
    assert world.run_until(lambda: sorted(world.rounds())[1] >= 6, 120_000)
    assert world.round_of(lost) <= 3
    world.drop = lambda _s, _r, _n: False
    goal = max(world.rounds())
    assert world.run_until(lambda: world.round_of(lost) >= goal, 20_000)
    one_state(world)


@pytest.mark.parametrize("seed", range(4))
def test_row_12_a_fifth_of_the_messages_lost(seed: int) -> None:
    usual = elapsed(a_world(seed=seed), 6)
    world = a_world(seed=seed)
    world.drop = lambda _s, _r, _n: world.rng.random() < 0.2
    lossy = elapsed(world, 6)
    one_state(world)
    assert lossy <= max(2 * usual, usual + 6 * 2 * T0)


def test_row_13_duplicates_and_reordering_change_nothing() -> None:
    world = a_world()
    post = world.post

    def twice(node: NodeId, event: object, after: int) -> None:
        post(node, event, after)  # type: ignore[arg-type]
        if type(event).__name__ == "MessageReceived":
            post(node, event, after + world.rng.randint(0, 400))  # type: ignore[arg-type]

    world.post = twice  # type: ignore[method-assign, assignment]
    reach(world, 6, 60_000)
    one_state(world)
    assert [b for b in world.blames if b.rejection.value not in ("wrong_round", "wrong_view")] == []


def test_row_15_a_slow_trainer_does_not_set_the_pace() -> None:
    usual = elapsed(a_world(), 6)
    world = a_world()
    slow = next(n for n in world.cores if n not in world.cores[n].context.committee)
    world.train_ms = lambda node: 60_000 if node == slow else 200
    assert elapsed(world, 6) <= usual + 7 * (T0 + 500)


@pytest.mark.parametrize("kill_at", range(1, 14))
def test_row_17_a_node_killed_at_every_durable_write_never_contradicts_itself(kill_at: int) -> None:
    """Given a member killed after each of its durable writes in turn and restarted, then `Disk` never sees a second signature."""
    world = a_world(seed=kill_at)
    victim = world.cores[next(iter(world.cores))].context.committee[kill_at % 4]
    writes = 0
    carry_out = world.carry_out

    def failing(node: NodeId, effects: list[object]) -> None:
        nonlocal writes
        for effect in effects:
            carry_out(node, [effect])  # type: ignore[list-item]
            if node == victim and isinstance(effect, Persist):
                writes += 1
                if writes == kill_at:
                    world.kill(victim)
                    world.start(victim)
                    return

    world.carry_out = failing  # type: ignore[method-assign, assignment]
    reach(world, 10, 120_000)
    one_state(world)
    assert writes >= kill_at


def test_rows_21_and_52_everybody_loses_power_in_mid_round_and_the_chain_goes_on() -> None:
    for moment in (50, 150, 260, 300, 330, 360, 400):
        world = a_world(seed=moment)
        reach(world, 2, 60_000)
        world.run_until(lambda: False, moment)
        heads = {n: world.round_of(n) for n in world.cores}
        for node in list(world.cores):
            world.kill(node)
        for node in world.identities:
            world.start(node)
        assert all(world.round_of(n) >= heads[n] for n in world.cores)
        reach(world, max(heads.values()) + 2, 20_000 + 3 * T0)
        one_state(world)


def test_row_22_a_member_that_leaves_for_ever_is_out_of_the_next_committees() -> None:
    world = a_world()
    reach(world, 2, 60_000)
    gone = world.cores[next(iter(world.cores))].context.committee[0]
    world.kill(gone)
    reach(world, 6, 60_000)
    core = next(iter(world.cores.values()))
    assert gone not in core.context.committee


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 6, 7])
def test_row_36_every_small_community_commits(nodes: int) -> None:
    committee = min(nodes, 4)
    world = a_world(nodes=nodes, committee=committee, places=max(4, committee), small_community=True)
    reach(world, 4, 200_000)
    one_state(world)


def test_row_54_a_trainer_that_is_present_and_never_offers_does_not_hold_the_round() -> None:
    usual = elapsed(a_world(), 5)
    world = a_world()
    silent = next(n for n in world.cores if n not in world.cores[n].context.committee)
    world.train_ms = lambda node: 10**9 if node == silent else 200
    assert elapsed(world, 5) <= 1.3 * usual + 5 * (T0 + 250)


def test_without_any_trainer_the_round_is_empty_at_the_deadline_and_the_committee_stays() -> None:
    world = a_world(collect_deadline=5_000)
    world.train_ms = lambda _: 10**9
    core = next(iter(world.cores.values()))
    first = set(core.context.committee)
    reach(world, 1, 60_000)
    disk = world.disks[next(iter(world.cores))]
    assert all(update.offer is None for update in disk.segments[1].segment.updates)
    assert disk.head.header.blob == world.genesis.model
    assert first == set(disk.head.state.committee), "nobody has shown what its work is worth"
    assert world.now >= 5_000


def test_the_community_stops_at_its_last_round() -> None:
    world = a_world(last_round=3)
    reach(world, 3, 60_000)
    world.run_until(lambda: False, 30_000)
    assert set(world.rounds()) == {3}


def test_a_restarted_trainer_sends_the_same_offer_again() -> None:
    world = a_world()
    reach(world, 1, 60_000)
    trainer = next(n for n in world.cores if world.cores[n].context.trains)
    world.run_until(lambda: round_of(world.cores[trainer]).work.own_offer is not None, 5_000)
    offer = round_of(world.cores[trainer]).work.own_offer
    world.kill(trainer)
    world.start(trainer)
    assert offer is not None
    restored = round_of(world.cores[trainer]).work.own_offer
    assert restored is not None
    assert restored.envelope == offer.envelope


def signs(effect: object) -> bool:
    """Whether something of our own is about to be signed: what others signed may be kept by anybody."""
    return isinstance(effect, Persist) and any(isinstance(record, OwnRecord | VoteRecord) for record in effect.records)


def test_a_node_that_lost_everything_signs_nothing_until_two_models_past_the_head_it_caught_up_to() -> None:
    """Given a member whose disk was wiped, when it comes back with its old key, then it is silent for two rounds, then takes part."""
    world = a_world()
    reach(world, 4, 60_000)
    wiped = next(iter(world.cores))
    world.kill(wiped)
    world.wipe(wiped)
    spoke: list[int] = []
    carry_out = world.carry_out

    def listening(node: NodeId, effects: list[object]) -> None:
        spoke.extend(world.cores[node].context.round for e in effects if node == wiped and signs(e))
        carry_out(node, effects)  # type: ignore[arg-type]

    world.carry_out = listening  # type: ignore[method-assign, assignment]
    world.start(wiped, fresh=True)
    world.catch_up(wiped)
    caught = world.round_of(wiped)
    assert caught >= 4
    reach(world, caught + 6, 60_000)
    assert spoke
    assert min(spoke) >= caught + 2
    one_state(world)


def fresh_and_unconfirmed(world: World) -> tuple[NodeId, list[int]]:
    """A node starts without any memory of what it signed; the rounds in which it signs something are listed from then on."""
    wiped = next(iter(world.cores))
    world.kill(wiped)
    world.wipe(wiped)
    signed: list[int] = []
    carry_out = world.carry_out

    def listening(node: NodeId, effects: list[object]) -> None:
        signed.extend(world.cores[node].context.round for e in effects if node == wiped and signs(e))
        carry_out(node, effects)  # type: ignore[arg-type]

    world.carry_out = listening  # type: ignore[method-assign, assignment]
    world.start(wiped, fresh=True, told=False)
    return wiped, signed


def test_a_node_without_memory_signs_nothing_before_more_than_f_have_said_where_they_stand() -> None:
    """Given a wiped node that falls in with the running rounds and hears nobody's word, then it follows and signs nothing."""
    world = a_world()
    reach(world, 1, 60_000)
    wiped, signed = fresh_and_unconfirmed(world)
    reach(world, 6, 120_000)
    assert signed == []
    world.feed(wiped, Confirmed(Round(6)))
    floor = world.round_of(wiped) + 1
    reach(world, 12, 120_000)
    assert signed
    assert min(signed) > floor


def test_a_new_node_takes_part_at_once_where_nobody_has_begun() -> None:
    """Given a community in its first round, when a node without memory hears that, then it signs in that very round."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6)
    world = World(genesis, identities)
    world.start_all()
    wiped, signed = fresh_and_unconfirmed(world)
    world.feed(wiped, Confirmed(Round(0)))
    reach(world, 1, 60_000)
    assert signed[0] == 0


@pytest.mark.parametrize("moment", [10, 120, 260, 300, 330, 360])
def test_a_catch_up_that_finds_nothing_leaves_the_round_as_it_was(moment: int) -> None:
    """Given a false claim that sends every node into catching up in mid-round, when it ends, then nothing is signed twice."""
    world = a_world(seed=moment)
    reach(world, 2, 60_000)
    world.run_until(lambda: False, moment)
    for node in list(world.cores):
        world.feed(node, SyncChanged(active=True))
        world.feed(node, SyncChanged(active=False))
    reach(world, 5, 60_000)
    one_state(world)


def test_forged_messages_of_the_next_round_do_not_use_up_an_honest_members_places() -> None:
    world = a_world()
    reach(world, 1, 60_000)
    node, victim = list(world.cores)[:2]
    core = world.cores[node]
    state = core.context.state
    for number in range(40):
        body = Beacon(state.chain, Round(state.round + 1), state.epoch, Digest(bytes([number]) * 32), Digest(bytes(32)))
        forged = replace(seal(body, world.identities[victim]).envelope, signature=Signature(bytes(64)))
        effects = core.handle(MessageReceived(forged, node), world.instant())
        assert [type(effect) for effect in effects] == [Blame]
    assert len(core._early) == 0
