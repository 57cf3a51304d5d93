"""Trainers with privacy in a round: what their offers claim, and how a round goes without those whose budget is spent."""

from dataclasses import replace

from bflcd.core.effects import Train
from bflcd.core.events import Trained, WorkFailed
from bflcd.types import NodeId
from bflcd.wire.envelope import open_envelope
from bflcd.wire.messages import Offer
from bflcd.wire.privacy import PrivacyClaim
from tests.helpers.scenes import a_trainer, a_world, reach
from tests.helpers.world import World

CLAIM = PrivacyClaim(epsilon=1_234, exponent=5)


def answered(world, change):
    """From now on the worker's answers are what `change` makes of a node's `Trained`; who was told to train, in order."""
    real, asked = world.answer, []

    def answer(node, effect):
        if isinstance(effect, Train):
            asked.append((node, effect.round))
        for event, delay in real(node, effect):
            yield (change(node, event) if isinstance(event, Trained) else event), delay

    world.answer = answer
    return asked


def claims(world: World, round_: int) -> dict[NodeId, PrivacyClaim | None]:
    """What the packed of a round claim."""
    certified = next(disk.segments[round_] for disk in world.disks.values() if round_ in disk.segments)
    packed = [update.offer for update in certified.segment.updates if update.offer is not None]
    return {offer.author: open_envelope(offer, (Offer,)).body.privacy for offer in packed}


def test_a_block_has_what_its_trainers_claim():
    """Given a community in which one trainer trains with privacy, when its update is packed, then the block has its claim."""
    world = a_world()
    private = a_trainer(world)
    answered(world, lambda node, event: replace(event, claim=CLAIM if node == private else None))
    reach(world, 1, 60_000)
    said = claims(world, 1)
    assert said.pop(private) == CLAIM
    assert set(said.values()) == {None}


def test_a_restart_says_the_same_claim_and_trains_no_more():
    """Given a trainer whose offer is durable, when it is killed and starts again, then its claim is packed and nothing more told."""
    world = a_world()
    private = a_trainer(world)
    asked = answered(world, lambda _, event: replace(event, claim=CLAIM))
    assert world.run_until(lambda: any(record for record in world.disks[private].records.get(0, ())), 10_000)
    assert world.run_until(lambda: world.cores[private].snapshot(world.instant()).offers != (), 10_000)
    world.kill(private)
    world.start(private)
    reach(world, 1, 60_000)
    assert claims(world, 1)[private] == CLAIM
    assert asked.count((private, 0)) <= 2


def test_who_has_spent_its_budget_is_asked_once_a_round_and_its_log_stays_quiet():
    """Given a trainer whose worker says that nothing is trained any more, when rounds go by, then it is not asked again in any."""
    world = a_world()
    spent = a_trainer(world)
    asked = answered(
        world, lambda node, event: WorkFailed(event.round, training=True, text="spent", final=True) if node == spent else event
    )
    reach(world, 2, 400_000)
    rounds = [round_ for node, round_ in asked if node == spent]
    assert rounds
    assert len(rounds) == len(set(rounds))
    assert spent not in claims(world, 1)
    assert [note for note in world.notices if "spent" in note[2]] == []
