"""Communities in which every node is overloaded all the time, and sheds what it may: safe and live as without (design 8, Waits)."""

from typing import Any

import pytest

from bflcd.core.relaying import Standpoint
from bflcd.core.shedding import Shed, shed_of
from bflcd.errors import PeerError, Rejection
from bflcd.net.exchange import SPARED
from bflcd.net.gossip import OVER
from bflcd.net.limits import PeerBuckets
from bflcd.node.load.shedding import others_can_answer
from bflcd.node.runtime.ports import Pushed
from bflcd.types import Millis, NodeId
from tests.sim.node import SimNode
from tests.sim.run import make_world, run_world
from tests.sim.world import World

PROFILES = ("calm", "lossy", "laggards", "crash_storm", "halves", "wiped", "liars_and_network", "liars_and_crashes")


class Overloaded:
    """Stands before each node's queues, as `GossipChannel` and `Exchange` do in a daemon that is overloaded."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages = self.requests = 0
        self._over: dict[NodeId, PeerBuckets] = {}
        self._deliver, self._push = world._deliver, world.push
        world._deliver, world.push = self.deliver, self.push  # type: ignore[method-assign]
        for node in world.nodes:
            self._over[node.id] = PeerBuckets(OVER, self.now)
            self.answer_few(node)

    def now(self) -> Millis:
        return Millis(self.world.now)

    def shed(self, node: SimNode, message: Any) -> Shed | None:
        if node.core is None or isinstance(message, bytes):
            return None
        context = node.core.context
        stands = Standpoint(self.world.chain, context.round, len(context.members), judges=context.judges, overloaded=True)
        try:
            return shed_of(message, stands)
        except PeerError:
            return None

    def deliver(self, honest: bool, forwarder: SimNode, other: SimNode, message: Any) -> None:
        shed = self.shed(other, message)
        if shed is Shed.SAID_AGAIN or (shed is Shed.OVER and not self._over[other.id].take(forwarder.id)):
            self.messages += 1
        else:
            self._deliver(honest, forwarder, other, message)

    def push(self, node: SimNode, message: Any, peer: NodeId) -> tuple[Pushed, int]:
        outcome, after = self._push(node, message, peer)
        left = outcome is Pushed.TAKEN_IN and self.shed(self.world.by_id[peer], message) is Shed.SAID_AGAIN
        return Pushed.NOT_NOW if left else outcome, after

    def answer_few(self, node: SimNode) -> None:
        spared, answer = PeerBuckets(SPARED, self.now), node.answer

        def few(peer: NodeId, request: Any) -> object:
            engine = node.engine
            assert engine is not None
            if others_can_answer(request, engine.core.context, engine.unpublished) and not spared.take(peer):
                self.requests += 1
                raise PeerError(Rejection.BUSY, "overloaded")
            return answer(peer, request)

        node.answer = few  # type: ignore[method-assign]


def run(seed: int, profile: str) -> tuple[tuple[str, ...], Overloaded]:
    world, scene = make_world(seed, profile=profile, changing=False)
    overloaded = Overloaded(world)
    return run_world(world, scene).violations, overloaded


@pytest.mark.parametrize("profile", PROFILES)
def test_a_community_that_sheds_all_that_it_may_is_safe_and_heals_in_time(profile: str) -> None:
    """Given nodes that are overloaded from the first moment to the last, when what each profile draws happens to them, then no promise
    of the simulated world is broken: neither safety nor the limits of the heal."""
    assert {seed: found for seed in range(3) if (found := run(seed, profile)[0])} == {}


def test_they_do_shed() -> None:
    """Given a community in which one says much of a decided round, then that is shed; and the promises hold."""
    found, overloaded = run(1, "gone")
    assert (found, overloaded.messages > 0) == ((), True)


def test_who_is_a_hundred_rounds_behind_gains_on_the_others_though_all_of_them_are_overloaded() -> None:
    """Given two members that close three rounds a second, when a third asks only them for a hundred that it missed, then it stands
    where they do in time. Where they refused what it asks for beyond one a second it never did."""
    assert run(109, "gone")[0] == ()
