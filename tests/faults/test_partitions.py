"""Broken networks and wrong clocks: whole cores in virtual time, what healing takes."""

import pytest

from bflcd.core.events import Event, MessageReceived
from bflcd.ledger.transition import MAX_CLOCK_LEAD
from bflcd.types import NodeId
from tests.helpers.inside import pbft_of, round_of
from tests.helpers.scenes import (
    COMMIT,
    PREPARE,
    T0,
    VIEW_CHANGE,
    VMAX,
    Figure,
    Paused,
    Skewed,
    a_world,
    committee_of,
    elapsed,
    kind,
    leader_in,
    mostly_slow,
    one_state,
    reach,
    refusals,
    spent,
)
from tests.helpers.world import EPOCH_WALL, World

SEEDS = mostly_slow(0, 1, 2)
HOUR = 3_600_000


def healed(world: World, figure: Figure, row: int) -> None:
    """Everything passes again: the next round is closed everywhere within two of the longest views."""
    world.drop = lambda _s, _r, _n: False
    before = max(world.rounds())
    figure(row, elapsed(world, before + 1), 2 * VMAX, "ms from the heal to one more round everywhere")
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_8_f_plus_1_members_withhold(seed: int, figure: Figure) -> None:
    """Given two of four members whose votes don't leave, then nothing is decided until they do."""
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    mute, post = set(committee_of(world)[:2]), world.post
    holding = [True]

    def withheld(node: NodeId, event: Event, after: int) -> None:
        votes = (
            isinstance(event, MessageReceived) and event.peer in mute and kind(event.message) in (PREPARE, COMMIT, VIEW_CHANGE)
        )
        if not (holding[0] and votes):
            post(node, event, after)

    world.post = withheld  # type: ignore[method-assign]
    world.run_until(lambda: False, 60_000)
    assert set(world.rounds()) == {2}, "no quorum is ever lowered by a timer"
    holding[0] = False
    healed(world, figure, 8)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_9_halves(seed: int, figure: Figure) -> None:
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    left = set(committee_of(world)[:2]) | set(list(world.cores)[:3])
    world.drop = lambda s, r, _n: (s in left) != (r in left)
    world.run_until(lambda: False, 60_000)
    assert max(world.rounds()) <= 3, "at most the round that was already prepared"
    healed(world, figure, 9)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_10_a_minority_is_cut_off(seed: int, figure: Figure) -> None:
    """Given a member and two others that are cut off, then the others go on, and those follow after the heal."""
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    lost = {committee_of(world)[3], *[n for n in world.cores if n not in committee_of(world)][:2]}
    world.drop = lambda s, r, _n: (s in lost) != (r in lost)
    rest = [node for node in world.cores if node not in lost]
    reach(world, 6, 200_000, rest)
    assert max(world.round_of(node) for node in lost) <= 3
    world.drop = lambda _s, _r, _n: False
    goal = max(world.rounds())
    figure(10, elapsed(world, goal, who=lost), 20_000, "ms from the heal to the others' round")
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_11_nobody_hears_the_leader(seed: int, figure: Figure) -> None:
    """Given a leader that hears everybody and is heard by nobody, then the others decide within S(2)."""
    healthy = a_world(seed=seed)
    reach(healthy, 2, 60_000)
    usual = elapsed(healthy, 3)
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    leader = leader_in(world)
    world.drop = lambda s, _r, _n: s == leader
    figure(11, elapsed(world, 3) - usual, spent(2), "ms more, a leader that nobody hears")
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_11_a_leader_hears_nobody(seed: int, figure: Figure) -> None:
    healthy = a_world(seed=seed)
    reach(healthy, 2, 60_000)
    usual = elapsed(healthy, 3)
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    leader = leader_in(world)
    world.drop = lambda _s, r, _n: r == leader
    others = [node for node in world.cores if node != leader]
    figure(11, elapsed(world, 3, who=others) - usual, spent(2), "ms more, a leader that hears nobody")
    world.drop = lambda _s, _r, _n: False
    reach(world, 4, 60_000)
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_14_every_message_takes_ten_t0(seed: int, figure: Figure) -> None:
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    delay, world.delay = world.delay, lambda: 10 * T0
    world.run_until(lambda: False, 90_000)
    world.delay = delay
    healed(world, figure, 14)


