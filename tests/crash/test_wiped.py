"""A node that has lost database and mark file, killed once more while it catches up (design 6.3)."""

import pytest

from tests.crash.__main__ import community
from tests.crash.failpoints import Order
from tests.crash.watch import RuntimeObserver

SECONDS = 240.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_doubt_outlives_a_kill(tmp_path):
    """Given a member whose database and mark file are lost, When it is started, killed while it catches up, and started again,
    Then what it signed before counts as unknown still: nothing up to the round after its head, and nothing is signed twice.
    """
    net, victims, _ = community(tmp_path / "net", 6, 4)
    try:
        net.start()
        net.wait_round(3, SECONDS)
        victim = victims[2]
        net.kill(victim)
        watch = RuntimeObserver({node.name: (node.journal, node.node_id) for node in victims})
        watch.look()
        victim.wipe()
        Order("committing a segment: after", 2).place(victim.order)
        victim.start()
        net.wait_for(lambda: not victim.running, SECONDS, "the failpoint")
        watch.look()
        before = set(watch.nodes[victim.name].said)

        net.start([victim])
        net.wait_for(lambda: victim.round() > watch.round(""), SECONDS, "going on")
        caught_up = victim.round()
        net.wait_for(lambda: victim.round() >= caught_up + 3, SECONDS, "going on")
        watch.look()
        seen = watch.nodes[victim.name]
        assert (seen.head, seen.floor) == (2, 3)
        signed = {place for place in set(seen.said) - before if place.kind != "Beacon"}
        assert all(place.round > seen.floor for place in signed), signed
        assert watch.double == []
        assert watch.forks == []
    finally:
        net.close()
