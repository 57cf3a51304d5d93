"""Bad leaders: whole cores in virtual time; each figure is what the fault costs beyond a healthy round of the same seed."""

from dataclasses import replace

import pytest

from bflcd.core.effects import Commit, Effect, Persist, Send
from bflcd.core.records import PreparedRecord
from bflcd.types import Digest, NodeId
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.messages import Commit as CommitVote
from bflcd.wire.messages import JustifiedPrePrepare, PrePrepare
from tests.helpers.inside import round_of
from tests.helpers.scenes import (
    COMMIT,
    PRE_PREPARE,
    T0,
    VIEW_CHANGE,
    Figure,
    a_world,
    elapsed,
    kind,
    leader_in,
    mostly_slow,
    on_effect,
    one_state,
    reach,
    refusals,
    spent,
)
from tests.helpers.world import World

SEEDS = mostly_slow(0, 1, 2)


def usual_round(seed: int, round_: int = 3, **size: int) -> int:
    """What that round takes in the same world without a fault."""
    world = a_world(seed=seed, **size)
    reach(world, round_ - 1, 60_000)
    return elapsed(world, round_)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_1_a_leader_dies_before_it_proposes(seed: int, figure: Figure) -> None:
    usual = usual_round(seed)
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    world.kill(leader_in(world))
    figure(1, elapsed(world, 3) - usual, spent(1) + T0, "ms more")
    one_state(world)


