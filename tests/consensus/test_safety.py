"""Random worlds: every size, every fault profile, up to f liars. No fork, no double signature, no honest peer refused; then liveness."""

import random

import pytest

from bflcd.consensus.timers import timeout
from bflcd.types import View
from tests.helpers.consensus import T0, Adversary, Equivocator, Faults, Forger, World

SIZES = (1, 2, 3, 4, 5, 6, 7, 10)
SEEDS = 240
BATCH = 20

AFTER_HEAL = 4 * timeout(View(16), T0)
"""Time for a decision after the heal with f liars in the leaders' row: two views at the cap, and up to f led by liars."""


def profile(choose: random.Random, honest: list[int], liars: set[int]) -> Faults:
    """Draw a fault profile: what kind of trouble, then how much of it."""
    heal = choose.choice([0, 3_000, 15_000])
    kind = choose.choice(["calm", "halves", "loss", "slow", "one way"])
    half = frozenset(honest[: len(honest) // 2])
    pairs = frozenset((choose.choice(honest), choose.choice(honest)) for _ in honest)
    return Faults(
        heal=heal,
        duplicates=choose.choice([0.0, 0.3]),
        crashes=choose.choice([0, 0, 3, 8]),
        clock_jumps=frozenset(honest[:1]) if choose.random() < 0.2 else frozenset(),
        ready=choose.choice([50, 2_000]),
        loss=choose.choice([0.2, 0.5]) if kind == "loss" else 0.0,
        slow=(0, 10 * T0) if kind == "slow" else None,
        groups=(half | liars, frozenset(honest) - half | liars) if kind == "halves" else (),
        one_way=pairs if kind == "one way" else frozenset(),
    )


def draw(seed: int) -> World:
    """The world of a seed; run it alone with `draw(seed).run(...)`."""
    choose = random.Random(seed)
    members = SIZES[seed % len(SIZES)]
    seats = list(range(members))
    choose.shuffle(seats)
    liars = {seat: choose.choice([Adversary, Equivocator, Forger])() for seat in seats[: choose.randint(0, (members - 1) // 3)]}
    faults = profile(choose, [seat for seat in seats if seat not in liars], set(liars))
    return World(members, seed, faults, byzantine=liars, round_=seed % 3, gossip=choose.random() < 0.2)


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_random_worlds_are_safe_and_decide_after_the_heal(first):
    for seed in range(first, first + BATCH):
        world = draw(seed)
        world.run(world.faults.heal + AFTER_HEAL)
        assert world.all_decided, (
            f"seed {seed}: {[(n.seat, n.machine and (n.machine.view, n.machine.phase)) for n in world.honest]}"
        )
