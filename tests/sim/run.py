"""One seed, one run: the same seed gives the same trace hash. For the command, the tests, and mutants."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from bflcd.wire import envelope as wire_envelope
from tests.sim import alliance
from tests.sim.gone import draw_managers
from tests.sim.profiles import NEEDS_TORN_LOGS, PROFILES, Scene, draw_profile
from tests.sim.setup import draw_election, draw_reputation, draw_serving, draw_setup, draw_trust
from tests.sim.world import Result, World

MAX_KNOWN = 4_096
"""Decoded payloads that are remembered in one run."""


def make_world(
    seed: int,
    *,
    profile: str | None = None,
    nodes: int | None = None,
    election: str | None = None,
    changing: bool | None = None,
    readable: bool = False,
    raise_errors: bool = False,
) -> tuple[World, Scene]:
    """A world with its faults drawn, before its first event. `election` fixes that rule; its draw moves no other.

    `changing`: whether members come and go, which is drawn as well and moves no other draw.
    """
    rng = Random(f"{seed}/draw")
    drawn = draw_profile(rng)
    name = drawn if profile is None else profile
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(sorted(PROFILES))}")
    setup = draw_setup(rng, nodes)
    if name == "gone":
        setup = replace(setup, managers=draw_managers(setup, Random(f"{seed}/managers")))
    comers = Random(f"{seed}/alliance")
    drawn_to_change = comers.random() < alliance.SHARE
    changes = name not in alliance.WITHOUT and (drawn_to_change if changing is None else changing)
    if changes:
        setup = alliance.draw_strangers(setup, comers)
    setup = replace(setup, election=election or draw_election(Random(f"{seed}/election")))
    setup = replace(setup, reputation_rounds=draw_reputation(Random(f"{seed}/reputation")))
    canaries, cards = draw_trust(Random(f"{seed}/trust"))
    setup = replace(setup, canary_share=canaries, card_share=cards, late_serving=draw_serving(Random(f"{seed}/serving")))
    world = World(seed, setup, name, readable=readable, raise_errors=raise_errors)
    world.torn_logs = name in NEEDS_TORN_LOGS
    world.populate()
    scene = Scene(world, Random(f"{seed}/faults"))
    PROFILES[name](scene)
    if changes:
        alliance.Alliance(scene, comers)
    return world, scene


def run_seed(
    seed: int,
    *,
    profile: str | None = None,
    nodes: int | None = None,
    election: str | None = None,
    changing: bool | None = None,
    readable: bool = False,
    raise_errors: bool = False,
) -> Result:
    """Run one seed to its end; `violations` of the result is empty if everything held."""
    return run_world(
        *make_world(
            seed,
            profile=profile,
            nodes=nodes,
            election=election,
            changing=changing,
            readable=readable,
            raise_errors=raise_errors,
        )
    )


def run_world(world: World, scene: Scene) -> Result:
    """Run a world that was made."""
    with _quiet(), _decoded_once(wanted=not world.setup.real_keys):
        return world.run(heal_at=scene.length, heal_rounds=scene.rounds)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the product logs of refused peers is no news here."""
    logger = logging.getLogger("bflcd")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _decoded_once(*, wanted: bool) -> Iterator[None]:
    """Decode the same signed payload once for all nodes: a function of bytes, whose answer is frozen. Not with real keys."""
    decode: Callable[[bytes, tuple[type, ...]], Any] = wire_envelope.decode_any
    known: dict[tuple[bytes, tuple[type, ...]], Any] = {}

    def remembered(data: bytes, allowed: tuple[type, ...]) -> Any:
        found = known.get((data, allowed))
        if found is None:
            found = known[data, allowed] = decode(data, allowed)
            if len(known) > MAX_KNOWN:
                del known[next(iter(known))]
        return found

    if wanted:
        wire_envelope.decode_any = remembered
    try:
        yield
    finally:
        wire_envelope.decode_any = decode
