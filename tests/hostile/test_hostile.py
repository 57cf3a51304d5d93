"""Every command in surroundings that nobody would choose: what fails there says why, and is never a bug of ours."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from bflcd import exit_codes
from tests.helpers.surroundings import PLACES, SPOILT, arguments_of, commands, draw, make_place, run

DOCUMENTED = {value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")} - {exit_codes.EXIT_BUG}

SEEDS = range(1)
"""Of the default suite."""

MORE = os.environ.get("BFLC_HOSTILE_SEEDS", "100-102")
"""Of the slow one: FIRST-LAST."""


@contextmanager
def scratch():
    """A folder that other users can reach, which pytest's own are not."""
    base = Path(tempfile.mkdtemp(prefix="bflc-hostile-"))
    try:
        yield base
    finally:
        for path in base.iterdir():
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(base)


def complaints(program, words, command, rng, *, deep):
    """What is wrong with how one command ended in surroundings drawn by `rng`."""
    around = draw(rng, SPOILT if "lab" in words else PLACES)
    with scratch() as base:
        arguments = arguments_of(program, words, command, str(make_place(around.place, base)), rng, deep=deep)
        found = run(program, arguments, around, base)
    said, as_json = found.out + found.err, "--json" in arguments
    heard = around.streams[1 if as_json else 2] == "pipe" and around.streams[1] != "broken"
    wrong = []
    if found.code not in DOCUMENTED:
        wrong.append(f"exit code {found.code}")
    if "Traceback" in said or "Exception ignored" in said:
        wrong.append("a traceback")
    if found.code != exit_codes.EXIT_DONE and heard and not said.strip():
        wrong.append("not a word")
    return [f"{program} {arguments}: {', '.join(wrong)} in {around}: {said[-1500:]}"] if wrong else []


def sweep(seed, *, deep):
    rng = Random(seed)
    # The laboratory's import torch: seconds each, so they are left to the slow suite.
    chosen = [each for each in commands() if deep or "lab" not in each[1]]
    assert {program for program, _, _ in chosen} == {"bflcd", "bflc-cli"}
    assert [text for each in chosen for text in complaints(*each, Random(rng.random()), deep=deep)] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_every_command_ends_with_a_word_and_a_documented_exit_code(seed):
    sweep(seed, deep=False)


def more_seeds():
    first, _, last = MORE.partition("-")
    return range(int(first), int(last or first) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", more_seeds())
def test_every_command_does_so_with_all_that_it_can_take(seed):
    """The laboratory's too; `BFLC_HOSTILE_SEEDS=1000-1099` runs others."""
    sweep(seed, deep=True)
