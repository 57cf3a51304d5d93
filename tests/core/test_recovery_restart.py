"""What a restart in the middle of a recovery must not forget, and must not trip over (design 6.8)."""

from dataclasses import replace

import pytest

from bflcd.core.effects import Persist, Send
from bflcd.core.events import MessageReceived, RecoverySigned
from bflcd.core.records import VoteRecord
from bflcd.node.services import highest_proof
from bflcd.types import NodeId
from bflcd.wire.recovery import ProposalBasis, RecoveryCertificate
from tests.core.test_recovery import T0, a_recovery, certified, managers, prepared_and_stuck, sign, stuck
from tests.core.test_recovery_again import without_commits
from tests.helpers.inside import round_of
from tests.helpers.world import World


def watched(world: World, node: NodeId) -> list[object]:
    """Everything that a node wants done from now on."""
    seen: list[object] = []
    carry_out = world.carry_out
    world.carry_out = lambda who, effects: (seen.extend(effects if who == node else ()), carry_out(who, effects))  # type: ignore[assignment, func-returns-value]
    return seen


def restarted(world: World, node: NodeId) -> list[object]:
    """Start a node anew; everything that it wants done from then on."""
    seen = watched(world, node)
    world.kill(node)
    world.start(node)
    return seen


def votes(seen: list[object]) -> list[object]:
    """The votes that were made durable."""
    stored = [record for effect in seen if isinstance(effect, Persist) for record in effect.records]
    return [record for record in stored if isinstance(record, VoteRecord)]


@pytest.mark.parametrize("signs", [False, True])
def test_a_manager_that_has_signed_votes_no_more_in_the_old_epoch(signs: bool) -> None:
    """Given a manager with a seat in a view that gets nowhere, then it asks for the next one, unless it has signed a recovery."""
    world, dead, _ = prepared_and_stuck(1)
    seats = next(iter(world.cores.values())).context.committee
    manager = next(node for node in managers(world) if node in seats)
    if signs:
        world.feed(manager, RecoverySigned(a_recovery(world, dead), None))
    seen = watched(world, manager)
    world.run_until(lambda: False, 20 * T0)
    assert bool(votes(seen)) is not signs


def test_a_manager_that_has_signed_votes_no_more_in_the_old_epoch_after_a_restart() -> None:
    """Given a manager with a seat that signed a recovery, when it restarts before there is a quorum, then it signs no vote."""
    world, dead, _ = prepared_and_stuck(1)
    seats = next(iter(world.cores.values())).context.committee
    manager = next(node for node in managers(world) if node in seats)
    recovery = a_recovery(world, dead)
    world.feed(manager, RecoverySigned(recovery, None))
    seen = restarted(world, manager)
    world.run_until(lambda: False, 20 * T0)
    assert not round_of(world.cores[manager]).may_sign
    assert votes(seen) == []
    said = [effect.message for effect in seen if isinstance(effect, Send) and isinstance(effect.message, RecoveryCertificate)]
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
    said = [effect.message for effect in seen if isinstance(effect, Send) and isinstance(effect.message, RecoveryCertificate)]
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


@pytest.mark.parametrize("newest_first", [False, True])
def test_what_a_manager_alone_had_signed_for_an_epoch_is_not_taken_for_that_epochs_committee(newest_first: bool) -> None:
    """Given a manager that signed one recovery of epoch 1, and three that gave the epoch to others, when those have prepared,
    then the proof that it can show names the committee that prepared it."""
    communities = (stuck(nodes=12, name=f"test {number}") for number in range(50))
    world, dead = next(found for found in communities if len(managers(found[0])) == 4)
    alone, *others = managers(world)
    given = replace(a_recovery(world, dead), committee=tuple(managers(world)))
    odd = replace(given, committee=tuple(reversed(given.committee)), retired=())
    world.feed(alone, RecoverySigned(odd, None))
    sign(world, given, by=others)
    without_commits(world)
    assert world.run_until(lambda: bool(world.disks[alone].found(2).prepared), 60_000)
    disk = world.disks[alone]
    recoveries = sorted(disk.found(2).recoveries, key=lambda record: record.certificate.recovery == odd, reverse=newest_first)
    assert {record.certificate.recovery for record in recoveries} == {given, odd}
    proof = highest_proof(disk.head.state, replace(disk.found(2), recoveries=tuple(recoveries)))
    assert proof is not None
    assert (proof.claim.epoch, proof.claim.committee, proof.claim.basis) == (
        1,
        given.committee,
        ProposalBasis(given.committee, given.retired),
    )


def test_of_two_recoveries_the_higher_epoch_counts_after_a_restart() -> None:
    world, dead = stuck()
    node = managers(world)[0]
    for epoch in (2, 1, 3):
        world.feed(
            node, MessageReceived(certified(world.identities, a_recovery(world, dead, epoch=epoch), managers(world)), node)
        )
    records = world.disks[node].found(2)
    assert [record.certificate.recovery.epoch for record in records.recoveries] == [2, 3], "epoch 1 came too late"
    world.kill(node)
    world.start(node)
    assert world.cores[node].context.state.epoch == 3
