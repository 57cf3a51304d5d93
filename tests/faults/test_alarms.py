"""When nothing is committed any more, `status` says so, and who is missing."""

from bflcd.node.views.status import _stalled
from bflcd.types import NodeId, short
from tests.helpers.scenes import T0, a_world, committee_of, reach
from tests.helpers.world import World

DEADLINE = 5_000


def warnings_of(world: World, node: NodeId) -> list[str]:
    """The stall warnings of a node's status, at the world's time."""
    return _stalled(world.cores[node].snapshot(world.instant()))


def test_nothing_commits_for_ten_t0_and_status_names_who_is_missing() -> None:
    """Given f + 1 members that are gone, when 10 T0 have passed since the deadline, then judges and trainers say who is missing."""
    world = a_world(collect_deadline=DEADLINE)
    reach(world, 2, 60_000)
    committee = committee_of(world)
    gone = committee[:2]
    trainer = next(node for node in world.cores if node not in committee)
    for node in gone:
        world.kill(node)
    world.run_until(lambda: False, DEADLINE + 9 * T0)
    assert [warnings_of(world, node) for node in (committee[2], trainer)] == [[], []]
    world.run_until(lambda: False, 2 * T0)
    for node in (committee[2], trainer):
        (warning,) = warnings_of(world, node)
        assert warning.startswith("nothing was committed for ")
        named = [other for other in committee if short(other) in warning]
        assert set(named) <= set(gone) or node == committee[2]
        assert set(gone) <= set(named), warning
    for node in gone:
        world.start(node)
    reach(world, 3, 60_000)
    assert warnings_of(world, trainer) == []
