"""Clocks that are warned of: one's own and others', never on the word of fewer than half."""

import pytest

from bflcd.net.clocks import MAX_NAMED, WRONG, clock_warnings, wrong_clocks
from bflcd.types import short
from tests.helpers.network import identity

NODES = sorted(identity(number).node_id for number in range(1, 8))
DAY = 86_400_000


def seen(*ahead: int) -> dict:
    return dict(zip(NODES, ahead, strict=False))


def test_ones_own_clock_is_held_against_the_median_of_the_members():
    assert clock_warnings(seen(73_000, 72_500, 73_500)) == (
        "this machine's clock is 73 s behind those of its peers (median of 3): set it, and keep it right with NTP",
    )
    (text,) = clock_warnings(seen(*[-2 * DAY] * 4))
    assert text.startswith("this machine's clock is more than a day ahead of those of its peers (median of 4)")


def test_a_member_whose_clock_is_wrong_is_named():
    assert clock_warnings(seen(100, -60_000, 0, -200)) == (
        f"the clock of {short(NODES[1])} is 60 s behind those of the others: its operator has to set it",
    )


@pytest.mark.parametrize("ahead", [(), (WRONG,), (WRONG, WRONG), (WRONG - 1,) * 5, (0, 0, 1000, -1000)])
def test_too_few_or_too_small_say_nothing(ahead):
    assert clock_warnings(seen(*ahead)) == ()


@pytest.mark.parametrize("lie", [2**53, -(2**53), WRONG])
@pytest.mark.parametrize(("honest", "liars"), [(2, 1), (3, 2), (4, 3)])
def test_liars_who_are_fewer_than_half_wrong_nobody_but_themselves(honest, liars, lie):
    """Given honest members whose clocks are right, when fewer others say whatever they like, then only their own clocks are wrong."""
    assert wrong_clocks(seen(*[0] * honest, *[lie] * liars)) == set(NODES[honest : honest + liars])
    assert wrong_clocks(seen(*[60_000] * honest, *[lie] * liars)) >= {None}


def test_only_some_of_many_are_named():
    assert len(clock_warnings(seen(0, 0, 0, *[WRONG] * 3))) == 3
    assert len(clock_warnings({**seen(*[0] * 7), **{bytes([i]) * 32: WRONG for i in range(6)}})) == MAX_NAMED
