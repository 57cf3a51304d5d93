"""The harness itself, and a slice of the catalogue: every mutant fits the source as it stands, and three of them are caught."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.catchers import NoVerdictError, Tests, Verdict, Worlds, run, selection
from tests.mutants.harness import REPOSITORY, BrokenBaselineError, Outcome, copy_tree, hunt
from tests.mutants.mutant import Mutant, StaleMutantError, mutant
from tests.mutants.table import summary, table

WEIGHTS = selection("ledger/influence/test_weights.py")

QUICK = ("quorum-2f+1", "no-lock", "weight-unclamped")


BUSY = pytest.mark.timeout(900)
"""Each of these starts several interpreters: seconds on an idle machine, minutes on one that is forty times overloaded."""


def harmless() -> Mutant:
    old = '"""How much each packed update counts'
    return mutant("harmless", "nothing", "bflcd/ledger/influence/weights.py", old, f"{old} ", WEIGHTS)


def quiet(_: str) -> None:
    return


@pytest.mark.parametrize("planted", MUTANTS, ids=lambda planted: planted.name)
def test_every_mutant_fits_the_source(planted):
    """A change of a mutated line moves its mutant too: a mutant that can't be planted proves nothing."""
    planted.check(REPOSITORY)
    assert planted.catchers


def test_no_mutant_dies_of_a_name_that_is_not_there(tmp_path: Path) -> None:
    """Such a one is caught by whatever runs its line, and proves nothing."""
    for planted in MUTANTS:
        for path, text in planted.planted(REPOSITORY).items():
            (tmp_path / f"{planted.name}--{path.name}").write_text(text)
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F821",
        "--output-format",
        "concise",
        str(tmp_path),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_names_are_given_once():
    assert len({planted.name for planted in MUTANTS}) == len(MUTANTS)


@BUSY
def test_three_are_caught_by_tests_and_worlds():
    """The worlds of `halves` and `one-decides` find in a few seeds what random worlds find in none of many."""
    cheap = {
        "quorum-2f+1": (Worlds("halves"),),
        "no-lock": (Worlds("one-decides"),),
        "weight-unclamped": (WEIGHTS,),
    }
    chosen = [Mutant(m.name, m.breaks, m.edits, cheap[m.name]) for m in MUTANTS if m.name in QUICK]
    outcomes = hunt(chosen, seeds=20, progress=quiet)
    assert [outcome.mutant.name for outcome in outcomes] == list(QUICK)
    assert not any(outcome.lives or outcome.errors for outcome in outcomes)


@BUSY
def test_a_mutant_that_nobody_notices_lives():
    (outcome,) = hunt([harmless()], jobs=1, progress=quiet)
    assert outcome.lives
    assert summary([outcome], 1.0) == "1 mutants, 0 caught, 1 live, 1 s: harmless"


@BUSY
def test_a_tree_that_fails_without_a_mutant_proves_nothing(tmp_path):
    copy_tree(REPOSITORY, tmp_path)
    (tmp_path / "tests/ledger/influence/test_weights.py").write_text("def test_broken():\n    assert False\n")
    with pytest.raises(BrokenBaselineError, match="test_broken"):
        hunt([harmless()], source=tmp_path, progress=quiet)


@BUSY
def test_a_catcher_that_can_not_run_gives_no_verdict(tmp_path):
    copy_tree(REPOSITORY, tmp_path)
    with pytest.raises(NoVerdictError, match="ended with 4"):
        run(selection("nowhere/test_nothing.py"), tmp_path, 1)


def test_a_copy_that_is_not_what_is_imported_gives_no_verdict(tmp_path):
    copy_tree(REPOSITORY, tmp_path)
    shutil.rmtree(tmp_path / "bflcd")
    (tmp_path / "bflcd").symlink_to(REPOSITORY / "bflcd")
    with pytest.raises(NoVerdictError, match="not from the copy"):
        run(WEIGHTS, tmp_path, 1)


@pytest.mark.parametrize(
    ("old", "says"),
    [("def no_such_function", "stands 0 times"), ("claim", "it must stand there once"), ("def weights", "changes nothing")],
)
def test_a_mutant_that_does_not_fit_is_refused_by_name(old, says):
    stale = mutant("stale", "nothing", "bflcd/ledger/influence/weights.py", old, old, WEIGHTS)
    with pytest.raises(StaleMutantError, match=f"mutant stale.*{says}|mutant stale {says}"):
        stale.check(REPOSITORY)


def test_a_change_that_is_no_python_is_refused(tmp_path):
    (tmp_path / "bflcd/ledger/influence").mkdir(parents=True)
    shutil.copy(REPOSITORY / "bflcd/ledger/influence/weights.py", tmp_path / "bflcd/ledger/influence")
    with pytest.raises(StaleMutantError, match="mutant broken leaves no Python"):
        mutant("broken", "nothing", "bflcd/ledger/influence/weights.py", "def weights(", "def weights((", WEIGHTS).plant(tmp_path)


def test_the_table_shows_seeds_and_what_lives():
    caught = Outcome(MUTANTS[0], ((Worlds("halves"), Verdict("halves", 2, 0.5)),), (), 0.5)
    living = Outcome(harmless(), ((Worlds("random"), Verdict(None, 300, 4.0)), (WEIGHTS, Verdict(None, None, 1.0))), (), 5.0)
    text = table([caught, living])
    assert "| halves 2 " in text
    assert "| random none in 300 " in text
    assert "| **nothing** " in text
    assert len({len(line) for line in text.splitlines()}) == 1
    assert isinstance(WEIGHTS, Tests)
    assert Path(__file__).resolve().parents[2] == REPOSITORY
