"""Whole cores and their leaders' draws: a false one is refused and costs the view, a true one stays with its segment (design 5, Lot)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bflcd.core.effects import Effect, Send
from bflcd.core.events import Event
from bflcd.ledger.lot import lot_input
from bflcd.ledger.state import NEVER, State
from bflcd.ledger.transition import draw_of
from bflcd.types import NodeId, Proof, View
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope, open_envelope, seal
from bflcd.wire.messages import Commit, JustifiedPrePrepare, PrePrepare, Vote
from bflcd.wire.proposal import Proposal
from tests.helpers.scenes import a_world, committee_of, leader_in, one_state, reach
from tests.helpers.world import World

ROUND = 2
"""The round in which something happens."""


def at_round(seed: int) -> World:
    world = a_world(seed=seed)
    reach(world, ROUND, 60_000)
    return world


def failed_in(state: State) -> dict[NodeId, int]:
    return {account.node: account.failed_round for account in state.accounts if account.failed_round != NEVER}


def changing(world: World, leader: NodeId, change: Callable[[Proposal], Proposal]) -> None:
    """The leader says something else of its segment than it is made from, in its view 0 of this round."""
    answer = world.answer

    def lying(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Send) and isinstance(effect.message, JustifiedPrePrepare) and node == leader:
            body = open_envelope(effect.message.pre_prepare, (PrePrepare,)).body
            if (body.round, body.view) == (ROUND, 0):
                body = replace(body, proposal=change(body.proposal))
                envelope = seal(body, world.identities[leader]).envelope
                effect = replace(effect, message=replace(effect.message, pre_prepare=envelope))
        yield from answer(node, effect)

    world.answer = lying  # type: ignore[method-assign]


@pytest.mark.parametrize("lie", ["nonsense", "another's", "another view"])
def test_a_false_draw_is_refused_by_name_and_the_next_leader_draws(lie: str) -> None:
    """Given a leader whose segment is right but for the proof, or for the view that it says, when it proposes it, then every other
    seat refuses it as a bad draw, the next leader closes the round with its own, and the ledger notes who let the view fail."""
    world = at_round(1)
    leader, second = leader_in(world), leader_in(world, 1)
    state = world.cores[leader].context.state
    alpha = lot_input(state.chain, state.round, state.lot)
    changes: dict[str, Callable[[Proposal], Proposal]] = {
        "nonsense": lambda proposal: replace(proposal, proof=Proof(bytes(80))),
        "another's": lambda proposal: replace(proposal, proof=world.identities[second].prove(alpha)),
        "another view": lambda proposal: replace(proposal, view=View(4)),
    }
    changing(world, leader, changes[lie])
    others = [node for node in committee_of(world) if node != leader]
    reach(world, ROUND + 1, 120_000)
    assert {"bad_draw"} == {blame.rejection.value for blame in world.blames if "bad_draw" in blame.text}
    model = world.disks[second].segments[ROUND + 1].segment.model_header.model
    assert model is not None
    assert model.view == 1
    assert model.proof is not None
    assert model.lot == draw_of(state, View(1), world.identities[second].prove(alpha)).lot
    after = world.disks[others[0]].head.state
    assert failed_in(after) == {leader: ROUND}
    reach(world, ROUND + 4, 200_000)
    for round_ in range(ROUND + 1, ROUND + 5):
        seats = world.disks[second].segments[round_].segment.model_header.model.committee  # type: ignore[union-attr]
        assert leader not in seats[:-1], "it leads last, if it sits at all"
    one_state(world)


@pytest.mark.parametrize("seed", range(3))
def test_a_segment_that_is_proposed_again_keeps_its_draw_and_nobody_has_failed(seed: int) -> None:
    """Given a segment that all prepared in view 0 and whose commits are lost, when view 1 decides it, then it says view 0, its
    lot is that of view 0's leader, and no leader is noted as failed."""
    world = at_round(seed)
    leader = leader_in(world)
    state, answer = world.cores[leader].context.state, world.answer

    def lossy(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if not (isinstance(effect, Send) and is_first_commit(effect.message)):
            yield from answer(node, effect)

    world.answer = lossy  # type: ignore[method-assign]
    reach(world, ROUND + 1, 120_000)
    certified = world.disks[leader].segments[ROUND + 1]
    model = certified.segment.model_header.model
    assert model is not None
    assert model.proof is not None
    assert certified.certificate.view > 0
    assert model.view == 0
    assert model.lot == draw_of(state, View(0), model.proof).lot
    assert failed_in(world.disks[leader].head.state) == {}
    one_state(world)


def is_first_commit(message: object) -> bool:
    """Whether it is a commit of the round's view 0."""
    if not isinstance(message, Envelope) or peek_number(message.payload) != number_of(Commit):
        return False
    body: Vote = open_envelope(message, (Commit,)).body
    return (body.round, body.view) == (ROUND, 0)
