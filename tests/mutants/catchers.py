"""What may notice a mutant: a selection of tests, the worlds of the PBFT machine, the simulated world; each is one process."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CAUGHT: Final = 1
"""Exit status of a catcher that found something. pytest and the worlds agree; anything above is no verdict."""

TEST_SECONDS: Final = 900
"""Time limit of a selection of tests, also on a busy machine; each test has its own, so that one that hangs fails by itself."""

WORLD_SECONDS: Final = 3_600
"""Time limit of a run of worlds."""

DEFAULT_SEEDS: Final = 300
"""Seeds that worlds try at most before they give a mutant up."""

_OUTPUT_LINES: Final = 15
"""Last lines of a catcher's output that an error quotes."""


class NoVerdictError(Exception):
    """A catcher neither passed nor found anything: it could not run, or ran past its time."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`by`: what noticed, None if nothing did; `seeds`: how many seeds were tried for it, None for tests."""

    by: str | None
    seeds: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Tests:
    """A selection of pytest: files and node ids."""

    __test__ = False  # not a test class, whatever its name

    select: tuple[str, ...]

    @property
    def name(self) -> str:
        """The column in which it stands."""
        return "tests"

    def arguments(self, seeds: int, first: int = 0) -> list[str]:
        """What `tests.mutants.inside` is given; seeds are nothing to it."""
        options = [
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:unraisableexception",
            "--timeout=120",
            "--hypothesis-seed=0",
            "--tb=line",
        ]
        return ["pytest", *options, *self.select]

    def verdict(self, output: str, status: int, seconds: float) -> Verdict:
        """Which test failed first."""
        if status != CAUGHT:
            return Verdict(None, None, seconds)
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        return Verdict(found.group(1) if found else "tests", None, seconds)


@dataclass(frozen=True, slots=True)
class Worlds:
    """Seeded worlds of the PBFT machine, of the kind `world` (tests.mutants.worlds)."""

    world: str

    @property
    def name(self) -> str:
        """The column in which it stands."""
        return "PBFT worlds"

    def arguments(self, seeds: int, first: int = 0) -> list[str]:
        """What `tests.mutants.inside` is given."""
        return ["tests.mutants.worlds", self.world, "--seeds", str(seeds), "--first", str(first)]

    def verdict(self, output: str, status: int, seconds: float) -> Verdict:
        """How many seeds it took."""
        return _seeded(f"PBFT worlds, {self.world}", output, status, seconds)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The simulated world of whole nodes (tests.sim): the fault profile `profile`, or whatever each seed draws."""

    profile: str | None = None

    @property
    def name(self) -> str:
        """The column in which it stands."""
        return "simulated world"

    def arguments(self, seeds: int, first: int = 0) -> list[str]:
        """What `tests.mutants.inside` is given."""
        return ["tests.mutants.simulated", self.profile or "drawn", "--seeds", str(seeds), "--first", str(first)]

    def verdict(self, output: str, status: int, seconds: float) -> Verdict:
        """How many seeds it took."""
        return _seeded(f"simulated world, {self.profile or 'drawn'} faults", output, status, seconds)


Seeded = Worlds | Simulated

Catcher = Tests | Seeded


def selection(*select: str) -> Tests:
    """A selection of tests, by paths below `tests/`."""
    return Tests(tuple(f"tests/{path}" for path in select))


def _seeded(what: str, output: str, status: int, seconds: float) -> Verdict:
    if status != CAUGHT:
        tried = re.search(r"(\d+) seeds?\b", output)
        return Verdict(None, int(tried.group(1)) if tried else None, seconds)
    found = re.search(r"^seed (\d+)", output, re.MULTILINE)
    if found is None:
        raise NoVerdictError(f"{what} failed without naming a seed:\n{_tail(output)}")
    return Verdict(what, int(found.group(1)) + 1, seconds)


def run(catcher: Catcher, root: Path, seeds: int, first: int = 0) -> Verdict:
    """Run a catcher on the copy at `root`, which it imports and nothing else; `seeds` from `first` on. Raises NoVerdictError."""
    limit = TEST_SECONDS if isinstance(catcher, Tests) else WORLD_SECONDS
    command = [sys.executable, "-m", "tests.mutants.inside", str(root), *catcher.arguments(seeds, first)]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=root,
        env=_environment(root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # what it has started ends with it
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise NoVerdictError(f"{' '.join(command[2:])} ran past {limit} s") from error
    finally:
        _end(process)
    if process.returncode not in (0, CAUGHT):
        raise NoVerdictError(f"{' '.join(command[2:])} ended with {process.returncode}:\n{_tail(output)}")
    return catcher.verdict(output, process.returncode, time.monotonic() - started)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "COV", "BFLC"))}
    return kept | {"PYTHONPATH": os.pathsep.join((str(root), str(root / "cli"))), "PYTHONHASHSEED": "0"}


def _tail(output: str) -> str:
    return "\n".join(output.splitlines()[-_OUTPUT_LINES:])