@pytest.mark.parametrize("heard", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_2_a_leader_dies_when_some_have_its_proposal(seed: int, heard: int, figure: Figure) -> None:
    """Given a pre-prepare that reaches `heard` of three members, when its author is gone, then the others decide."""
    usual = usual_round(seed)
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    leader = leader_in(world)

    def partial(node: NodeId, effect: Effect) -> bool:
        if node == leader and isinstance(effect, Send) and kind(effect.message) == PRE_PREPARE:
            few = replace(effect, to=effect.to[:heard])
            for event, after in world.answer(node, few):
                world.post(few.to[0], event, after)
            world.kill(leader)
            return True
        return False

    on_effect(world, partial)
    figure(2, elapsed(world, 3) - usual, spent(1) + T0, "ms more")
    assert leader not in world.cores
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_3_a_leader_dies_after_a_prepared_quorum(seed: int, figure: Figure) -> None:
    """Given all are prepared, when every commit of view 0 is lost and the leader dies, then the same segment is proposed again."""
    usual = usual_round(seed)
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    leader, prepared = leader_in(world), set[Digest]()

    def cut(node: NodeId, effect: Effect) -> bool:
        if isinstance(effect, Persist):
            prepared.update(r.prepared.digest for r in effect.records if isinstance(r, PreparedRecord) and r.round == 2)
        if not isinstance(effect, Send) or kind(effect.message) != COMMIT:
            return False
        vote = open_envelope(effect.message, (CommitVote,)).body  # type: ignore[arg-type]
        if node == leader and vote.round == 2:
            world.kill(leader)
        return vote.round == 2 and vote.view == 0

    on_effect(world, cut)
    figure(3, elapsed(world, 3) - usual, spent(1) + T0, "ms more")
    assert prepared == {world.decided[3]}, "the hash is that of the prepared segment"
    assert leader not in world.cores
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_4_a_leader_dies_when_it_alone_has_decided(seed: int, figure: Figure) -> None:
    """Given only the leader committed, when it dies before anybody hears of it, then the same block is decided everywhere."""
    usual = usual_round(seed)
    world = a_world(seed=seed)
    reach(world, 2, 60_000)
    leader = leader_in(world)

    def dies(node: NodeId, effect: Effect) -> bool:
        if node != leader and isinstance(effect, Send) and kind(effect.message) == COMMIT and leader in world.cores:
            # its commit reaches the leader alone
            for other in list(world.cores):
                if other == leader:
                    for event, after in world.answer(node, replace(effect, to=(leader,))):
                        world.post(leader, event, after)
            return True
        return False

    on_effect(world, dies)
    drop = world.drop
    world.drop = lambda s, r, n: drop(s, r, n) or (s == leader and world.round_of(leader) > 2)
    assert world.run_until(lambda: world.round_of(leader) == 3, 60_000)
    first = world.decided[3]
    world.kill(leader)
    figure(4, elapsed(world, 3) - usual, spent(1) + T0, "ms more")
    assert world.decided[3] == first
    one_state(world)


@pytest.mark.parametrize("committee", mostly_slow(7, 4, 10))
def test_row_6_f_bad_leaders_in_a_row(committee: int, figure: Figure) -> None:
    f, size = (committee - 1) // 3, {"nodes": 2 * committee + 4, "committee": committee, "places": committee}
    usual = usual_round(1, 2, **size)
    world = a_world(seed=1, **size)
    reach(world, 1, 60_000)
    for leader in [leader_in(world, view) for view in range(f)]:
        world.kill(leader)
    figure(6, elapsed(world, 2) - usual, spent(f) + T0, "ms more")
    one_state(world)


def lying_leader(world: World, lie: str) -> NodeId:
    """The leader of the running round signs another pre-prepare than the function of the cards gives."""
    leader, identity = leader_in(world), world.identities[leader_in(world)]
    carry_out = world.carry_out

    def false(message: JustifiedPrePrepare) -> JustifiedPrePrepare:
        body = open_envelope(message.pre_prepare, (PrePrepare,)).body
        cards = body.proposal.cards
        forged = {
            "another segment": replace(body, digest=Digest(bytes(32))),
            "a card left out": replace(body, proposal=replace(body.proposal, cards=cards[:-1])),
            "one card thrice": replace(body, proposal=replace(body.proposal, cards=cards[:1] * len(cards))),
            "a card that nobody signed": replace(
                body, proposal=replace(body.proposal, cards=(*cards[:-1], Digest(b"\xff" * 32)))
            ),
        }[lie]
        return replace(message, pre_prepare=seal(forged, identity).envelope)

    def swapping(node: NodeId, effects: list[Effect]) -> None:
        if node == leader:
            effects = [
                replace(e, message=false(e.message)) if isinstance(e, Send) and isinstance(e.message, JustifiedPrePrepare) else e
                for e in effects
                if not (
                    isinstance(e, Send)
                    and kind(e.message) not in (PRE_PREPARE, VIEW_CHANGE)
                    and world.round_of(node) == 2
                    and world.now > began
                )
            ]
        carry_out(node, effects)

    began = world.now
    world.carry_out = swapping  # type: ignore[method-assign]
    return leader


@pytest.mark.parametrize("lie", ["another segment", "a card left out", "one card thrice", "a card that nobody signed"])
def test_row_51_a_leader_cannot_leave_out_what_the_cards_say(lie: str, figure: Figure) -> None:
    """Given a leader whose pre-prepare isn't the function of q cards, then nobody prepares it and the next leader is heard."""
    usual = usual_round(5)
    world = a_world(seed=5)
    reach(world, 2, 60_000)
    assert world.run_until(
        lambda: sum(c.own_card is not None for c in (round_of(k).collection for k in world.cores.values())) >= 1, 10_000
    )
    lying_leader(world, lie)
    figure(51, elapsed(world, 3) - usual, spent(1) + T0, "ms more")
    node = next(iter(world.cores))
    certified = world.disks[node].segments[3]
    assert certified.certificate.view == 1, "the honest leader of view 1 was the first whose proposal was accepted"
    assert sum(update.offer is not None for update in certified.segment.updates) == 6
    one_state(world)


def steps_of(world: World, node: NodeId, round_: int) -> int:
    """How many effects a node carries out from its commit of `round_` to its first commit after it."""
    count, counting = 0, False

    def count_up(who: NodeId, effect: Effect) -> bool:
        nonlocal count, counting
        if who == node:
            if isinstance(effect, Commit):
                counting = effect.state.round == round_
            count += counting
        return False

    on_effect(world, count_up)
    reach(world, round_ + 1, 60_000)
    return count


def crash_in_the_handover(victim: NodeId, step: int, *, returns: bool) -> tuple[World, int]:
    """A world whose `victim` dies before the effect `step` places behind its commit of round 3, and what two rounds then take."""
    world, seen = a_world(seed=3), 0

    def crash(node: NodeId, effect: Effect) -> bool:
        nonlocal seen
        if node != victim or seen > step or not (seen or (isinstance(effect, Commit) and effect.state.round == 3)):
            return False
        seen += 1
        if seen <= step:
            return False
        world.kill(victim)
        if returns:
            world.start(victim)
        return True

    on_effect(world, crash)
    took = elapsed(world, 5)
    assert seen == step + 1
    return world, took


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("returns", [True, False], ids=["it comes back", "it stays away"])
@pytest.mark.parametrize(
    ("round_", "seat"), [(2, 0), (2, 1), (3, 0), (3, 1)], ids=["old leader", "old member", "new leader", "new member"]
)
def test_row_34_a_crash_at_each_step_of_the_handover(round_: int, seat: int, returns: bool, every: int, figure: Figure) -> None:
    """Given a node killed before each effect from its commit of round 3 to its next, then there is one committee a round, no gap."""
    healthy = a_world(seed=3)
    reach(healthy, round_, 60_000)
    victim = leader_in(healthy, seat)
    reach(healthy, 5, 60_000)
    usual, count = healthy.now, steps_of(a_world(seed=3), victim, 3)
    committees = {r: certified.certificate.committee for r, certified in healthy.disks[victim].segments.items()}
    assert count >= 5
    for step in range(0, count, every):
        world, took = crash_in_the_handover(victim, step, returns=returns)
        figure(34, took - usual, spent(1) + T0, "ms more")
        one_state(world)
        for disk in world.disks.values():
            found = {r: certified.certificate.committee for r, certified in disk.segments.items()}
            assert list(found) == list(range(1, disk.head.state.round + 1)), "no gap"
            assert all(found[r] == committees[r] for r in (1, 2, 3) if r in found), "no two committees"
        assert refusals(world) == []
