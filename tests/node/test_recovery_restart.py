"""What a restart in the middle of a recovery must not forget, and must not trip over (design 6.8)."""

from dataclasses import replace

from bflcd.node.effects import Persist, Say
from bflcd.node.events import RecoverySigned
from bflcd.store.protocol import VoteRecord
from bflcd.types import NodeId
from bflcd.wire.recovery import RecoveryCertificate
from tests.helpers.world import World
from tests.node.test_recovery import T0, a_recovery, managers, prepared_and_stuck, sign, stuck


def restarted(world: World, node: NodeId) -> list[object]:
    """Start a node anew; everything that it wants done from then on."""
    seen: list[object] = []
    carry_out = world.carry_out
    world.carry_out = lambda who, effects: (seen.extend(effects if who == node else ()), carry_out(who, effects))  # type: ignore[assignment, func-returns-value]
    world.kill(node)
    world.start(node)
    return seen


def test_a_manager_that_has_signed_votes_no_more_in_the_old_epoch_after_a_restart() -> None:
    """Given a manager with a seat that signed a recovery, when it restarts before there is a quorum, then it signs no vote."""
    world, dead = stuck(1)
    seats = next(iter(world.cores.values())).situation.committee
    manager = next(node for node in managers(world) if node in seats)
    recovery = a_recovery(world, dead)
    world.feed(manager, RecoverySigned(recovery, None))
    seen = restarted(world, manager)
    world.run_until(lambda: False, 20 * T0)
    assert not world.cores[manager].may_sign
    stored = [record for effect in seen if isinstance(effect, Persist) for record in effect.records]
    assert not [record for record in stored if isinstance(record, VoteRecord)]
    said = [effect.message for effect in seen if isinstance(effect, Say) and isinstance(effect.message, RecoveryCertificate)]
    assert said, "and it says again what it had signed"
    assert {certificate.recovery for certificate in said} == {recovery}


def test_a_manager_says_again_what_it_signed_with_the_proof_that_it_names() -> None:
    """Given a manager that signed to re-propose what was prepared, when it restarts, then its signature counts with the others'."""
    world, dead, proof = prepared_and_stuck(1)
    first, *others = managers(world)[:3]
    recovery = a_recovery(world, dead, proof=proof)
    world.feed(first, RecoverySigned(recovery, proof))
    seen = restarted(world, first)
    world.run_until(lambda: False, 4 * T0)
    said = [effect.message for effect in seen if isinstance(effect, Say) and isinstance(effect.message, RecoveryCertificate)]
    assert any(certificate.recovery == recovery and certificate.proof == proof for certificate in said)
    sign(world, recovery, proof, by=others)
    assert world.run_until(lambda: min(world.rounds()) >= 4, 60_000), "two more signatures are the quorum of four managers"


def test_what_a_lower_epoch_had_proposed_is_passed_over_at_a_restart() -> None:
    """Given a proposal of epoch 0 on the disk and a recovery that names nothing, when its node restarts, then it goes on."""
    world, dead, _ = prepared_and_stuck(1)
    sign(world, replace(a_recovery(world, dead), prepared=None))
    world.run_until(lambda: False, 40)
    holders = [node for node in world.cores if world.disks[node].found(2).proposals and world.round_of(node) == 2]
    assert holders, "somebody had found a proposal right"
    for node in holders:
        restarted(world, node)
    assert world.run_until(lambda: min(world.rounds()) >= 3, 60_000)
