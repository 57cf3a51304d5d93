"""Whose cards are packed where a judge copies: `python -m tests.sim.copying` prints the table of docs/measurements/judges.md."""

import argparse
import sys
from dataclasses import dataclass
from random import Random
from unittest.mock import patch

from tests.sim.run import make_world, run_world
from tests.sim.strategies import Liar

WHILE, ROUNDS = 600_000, 12
"""Virtual milliseconds and rounds after which, whichever comes first, a run is about to end."""


@dataclass(frozen=True)
class Packed:
    """Of the rounds in which one member held a seat: `rounds`; how many cards of it are in blocks that an honest seat led, and
    in those that it led itself; `led`: how many those are."""

    rounds: int = 0
    by_others: int = 0
    by_itself: int = 0
    led: int = 0

    def __add__(self, other: "Packed") -> "Packed":
        return Packed(
            self.rounds + other.rounds, self.by_others + other.by_others, self.by_itself + other.by_itself, self.led + other.led
        )


def packed(seed: int, *, sealed: bool, strategies: tuple[str, ...], nodes: int = 7, profile: str = "calm") -> Packed:
    """A seeded community in which one member plays `strategies`, or is honest if there are none."""
    with patch("tests.sim.setup.OPEN_SHARE", 0.0 if sealed else 1.0):
        world, scene = make_world(seed, profile=profile, nodes=nodes, election="random", changing=False)
    scene.length, scene.rounds = WHILE, ROUNDS
    member = world.nodes[seed % len(world.nodes)]
    if strategies:
        member.liar = Liar(member, list(strategies), Random(f"{seed}/copying"))
    result = run_world(world, scene)
    if result.violations:
        raise AssertionError(f"seed {seed}: {result.violations[0]}")
    disk = max((node.disk for node in world.living), key=lambda disk: disk.head.state.round)
    committee, total = world.genesis.committee, Packed()
    for round_ in range(1, disk.head.state.round + 1):
        certified = disk.segment(round_)
        if certified is None or certified.segment.model_header.model is None:
            raise AssertionError(f"seed {seed}: the block of round {round_} is gone")
        model = certified.segment.model_header.model
        leads = committee[model.view % len(committee)] == member.id
        on_chain = any(card.author == member.id for card in certified.segment.model.cards)
        if member.id in committee:
            total += Packed(1, int(on_chain and not leads), int(on_chain and leads), int(leads))
        committee = model.committee
    return total


def main() -> int:
    """One line for each judge, with seals and without."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.copying")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=7)
    parser.add_argument("--profile", default="calm")
    parser.add_argument("--judges", nargs="*", default=["honest", "copying_judge", "shows_unsealed", "seals_alone"])
    options = parser.parse_args()
    for judge in options.judges:
        strategies = () if judge == "honest" else (judge,)
        for sealed in (False, True):
            found = Packed()
            for seed in range(options.seeds):
                found += packed(seed, sealed=sealed, strategies=strategies, nodes=options.nodes, profile=options.profile)
            sys.stdout.write(f"{judge:16} {'sealed' if sealed else 'open':6} {found}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
