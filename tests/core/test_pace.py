"""One setting for short and long rounds, near and far links (design 6.7): whole cores, T0 1.25 s, collect deadline 60 s."""

import pytest

from bflcd.ledger.pace import LATE, MOST_DOUBLINGS, WINDOW
from bflcd.types import View
from tests.helpers.scenes import T0, a_world, one_state, reach
from tests.helpers.world import World

LIMIT = 40_000_000
"""Virtual milliseconds: eleven hours."""


def decided_in(world: World, first: int, last: int) -> list[View]:
    """The views of these rounds' certificates, as one node holds them."""
    segments = world.disks[min(world.cores)].segments
    return [segments[round_].certificate.view for round_ in range(first + 1, last + 1)]


def packed(world: World, first: int, last: int) -> list[int]:
    """How many updates each of these rounds packed."""
    segments = world.disks[min(world.cores)].segments
    return [sum(update.offer is not None for update in segments[round_].segment.updates) for round_ in range(first + 1, last + 1)]


@pytest.mark.parametrize("delay", [2, 150, 900])
def test_views_are_as_long_as_the_links_need(delay: int) -> None:
    """Given messages that take a while, up to most of T0 each, then after one window of rounds all are decided in view 0."""
    world = a_world()
    world.delay = lambda: world.rng.randint(delay, delay + delay // 10)
    settled = WINDOW + 2
    reach(world, settled + 20, LIMIT)
    assert not any(decided_in(world, settled, settled + 20))
    pace = world.disks[min(world.cores)].head.state.pace
    assert (pace.doublings > 0) == (delay == 900)
    if delay == 900:
        assert sum(view > 0 for view in decided_in(world, 0, settled)) >= LATE
    one_state(world)


def test_decisions_that_need_more_than_16_t0_are_made_and_soon_in_view_0() -> None:
    """Given links on which no view of up to 16 T0 suffices, then rounds are decided in longer ones, and by and by in the first."""
    world = a_world(5, places=4)
    world.delay = lambda: 10 * T0
    settled = 2 * WINDOW + 2
    reach(world, settled + 5, LIMIT)
    assert max(decided_in(world, 0, WINDOW)) > 4
    assert max(decided_in(world, settled, settled + 5)) <= 1
    assert world.disks[min(world.cores)].head.state.pace.doublings == MOST_DOUBLINGS


@pytest.mark.parametrize("training", [200, 50_000, 300_000])
def test_rounds_are_as_long_as_training_needs(training: int) -> None:
    """Given training that takes a moment, or five times the collect deadline, then after a few empty rounds every one packs all."""
    world = a_world()
    world.train_ms = lambda _: training
    reach(world, 10, LIMIT)
    assert min(packed(world, 4, 10)) == 6
    assert sum(count == 0 for count in packed(world, 0, 10)) == (3 if training == 300_000 else 0)


def test_who_never_offers_holds_no_round_longer_because_training_takes_long() -> None:
    """Given a deadline that has grown to 16 times what was set, and training that is short again, when more than a quarter are mute
    though they have a name for offering, then no round takes more than the deadline that was set."""
    world = a_world()
    world.train_ms = lambda _: 800_000
    reach(world, 6, LIMIT)
    assert world.disks[min(world.cores)].head.state.pace.stretches == MOST_DOUBLINGS
    mute = frozenset(sorted(world.cores)[-3:])
    world.train_ms = lambda node: 10**9 if node in mute else 200
    for round_ in range(7, 14):
        before = world.now
        reach(world, round_, LIMIT)
        assert round_ == 7 or world.now - before <= 62_000