@pytest.mark.parametrize("pause", [3_000, 20_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_53_halves_that_stand_in_different_views_meet(seed: int, pause: int, figure: Figure) -> None:
    """Given a half that was stopped while the other's views grew, when it goes on, then their views meet."""
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    committee = committee_of(world)
    assert world.run_until(lambda: all(len(round_of(world.cores[n]).collection.first_cards) >= 3 for n in committee), 60_000)
    stopped = [Paused(world, node) for node in committee[:2]]
    world.drop = lambda s, r, _n: (s in committee[:2]) != (r in committee[:2])
    world.run_until(lambda: False, pause)
    views = {pbft_of(core).view for node in committee if pbft_of(core := world.cores[node]) is not None}
    assert set(world.rounds()) == {2}
    assert len(views) > 1, "they stand in different views"
    for node in stopped:
        node.resume()
    healed(world, figure, 53)


@pytest.mark.parametrize("offset", [HOUR, -HOUR, 11_000])
@pytest.mark.parametrize("committee", mostly_slow(4, 7))
def test_row_20_the_clocks_of_f_nodes_are_wrong(committee: int, offset: int, figure: Figure) -> None:
    """Given f members an hour off, then no block has a time that a right clock refuses, and rounds go on."""
    world = a_world(nodes=2 * committee + 2, committee=committee, places=committee)
    reach(world, 1, 60_000)
    f = (committee - 1) // 3
    wrong = set(committee_of(world)[1 : 1 + f])  # they lead views 0 to f - 1 of round 1
    for node in wrong:
        world.cores[node] = Skewed(world.cores[node], offset)  # type: ignore[assignment]
    began, before = world.now, max(world.rounds())
    bad: list[int] = []
    latest: dict[int, int] = {}

    def watch() -> bool:
        for round_ in range(before + 1, max(world.rounds()) + 1):
            if round_ not in latest:
                latest[round_] = EPOCH_WALL + world.now
                holder = next(disk for disk in world.disks.values() if round_ in disk.segments)
                time = holder.segments[round_].segment.model_header.time
                parent = holder.segments[round_ - 1].segment.model_header.time
                if not parent < time <= max(latest[round_] + MAX_CLOCK_LEAD, parent + 1):
                    bad.append(round_)
        return min(world.rounds()) >= before + 6

    assert world.run_until(watch, 200_000)
    assert bad == [], "bad times accepted"
    figure(20, (world.now - began) / 6, spent(f) + T0, "ms a round")
    assert refusals(world, "bad_time") == []
    one_state(world)


def test_row_20_a_leader_whose_clock_is_ahead_is_passed_over() -> None:
    """Given a leader an hour ahead, when its segment is refused for its time, then the next leader's is decided."""
    world = a_world()
    reach(world, 2, 60_000)
    leader = leader_in(world)
    world.cores[leader] = Skewed(world.cores[leader], HOUR)  # type: ignore[assignment]
    reach(world, 3, 60_000)
    holder = world.disks[leader].segments[3]
    assert holder.certificate.view == 1
    assert holder.segment.model_header.time <= EPOCH_WALL + world.now + MAX_CLOCK_LEAD


def test_row_13_duplicates_and_reordering_leave_the_state_as_it_is() -> None:
    """Given each message twice and late by up to 400 ms, then every node ends with the hash of the state that all others have."""
    world = a_world()
    post = world.post

    def twice(node: NodeId, event: Event, after: int) -> None:
        post(node, event, after)
        if isinstance(event, MessageReceived):
            post(node, event, after + world.rng.randint(0, 400))

    world.post = twice  # type: ignore[method-assign]
    reach(world, 6, 60_000)
    states = {disk.segments[6].segment.model_header.model.state for disk in world.disks.values()}  # type: ignore[union-attr]
    assert len(states) == 1
    assert refusals(world) == []
    one_state(world)


def test_row_22_a_member_that_is_gone_for_ever_costs_one_round(figure: Figure) -> None:
    world = a_world()
    reach(world, 2, 60_000)
    gone = leader_in(world, 1)
    world.kill(gone)
    round_ = 3
    while gone in committee_of(world):
        reach(world, round_, 60_000)
        round_ += 1
    figure(22, round_ - 3, 1, "rounds until it has no seat")
    reach(world, 8, 60_000)
    assert gone not in committee_of(world)


@pytest.mark.parametrize("nodes", mostly_slow(5, 1, 2, 3, 4, 6, 7))
def test_row_36_small_communities_with_nodes_going_off_and_coming_back(nodes: int, figure: Figure) -> None:
    """Given each node in turn switched off for 20 s and on again, then rounds are closed after every return."""
    committee = min(nodes, 4)
    world = a_world(nodes=nodes, committee=committee, places=max(4, committee), small_community=True)
    world.train_ms = lambda _: 3_000
    reach(world, 1, 200_000)
    stalls = 0
    for node in list(world.identities):
        world.kill(node)
        world.run_until(lambda: False, 20_000)
        world.start(node)
        world.catch_up(node)
        goal = max(world.rounds()) + 1
        stalls += not world.run_until(lambda goal=goal: min(world.rounds()) >= goal, 2 * VMAX + 60_000)  # type: ignore[misc]
    figure(36, stalls, 0, "stalls")
    one_state(world)
