"""Worlds of the PBFT machine in which a planted mistake has to show: `python -m tests.mutants.worlds WORLD --seeds N`.

`random` draws size, liars and fault profile from the seed; the others are profiles that aim at one mistake, since random faults
alone find some of them in no seed of many.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from bflcd.errors import BflcError
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import open_envelope
from bflcd.wire.messages import Commit
from tests.consensus.test_safety import AFTER_HEAL, draw
from tests.helpers.consensus import Equivocator, Faults, Forger, Message, World, kind_of

VIRTUAL_LIMIT: Final = 120_000
"""Milliseconds of virtual time that an aimed world may take."""


def halves(seed: int) -> World:
    """Six members in two halves of three, until the heal."""
    return World(6, seed, Faults(heal=15_000, groups=(frozenset({0, 1, 2}), frozenset({3, 4, 5}))))


def one_decides(seed: int) -> World:
    """Only seat 3 hears the commits of view 0, and nobody hears of its decision: the others must find that segment again."""

    def lost(source: int, target: int, message: Message) -> bool:
        if kind_of(message) is Certificate:
            return True
        first = kind_of(message) is Commit and open_envelope(message, (Commit,)).body.view == 0
        return first and (target != 3 or source == 3)

    return World(4, seed, Faults(heal=8_000, drop=lost))


def crashing(seed: int) -> World:
    """Eight crashes at effect boundaries."""
    return World(4, seed, Faults(heal=10_000, crashes=8))


def duplicating(seed: int) -> World:
    """Most messages come twice, and one member equivocates."""
    return World(4, seed, Faults(heal=5_000, duplicates=0.8), byzantine={1: Equivocator()})


def forging(seed: int) -> World:
    """One member of four equivocates, replays, forges justifications and proofs, and shouts high views."""
    return World(4, seed, Faults(heal=5_000, loss=0.2), byzantine={seed % 4: Forger()}, round_=seed % 3)


AIMED: Final[dict[str, Callable[[int], World]]] = {
    "halves": halves,
    "one-decides": one_decides,
    "crashing": crashing,
    "duplicating": duplicating,
    "forging": forging,
}


def complaint(name: str, seed: int) -> str | None:
    """What goes wrong in the world of this seed: a broken safety check, our own bug, or no decision after the heal."""
    try:
        world = draw(seed) if name == "random" else AIMED[name](seed)
        world.run(world.faults.heal + AFTER_HEAL if name == "random" else VIRTUAL_LIMIT)
    except (AssertionError, BflcError, LookupError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None if world.all_decided else "not all have decided after the heal"


def main() -> int:
    """Try seeds until one shows something: exit status 1 and the seed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.worlds")
    parser.add_argument("world", choices=("random", *AIMED))
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.first, options.first + options.seeds):
        found = complaint(options.world, seed)
        if found is not None:
            sys.stdout.write(f"seed {seed} of {options.world}: {found}\n")
            return 1
    sys.stdout.write(f"{options.seeds} seeds of {options.world}: nothing\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
