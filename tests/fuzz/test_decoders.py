"""Every decoder, hostile bytes: only what it documents comes out, values have one encoding, refusing costs no memory (catalogue 26, 27, 38)."""

import random
import tracemalloc
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from bflcd.config import MAX_CONFIG_BYTES
from bflcd.setup import genesis_file
from tests.fuzz.mutations import LIES, hostile, mutate
from tests.fuzz.target import HARNESSES, Target, target

BOUNDED = [name for name in HARNESSES if name not in ("session", "port")]
"""What needs no socket; the others run under `make fuzz`, and once below."""

MEMORY = 2 * 2**20
"""Bytes that an input may take at its peak beside itself."""

BUFFER = {"genesis": genesis_file.MAX_FILE_BYTES, "files": MAX_CONFIG_BYTES}
"""The operator's own files are read into a buffer as large as the largest one that is allowed."""

EXAMPLES = {"api": 30, "genesis": 40, "files": 40, "gossip": 60, "exchange": 60, "wire": 150, "envelope": 80}
"""Fewer where an input takes milliseconds."""

MEASURED = 90
WARM = 40


@cache
def seeds_of(name: str) -> list[bytes]:
    return list(target(name).seeds())


def test_every_harness_is_listed():
    found = {path.stem.removeprefix("harness_") for path in Path(__file__).parent.glob("harness_*.py")}
    assert found == set(HARNESSES)
    assert all(target(name).name == name for name in HARNESSES)
    assert {name for name in HARNESSES if target(name).bounded} == set(BOUNDED)


@pytest.mark.parametrize("name", BOUNDED)
def test_valid_bytes_pass(name):
    for seed in seeds_of(name):
        target(name).one(seed)


@pytest.mark.parametrize("name", BOUNDED)
def test_hostile_bytes_raise_nothing_but_what_is_documented(name):
    one = target(name).one

    @settings(max_examples=EXAMPLES.get(name, 100), deadline=None, suppress_health_check=list(HealthCheck))
    @given(hostile(seeds_of(name)))
    def check(data: bytes) -> None:
        one(data)

    check()


@pytest.mark.parametrize("name", BOUNDED)
def test_no_input_costs_memory(name):
    """Given a warm decoder, When it is given hostile bytes, Then its peak stays within 2 MiB beside the input, and nothing is kept."""
    found, chance = target(name), random.Random(name)
    seeds = seeds_of(name)
    for data in (*seeds, *(mutate(chance, seeds) for _ in range(WARM))):
        found.one(data)
    peak, worst = 0, b""
    tracemalloc.start()
    try:
        for data in _lies(seeds, chance, found):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            found.one(data)
            used = tracemalloc.get_traced_memory()[1] - before
            if used > peak:
                peak, worst = used, data
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY + BUFFER.get(name, 0), (peak, len(worst), worst[:200])


def _lies(seeds: list[bytes], chance: random.Random, found: Target) -> list[bytes]:
    count = MEASURED if found.share >= 1 else MEASURED // 3
    lies = [chance.choice(seeds)[: chance.randrange(40)] + lie for lie in LIES for _ in range(2)]
    return [*lies, *(mutate(chance, seeds) for _ in range(count))]


@pytest.mark.parametrize("name", ["session", "port"])
def test_the_port_outlives_its_corpus(name):
    """Given a living transport, When every valid and some hostile handshakes reach its port, Then it still serves a friend."""
    found, chance = target(name), random.Random(name)
    seeds = seeds_of(name)
    for data in (*seeds, *(mutate(chance, seeds) for _ in range(20))):
        found.one(data)
    found.quiet()


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED)
def test_a_long_seeded_run(name):
    found, chance = target(name), random.Random(f"long {name}")
    for _ in range(int(20_000 * min(found.share, 2))):
        found.one(mutate(chance, seeds_of(name)))
