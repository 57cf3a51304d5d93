"""Daemons that die or stand still in the middle of a round: the others go on, and they come back (fault catalogue 1 to 4, 17, 21)."""

import asyncio
from contextlib import suppress

import psutil
import pytest

from bflcd.inspect.reader import open_reader
from bflcd.types import Round
from tests.e2e.conftest import START_SECONDS
from tests.helpers.daemons import Community, Daemon

GO_ON_SECONDS = 60.0
"""Two rounds without one node: two view timeouts and the rounds' work, about five seconds on an idle machine."""

pytestmark = pytest.mark.timeout(400)


def leader(net: Community) -> Daemon:
    """Who leads the running round now, if it runs."""
    net_leader = net.by_id(net.running()[0].status()["leader"])
    return net_leader if net_leader.running else leader(net)


def member(net: Community) -> Daemon:
    """Someone with a seat who does not lead."""
    status = net.running()[0].status()
    others = [net.by_id(node) for node in status["committee"] if node != status["leader"]]
    return next(node for node in others if node.running)


def trainer(net: Community) -> Daemon:
    """Someone without a seat."""
    committee = net.running()[0].status()["committee"]
    return next(node for node in net.running() if node.node_id not in committee)


@pytest.mark.parametrize("victim_of", [leader, member, trainer])
def test_a_killed_node_does_not_stop_the_others(living, victim_of):
    """Given a community in mid-round, When the leader, another member or a trainer is killed with -9,
    Then the next rounds close without it, its worker ends too, and after a restart it has the same chain and takes part.
    """
    victim = victim_of(living)

    living.kill(victim)
    living.wait_rounds(2, GO_ON_SECONDS)
    living.wait_for(lambda: not victim.leftovers(), 20, f"the worker of {victim.name} gone")

    killed_at = living.running()[0].round()
    living.start([victim])
    living.wait_for(
        lambda: takes_part(victim, killed_at), START_SECONDS, f"{victim.name} packed or seated after round {killed_at}"
    )
    agree_on_state(living)


def test_a_paused_member_catches_up(living):
    """Given a community in mid-round, When a member is stopped with SIGSTOP and continues some rounds later,
    Then the others went on meanwhile, and it catches up and takes part.
    """
    victim = member(living)

    victim.pause()
    paused_at = living.wait_rounds(4, 2 * GO_ON_SECONDS)
    victim.resume()

    living.wait_for(lambda: victim.round() >= paused_at, GO_ON_SECONDS, f"{victim.name} at round {paused_at}")
    living.wait_for(
        lambda: takes_part(victim, paused_at), START_SECONDS, f"{victim.name} packed or seated after round {paused_at}"
    )
    agree_on_state(living)


def test_a_killed_worker_costs_one_round(living):
    """Given a trainer whose worker is in the middle of its job, When that worker is killed with -9,
    Then the daemon goes on, starts another worker, and offers an update again in a later round.
    """
    victim = trainer(living)
    worker = living.wait_for(victim.worker, 30, f"a worker of {victim.name}")
    worker.suspend()  # the next job, if not this one, is now in the middle
    living.wait_for(
        lambda: victim.status()["phase"] in ("training", "scoring"), GO_ON_SECONDS, f"work for the worker of {victim.name}"
    )
    with suppress(psutil.NoSuchProcess):  # the round closed first: the daemon itself has killed a worker that ignores it
        worker.kill()
    killed_at = victim.round()

    new = living.wait_for(lambda: other_worker(victim, worker.pid), GO_ON_SECONDS, f"a new worker of {victim.name}")
    assert new.pid != worker.pid
    living.wait_for(lambda: victim.member()["packed_round"] > killed_at, START_SECONDS, f"an update of {victim.name} packed")
    assert f"worker {worker.pid}" in victim.text()


def test_all_killed_at_once_lose_nothing(living):
    """Given a community in mid-round, When every node is killed with -9 at the same instant and all are restarted,
    Then each still holds every block that any of them had shown before, and the chain goes on from there.
    """
    shown = living.hashes()
    nodes = living.running()

    living.kill(*nodes)
    kept = {node.name: stored(node) for node in nodes}
    living.start(nodes)

    for name, hashes in kept.items():
        assert all(hashes[round_] == shown.get(round_, hashes[round_]) for round_ in hashes), name
    last = max(max(hashes) for hashes in kept.values())
    assert last >= max(shown)
    living.wait_round(last + 2, START_SECONDS)
    after = living.hashes()
    for hashes in (shown, *kept.values()):
        assert {round_: after[round_] for round_ in hashes} == hashes


def other_worker(node: Daemon, pid: int):
    worker = node.worker()
    return worker if worker is not None and worker.pid != pid else None


def takes_part(node: Daemon, after: int) -> bool:
    """Whether the ledger shows an update packed or a seat held in a round after `after`."""
    own = node.member()
    return max(own["packed_round"], own["seat_round"]) > after


def agree_on_state(net: Community) -> None:
    """All get to the round of the foremost, and have the same block there: its hash covers the hashes of ledger and model."""
    round_ = net.wait_rounds(0, GO_ON_SECONDS)
    found = {node.name: node.history(round_)[round_]["hash"] for node in net.running()}
    assert len(set(found.values())) == 1, found


def stored(node: Daemon) -> dict[int, str]:
    """Hash of every model block in the store of a stopped node."""

    async def read() -> dict[int, str]:
        async with open_reader(node.datadir) as store:
            head, found = await store.head(), {}
            while len(found) < head.state.round:
                for certified in await store.headers(Round(len(found) + 1), 256):
                    found[certified.header.round] = certified.certificate.digest.hex()
        assert found.get(head.state.round, head.hash.hex()) == head.hash.hex()
        return found

    return asyncio.run(read())
