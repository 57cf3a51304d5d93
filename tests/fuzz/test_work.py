"""Fuzzing by time, in a measure that no busy machine changes: how many functions an input makes a decoder call."""

import random

import pytest

from bflcd.net.libp2p.budget import PACKET_MESSAGES
from bflcd.net.libp2p.packet import PacketError, check_packet
from tests.fuzz.mutations import LIES, mutate
from tests.fuzz.slowest import Slowest, counting, last_of
from tests.fuzz.target import HARNESSES, Target, target

BOUNDED = [name for name in HARNESSES if target(name).bounded]

CALLS = 30_000
"""What a small input may cost: some tens of milliseconds."""

CALLS_PER_BYTE = 4

INPUTS = 60


@pytest.mark.parametrize("name", BOUNDED)
def test_no_small_input_is_much_work(name):
    """Given a warm decoder, When it is given hostile bytes, Then the functions that it calls stay within a bound by their length."""
    found, chance = target(name), random.Random(f"work {name}")
    seeds = list(found.seeds())
    for seed in seeds[:20]:
        found.one(seed)
    lies = [chance.choice(seeds)[: chance.randrange(40)] + lie for lie in LIES]
    for data in (*lies, *(mutate(chance, seeds) for _ in range(INPUTS))):
        with counting() as calls:
            found.one(data)
        assert calls.count <= CALLS + CALLS_PER_BYTE * len(data), (calls.count, found.kind(data), data[:100])


@pytest.mark.parametrize(
    "item", [b"\x12\x00", b"\x0a\x00", b"\x1a\x00", b"\x08\x01"], ids=["message", "subscription", "control", "unknown"]
)
def test_a_packet_of_half_a_million_items_costs_as_many_steps_as_are_allowed(item):
    with counting() as calls, pytest.raises(PacketError):
        check_packet(item * 500_000)
    assert calls.count <= 20 * PACKET_MESSAGES


def test_the_slowest_input_is_told_and_kept(tmp_path, capsys):
    def one(data):
        sum(i * i for i in range(len(data) * 100_000))

    slowest = Slowest(Target("any", lambda: (), one), tmp_path / "slowest")
    for data in (b"", b"xxxx", b"x"):
        slowest(data)
    assert slowest.data == b"xxxx" == (tmp_path / "slowest").read_bytes()
    assert last_of(capsys.readouterr().out) == (pytest.approx(slowest.seconds * 1000, abs=0.001), "no message")
    assert last_of("no input at all") == (0.0, "none")
