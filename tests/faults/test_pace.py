"""Who sets the pace: rounds under a fault against rounds of the same seed without it, whole cores in virtual time."""

from functools import cache

import pytest

from bflcd.core.effects import Effect, Score, Send
from bflcd.core.events import Event, MessageReceived
from bflcd.types import NodeId
from tests.helpers.scenes import (
    CARD,
    COMMIT,
    PREPARE,
    T0,
    Figure,
    a_trainer,
    a_world,
    committee_of,
    elapsed,
    kind,
    leader_in,
    mostly_slow,
    on_effect,
    one_state,
    reach,
)
from tests.helpers.world import World

ROUNDS = 4
TRAINING = 10_000
"""A training that takes 8 T0: what is said of pace is said of rounds that are longer than a view."""

SEEDS = mostly_slow(0, 1)


@cache
def usual(seed: int, training: int = TRAINING) -> int:
    """What the rounds take without a fault."""
    return elapsed(paced(seed, training), ROUNDS)


def paced(seed: int, training: int = TRAINING) -> World:
    world = a_world(seed=seed)
    world.train_ms = lambda _: training
    return world


@pytest.mark.parametrize("training", [200, TRAINING])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_7_f_members_withhold_their_votes(seed: int, training: int, figure: Figure) -> None:
    """Given that in each round a member that doesn't lead sends neither prepare nor commit, then rounds are hardly longer."""
    world = paced(seed, training)

    def withheld(node: NodeId, effect: Effect) -> bool:
        core = world.cores[node]
        silent = core.context.judges and core.context.committee.index(node) == (core.context.round + 2) % 4
        return silent and isinstance(effect, Send) and kind(effect.message) in (PREPARE, COMMIT)

    carry_out = world.carry_out
    world.carry_out = lambda node, effects: carry_out(node, [e for e in effects if not withheld(node, e)])  # type: ignore[method-assign]
    figure(7, elapsed(world, ROUNDS) / usual(seed, training), 1.5, "x the healthy round")
    one_state(world)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_7_a_member_that_does_not_lead_is_dead(seed: int, figure: Figure) -> None:
    healthy = paced(seed)
    reach(healthy, 2, 60_000)
    without = elapsed(healthy, 3)
    world = paced(seed)
    reach(world, 2, 60_000)
    world.kill(leader_in(world, 2))
    figure(7, elapsed(world, 3) / without, 1.5, "x the healthy round, a member dead")


@pytest.mark.parametrize("training", [200, TRAINING])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_12_a_fifth_of_all_messages_is_lost(seed: int, training: int, figure: Figure) -> None:
    """Half of the rounds: in the time of 2 healthy rounds one is closed. The short round is slower than that, by up to 2 T0."""
    world = paced(seed, training)
    world.drop = lambda _s, _r, _n: world.rng.random() < 0.2
    took = elapsed(world, ROUNDS)
    one_state(world)
    if training == TRAINING:
        figure(12, took / usual(seed, training), 2.0, "x the healthy round")
    else:
        figure(12, (took - usual(seed, training)) / ROUNDS, 2 * T0, "ms more a round of 0.4 s")


@pytest.mark.parametrize("seed", SEEDS)
def test_row_15_a_slow_member_does_not_set_the_pace(seed: int, figure: Figure) -> None:
    """Given a member that scores for an hour and is 200 ms away, then the other q cards and votes carry the round."""
    world = paced(seed)
    slow = committee_of(world)[1]
    answer, post = world.answer, world.post

    def late(node: NodeId, effect: Effect):
        for event, after in answer(node, effect):
            yield event, after + (3_600_000 if node == slow and isinstance(effect, Score) else 0)

    def far(node: NodeId, event: Event, after: int) -> None:
        far_away = isinstance(event, MessageReceived) and slow in (node, event.peer)
        post(node, event, after + 200 * far_away)

    world.answer, world.post = late, far  # type: ignore[method-assign, assignment]
    figure(15, elapsed(world, ROUNDS) / usual(seed), 1.2, "x the healthy round, a slow member")
    one_state(world)


@pytest.mark.parametrize("factor", [2, 100])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_15_a_slow_trainer_costs_the_grace_and_no_more(seed: int, factor: int, figure: Figure) -> None:
    """The card waits a quarter of the time that the others took (design 5.3): 1.2 can't hold, 1.25 and a hop do."""
    world = paced(seed)
    slow = a_trainer(world)
    world.train_ms = lambda node: TRAINING * (factor if node == slow else 1)
    figure(15, elapsed(world, ROUNDS) / usual(seed), 1.3, "x the healthy round, a slow trainer")
    one_state(world)


@pytest.mark.parametrize("training", [200, TRAINING])
@pytest.mark.parametrize("seed", SEEDS)
def test_row_54_a_trainer_that_is_present_and_never_offers(seed: int, training: int, figure: Figure) -> None:
    world = paced(seed, training)
    silent = a_trainer(world)
    world.train_ms = lambda node: 10**9 if node == silent else training
    took = elapsed(world, ROUNDS) / ROUNDS
    figure(54, (took - 1.3 * usual(seed, training) / ROUNDS) / T0, 1.0, "T0 a round beyond 1.3 x")
    one_state(world)


def test_row_56_a_card_withheld_by_every_liar_changes_nothing(figure: Figure) -> None:
    """Given a member that never sends a card, then q others suffice."""
    world = paced(1)
    silent = committee_of(world)[1]
    on_effect(world, lambda node, e: node == silent and isinstance(e, Send) and kind(e.message) == CARD)
    figure(56, elapsed(world, ROUNDS) / usual(1), 1.5, "x the healthy round, a card withheld")
    one_state(world)
