"""Every command in surroundings that nobody would choose: what fails there says why, and is never a bug of ours."""

import os

import pytest

from tests.hostile.sweep import sweep

SEEDS = range(1)
"""Of the default suite."""

MORE = os.environ.get("BFLC_HOSTILE_SEEDS", "100-102")
"""Of the slow one: FIRST-LAST."""


def complaints(seed, *, deep):
    cases = list(sweep(seed, deep=deep))
    assert {case.name.split()[0] for case in cases} == {"bflcd", "bflc-cli"}
    return [text for case in cases for text in case.complaints]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_command_ends_with_a_word_and_a_documented_exit_code(seed):
    assert complaints(seed, deep=False) == []


def more_seeds():
    first, _, last = MORE.partition("-")
    return range(int(first), int(last or first) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", more_seeds())
def test_every_command_does_so_with_all_that_it_can_take(seed):
    """The laboratory's too; `BFLC_HOSTILE_SEEDS=1000-1099` runs others, `make hostile` fresh ones."""
    assert complaints(seed, deep=True) == []
