"""Whom a perturbation hits."""

from random import Random

import pytest

from tests.manifests.choosing import Standing, choose
from tests.manifests.disturbing import links_of
from tests.manifests.manifest import Perturbation

STANDING = Standing(7, frozenset({0, 1, 2, 3, 5, 6}), 4, committee=(2, 4, 0, 1), leader=2, observers=frozenset({6}))
"""Node 4, which holds a seat, is disturbed already."""


@pytest.mark.parametrize(
    ("who", "amount", "among", "size"),
    [
        ("leader", 1, {2}, 1),
        ("member", 1, {0, 1}, 1),
        ("member", 2, {0, 1}, 2),
        ("member", 3, set(), 0),
        ("trainer", 1, {3, 5}, 1),
        ("observer", 1, {6}, 1),
        ("random", 6, {0, 1, 2, 3, 5, 6}, 6),
        ("all", 1, set(), 0),
        (3, 1, {3}, 1),
        (4, 1, set(), 0),
        ([5, 3], 1, {3, 5}, 2),
        ([4, 3], 1, set(), 0),
    ],
)
def test_roles_and_indices(who: object, amount: int, among: set[int], size: int) -> None:
    found = choose(who, STANDING, Random(1), amount=amount)  # type: ignore[arg-type]

    assert len(found) == len(set(found)) == size
    assert set(found) <= among


def test_next_takes_turns_and_shares_are_shares() -> None:
    free = Standing(6, frozenset(range(6)))

    assert [choose("next", free, Random(1), number=n) for n in range(8)] == [(n % 6,) for n in range(8)]
    assert {len(choose(0.5, free, Random(seed))) for seed in range(20)} == {3}
    assert len({choose(0.5, free, Random(seed)) for seed in range(20)}) > 5


def test_what_a_disconnection_cuts() -> None:
    def cut(targets: tuple[int, ...], peers: tuple[int, ...], **fields: object) -> set[tuple[int, int]]:
        step = Perturbation(action="disconnect", who="random", lasts=1.0, **fields)  # type: ignore[arg-type]
        return set(links_of(step, targets, peers))

    assert cut((0,), (0, 1, 2)) == {(0, 1), (1, 0), (0, 2), (2, 0)}
    assert cut((0,), (0, 1, 2), direction="out") == {(0, 1), (0, 2)}
    assert cut((0,), (0, 1, 2), direction="in") == {(1, 0), (2, 0)}
    assert cut((0,), (1,)) == {(0, 1), (1, 0)}
    assert cut((0, 1), (0, 1, 2, 3), together=True) == {(a, b) for x in (0, 1) for y in (2, 3) for a, b in ((x, y), (y, x))}
    assert (0, 1) in cut((0, 1), (0, 1, 2))
