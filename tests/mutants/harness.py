"""Plants each mutant in a copy of the tree and lets its catchers look at it; first all catchers must pass without any mutant."""

import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.catchers import DEFAULT_SEEDS, Catcher, NoVerdictError, Tests, Verdict, run
from tests.mutants.mutant import Mutant

REPOSITORY: Final = Path(__file__).resolve().parents[2]

COPIED: Final = ("bflcd", "cli", "tests", "docs", "pyproject.toml")
"""What catchers need of the repository."""

BASELINE_SEEDS: Final = 20
"""Seeds that worlds try without a mutant; the seed that shows a mutant is tried without it as well."""

Progress = Callable[[str], None]


class BrokenBaselineError(Exception):
    """A catcher complains of the tree as it is: then it proves nothing about a mutant."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant; `errors`: why catchers came to no verdict."""

    mutant: Mutant
    verdicts: tuple[tuple[Catcher, Verdict], ...]
    errors: tuple[str, ...]
    seconds: float

    @property
    def lives(self) -> bool:
        """Whether no catcher noticed it."""
        return all(verdict.by is None for _, verdict in self.verdicts)


def progress_on_stderr(text: str) -> None:
    """One line."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def hunt(
    mutants: Sequence[Mutant],
    *,
    jobs: int = 2,
    seeds: int = DEFAULT_SEEDS,
    thorough: bool = True,
    source: Path = REPOSITORY,
    progress: Progress = progress_on_stderr,
) -> list[Outcome]:
    """The outcome of each mutant, in order. Not `thorough`: the first catcher that notices a mutant is the last one asked.

    Raises StaleMutantError before anything runs, BrokenBaselineError before any mutant is planted.
    """
    with tempfile.TemporaryDirectory(prefix="bflc-mutants-") as scratch:
        base = Path(scratch) / "base"
        copy_tree(source, base)
        for mutant in mutants:
            mutant.check(base)
        _check_baseline(base, mutants, jobs, seeds, progress)
        places: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            places.put(Path(scratch) / f"mutant-{number}")

        def judge(mutant: Mutant) -> Outcome:
            with _borrowed(places) as place:
                outcome = _judge(mutant, base, place, seeds, thorough=thorough)
            progress(_line(outcome))
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(judge, mutants))


def copy_tree(source: Path, target: Path) -> None:
    """Copy what catchers need; compiled files go along, since their sources keep their times."""
    for name in COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True, ignore=shutil.ignore_patterns(".hypothesis"))
        elif (source / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def _check_baseline(base: Path, mutants: Iterable[Mutant], jobs: int, seeds: int, progress: Progress) -> None:
    """Every distinct catcher once on the tree as it is; all selections of tests in as many runs of pytest as there are jobs."""
    catchers = list(dict.fromkeys(catcher for mutant in mutants for catcher in mutant.catchers))
    selected = dict.fromkeys(path for catcher in catchers if isinstance(catcher, Tests) for path in catcher.select)
    together: list[Catcher] = [catcher for catcher in catchers if not isinstance(catcher, Tests)]
    files = _whole_files(selected)
    together[:0] = [Tests(tuple(files[number::jobs])) for number in range(min(jobs, len(files)))]
    progress(f"without a mutant: {len(together)} catchers")

    def check(catcher: Catcher) -> None:
        verdict = run(catcher, base, min(seeds, BASELINE_SEEDS))
        if verdict.by is not None:
            raise BrokenBaselineError(f"without any mutant, {verdict.by} complains; mend that first")
        progress(f"without a mutant: {' '.join(catcher.arguments(seeds)[:2])} passes in {verdict.seconds:.1f} s")

    with ThreadPoolExecutor(jobs) as pool:
        for _ in pool.map(check, together):
            pass


def _whole_files(selected: Iterable[str]) -> list[str]:
    """Drop selections inside of others: pytest would run those tests twice."""
    paths = sorted(selected)
    return [path for path in paths if not any(path != other and path.startswith((f"{other}::", f"{other}/")) for other in paths)]


@contextmanager
def _borrowed(places: "queue.SimpleQueue[Path]") -> Iterator[Path]:
    place = places.get()
    try:
        yield place
    finally:
        places.put(place)


def _judge(mutant: Mutant, base: Path, place: Path, seeds: int, *, thorough: bool) -> Outcome:
    started = time.monotonic()
    verdicts: list[tuple[Catcher, Verdict]] = []
    errors: list[str] = []
    shutil.rmtree(place, ignore_errors=True)
    copy_tree(base, place)
    mutant.plant(place)
    for catcher in mutant.catchers:
        try:
            verdict = run(catcher, place, seeds)
            if verdict.seeds is not None and verdict.by is not None:
                _confirm(catcher, base, verdict.seeds - 1)
        except NoVerdictError as error:
            errors.append(str(error))
            continue
        verdicts.append((catcher, verdict))
        if verdict.by is not None and not thorough:
            break
    return Outcome(mutant, tuple(verdicts), tuple(errors), time.monotonic() - started)


def _confirm(catcher: Catcher, base: Path, seed: int) -> None:
    """Raise NoVerdictError if that seed complains without the mutant too: the baseline tries fewer seeds."""
    if run(catcher, base, 1, seed).by is not None:
        raise NoVerdictError(f"{' '.join(catcher.arguments(1, seed))} complains without the mutant too")


def _line(outcome: Outcome) -> str:
    found = [verdict.by for _, verdict in outcome.verdicts if verdict.by is not None]
    text = f"{outcome.mutant.name}: {f'caught by {found[0]}' if found else 'LIVES'} ({outcome.seconds:.1f} s)"
    return "\n".join((text, *(f"  no verdict: {error}" for error in outcome.errors)))
