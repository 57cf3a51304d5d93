"""Managers go back to an older model in the simulated world: the daemon's own interpreter, store, pruning and requests."""

import pytest

from bflcd.core.events import OperationSaid
from bflcd.errors import PeerError
from bflcd.ledger.operations.application import check_operation
from bflcd.ledger.state import account_of
from bflcd.params import BlobRef
from bflcd.types import Round
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import RULE, Rollback
from tests.sim.node import SimNode
from tests.sim.run import make_world, run_world
from tests.sim.world import World

TARGET = 1


def model_of(world: World, round_: int) -> BlobRef | None:
    """By whichever node has that round."""
    found = (node.disk.segment(round_) for node in world.nodes)
    return next((one.segment.model_header.blob for one in found if one is not None), None)


class Managers:
    """Three of four, each of whose operators has its node sign as soon as it may; again if nothing came of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.after(1_500, self.look)

    def look(self) -> None:
        managers = [self.world.by_id[node] for node in self.world.genesis.managers][:3]
        for node in managers:
            self._sign(node)
        if any(node.disk.head.state.rollback is None for node in self.world.nodes):
            self.world.after(400, self.look)

    def _sign(self, node: SimNode) -> None:
        state, model = node.disk.head.state, model_of(self.world, TARGET)
        account = account_of(state, node.id)
        if model is None or node.core is None or account is None or state.rollback is not None or state.round <= TARGET:
            return
        body = Rollback(state.chain, state.round, account.operations + 1, Round(TARGET), model, "poisoned")
        operation = Operation("rollback", (seal(body, node.signer).envelope,))
        try:
            check_operation(state, operation)
        except PeerError:
            return  # it has said so already
        node.post(OperationSaid(operation))


CASES = [(8, "a node is down"), (5, "crash_storm"), (1, "calm"), (6, "lossy"), (3, "power_loss"), (4, "torn_log"), (3, "mixed")]
"""Seed, and what goes wrong."""


@pytest.mark.parametrize(
    ("seed", "profile"), [pytest.param(*case, marks=[pytest.mark.slow] * (at > 1)) for at, case in enumerate(CASES)]
)
def test_a_community_with_pruned_nodes_goes_back_whatever_goes_wrong(seed: int, profile: str) -> None:
    """Given nodes of which all but one prune, and faults, when three managers have signed, then every ledger says that the model went
    back once, and the block after has the older model; nothing that is promised is broken."""
    down = profile == CASES[0][1]
    world, scene = make_world(seed, profile="calm" if down else profile, nodes=6, changing=False)
    scene.rounds, scene.length = 12, max(scene.length, 60_000)
    for node in world.nodes[1:]:
        node.pruned_keep = 1
    if down:
        world.profile = profile
        world.after(2_000, lambda: world.nodes[5].crash(power=False))
        world.after(scene.length, world.nodes[5].start)
    Managers(world)
    result = run_world(world, scene)
    assert result.violations == ()
    old = model_of(world, TARGET)
    for node in world.nodes:
        last = node.disk.head.state.rollback
        assert last is not None, node.name
        assert (last.target, last.model) == (TARGET, old)
        segments = [node.disk.segment(round_) for round_ in range(1, node.round + 1)]
        went = [one.segment.model_header for one in segments if one is not None and one.segment.model.rule == RULE]
        assert [(header.round, header.blob) for header in went] == [(last.round + 1, old)]
