"""Every command once in surroundings drawn from a seed, and what is wrong with how it ended."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bflcd import exit_codes
from tests.helpers.surroundings import PLACES, SPOILT, arguments_of, commands, draw, make_place, run

DOCUMENTED = {value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")} - {exit_codes.EXIT_BUG}


@dataclass(frozen=True)
class Case:
    """One command in its surroundings. `name`: the program and its words."""

    name: str
    complaints: list[str]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    base = Path(tempfile.mkdtemp(prefix="bflc-hostile-"))
    try:
        yield base
    finally:
        for path in base.iterdir():
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(base)


def sweep(seed: int, *, deep: bool, only: str = "") -> Iterator[Case]:
    """Every command in an order that the seed draws, or the one called `only` as it would come there.

    `deep`: with values that a command goes on with, some of all that it can take, and the laboratory's, which import torch.
    """
    rng = Random(seed)
    chosen = [each for each in commands() if deep or "lab" not in each[1]]
    rng.shuffle(chosen)
    for program, words, command in chosen:
        own, name = Random(rng.random()), " ".join((program, *words))
        if only in ("", name):
            yield Case(name, _complaints(program, words, command, own, deep=deep))


def _complaints(program: str, words: tuple[str, ...], command: object, rng: Random, *, deep: bool) -> list[str]:
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
