"""A round that managers must recover twice, over whole cores in virtual time (design 6.8)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.core.effects import Notice
from bflcd.core.events import Event, MessageReceived, RecoverySigned
from bflcd.core.node_events import EventKind
from bflcd.node.services import highest_proof
from bflcd.types import Epoch, NodeId, View
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Commit
from bflcd.wire.recovery import PreparedProof, Recovery, claim_hash
from tests.helpers.ledger import make_genesis
from tests.helpers.proofs import claiming
from tests.helpers.world import World

STUCK = 2
"""The round in which everything happens."""


def without_commits(world: World) -> None:
    """No commit arrives any more."""
    post = world.post

    def posted(node: NodeId, event: Event, after: int) -> None:
        message = event.message if isinstance(event, MessageReceived) else None
        if not (isinstance(message, Envelope) and peek_number(message.payload) == number_of(Commit)):
            post(node, event, after)

    world.post = posted  # type: ignore[method-assign]


def with_commits(world: World) -> None:
    """They arrive again."""
    del world.post  # type: ignore[method-assign]


def proofs(world: World, epoch: int) -> list[PreparedProof]:
    """The highest that each living node can show, of those prepared in `epoch`."""
    disks = [world.disks[node] for node in world.cores]
    found = (highest_proof(disk.head.state, disk.found(STUCK)) for disk in disks if disk.head.state.round == STUCK)
    return [proof for proof in found if proof is not None and proof.claim.epoch == epoch]


def lose(world: World, committee: tuple[NodeId, ...]) -> list[NodeId]:
    """f + 1 of 4 seats die; no manager among them."""
    dead = [node for node in committee if node not in world.genesis.managers][:2]
    assert len(dead) == 2
    for node in dead:
        world.kill(node)
    return dead


def recovery_of(world: World, epoch: int, dead: list[NodeId], proof: PreparedProof) -> Recovery:
    """Two managers and two others, so that two can be lost again."""
    context = next(iter(world.cores.values())).context
    others = [node for node in sorted(world.cores) if node not in world.genesis.managers]
    managers = [node for node in world.genesis.managers if node in world.cores]
    committee = tuple([*others[:2], *managers][:4])
    retired = tuple(sorted(dead))
    return Recovery(
        context.state.chain, context.round, Epoch(epoch), context.head_hash, committee, retired, claim_hash(proof.claim)
    )


def sign(world: World, recovery: Recovery, proof: PreparedProof) -> None:
    for manager in world.genesis.managers[:3]:
        world.feed(manager, RecoverySigned(recovery, proof))


def begun(seed: int) -> Iterator[World]:
    """Communities in round 2, at least two of whose seats are held by others than managers, as the lot has it."""
    for number in range(50):
        genesis, identities = make_genesis(nodes=12, committee=4, places=6)
        world = World(replace(genesis, name=f"test {number}"), identities, seed)
        world.start_all()
        assert world.run_until(lambda: min(world.rounds()) >= STUCK, 60_000)  # noqa: B023
        seats = next(iter(world.cores.values())).context.committee
        if len(set(seats) - set(genesis.managers)) >= 2:
            yield world
    raise AssertionError("managers hold three seats in most of 50 communities")


def prepared_in_two_epochs(world: World) -> tuple[list[NodeId], list[PreparedProof]]:
    """Round 2 prepared a segment in epoch 0 and, bound to it, again in epoch 1; both committees have lost a quorum."""
    without_commits(world)
    assert world.run_until(lambda: len(proofs(world, 0)) >= 3, 60_000)
    first = max(proofs(world, 0), key=lambda proof: proof.claim.view)
    dead = lose(world, next(iter(world.cores.values())).context.committee)
    recovery = recovery_of(world, 1, dead, first)
    sign(world, recovery, first)
    assert world.run_until(lambda: len(proofs(world, 1)) >= 3, 60_000)
    dead += lose(world, recovery.committee)
    second = max(proofs(world, 1), key=lambda proof: proof.claim.view)
    assert (second.claim.digest, second.claim.proposal.epoch) == (first.claim.digest, 0)
    with_commits(world)
    return dead, [first, second]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", [0, 1], ids=["the proof of epoch 0", "that of epoch 1"])
def test_a_segment_that_two_epochs_prepared_is_decided_in_the_third(seed: int, which: int) -> None:
    """Given f + 1 seats of both committees gone, when managers name the proof of either, then that segment closes the round. It goes on
    by itself where no more than f of those have the seats that the segment gave: it was made before they died."""
    for world in begun(seed):
        dead = decided_in_the_third(world, which)
        if len(set(dead) & set(next(iter(world.cores.values())).context.committee)) <= 1:
            assert world.run_until(lambda: min(world.rounds()) >= STUCK + 4, 60_000), "and it goes on by itself"  # noqa: B023
            return


def decided_in_the_third(world: World, which: int) -> list[NodeId]:
    """Managers have named the proof of epoch `which`, and the round is closed by it; who is gone."""
    dead, found = prepared_in_two_epochs(world)
    proof = found[which]
    sign(world, recovery_of(world, 2, dead, proof), proof)
    assert world.run_until(lambda: min(world.rounds()) >= STUCK + 1, 60_000), world.blames[-5:]
    for node in world.cores:
        certified = world.disks[node].segments[STUCK + 1]
        model = certified.segment.model_header.model
        assert model is not None
        assert (certified.certificate.digest, certified.certificate.epoch, model.epoch) == (proof.claim.digest, 2, 0)
    return dead


def test_a_manager_signs_no_proof_from_which_its_segment_can_not_be_judged() -> None:
    world = next(begun(0))
    dead, (_, proof) = prepared_in_two_epochs(world)
    odd = claiming(proof, proposal=replace(proof.claim.proposal, epoch=Epoch(2)))
    recovery = recovery_of(world, 3, dead, odd)
    manager = world.genesis.managers[0]
    effects = world.cores[manager].handle(RecoverySigned(recovery, odd), world.instant())
    assert [effect.type for effect in effects if isinstance(effect, Notice)] == [EventKind.RECOVERY_REFUSED]
    assert len(effects) == 1


def test_what_a_later_epoch_prepared_is_shown_to_managers_whatever_its_view() -> None:
    """Given what epoch 0 prepared in its view 9 and epoch 1 in its view 0, then the proof of epoch 1 is the higher one."""
    world = next(begun(0))
    _, (_, second) = prepared_in_two_epochs(world)
    node = next(node for node in world.cores if any(record.epoch == 1 for record in world.disks[node].found(STUCK).prepared))
    disk = world.disks[node]
    (record,) = {
        record.certificate.recovery: record for record in disk.found(STUCK).recoveries if record.certificate.proof
    }.values()
    assert record.certificate.proof is not None
    older = claiming(record.certificate.proof, view=View(9))
    records = replace(disk.found(STUCK), recoveries=(replace(record, certificate=replace(record.certificate, proof=older)),))
    proof = highest_proof(disk.head.state, records)
    assert proof is not None
    assert (proof.claim.epoch, proof.claim.view, proof.claim.digest) == (1, second.claim.view, second.claim.digest)
