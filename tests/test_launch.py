"""How a program begins and ends: with closed, full and narrow streams, in parts that can't be loaded."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bflcd.launch import launch
from bflcd.streams import settle_completion, settle_size
from tests.helpers.surroundings import Surroundings, can_be_nobody, run

ROOT = Path(__file__).parents[1]


def in_shell(redirection, *words, **variables):
    """One command of ours with a shell's redirection: (exit code, stdout, stderr)."""
    line = f'exec "$0" -P -m bflcd "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, *words],
        check=False,
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_closed_streams_lead_nowhere_and_nothing_fails():
    assert in_shell(">&- 2>&- <&-", "version") == (0, "", "")
    code, said, errors = in_shell("2>&-", "version")
    assert (code, errors) == (0, "")
    assert said.startswith("bflcd ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_output_is_told_as_that():
    """Given an output that takes nothing, When a command prints, Then that is what failed, by its name."""
    code, _, errors = in_shell(">/dev/full", "version")
    assert (code, errors) == (1, "bflcd: the output: No space left on device\n  hint: free some space on this disk\n")
    assert in_shell("2>/dev/full", "start", "--datadir", "/nowhere/at/all") == (1, "", "")


@pytest.mark.parametrize("output", ["/dev/full", "broken"])
@pytest.mark.parametrize("module", ["bflcd", "bflc_cli"])
def test_an_output_that_takes_nothing_is_not_tried_again_when_python_ends(module, output):
    """Given Python's own development mode, which tells what else is passed over, Then nothing but our words is written."""
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as broken, Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                module,
                *(["version"] if module == "bflcd" else ["--json", "--datadir", "/nowhere", "status"]),
            ],
            check=False,
            stdout=full if output == "/dev/full" else broken,
            stderr=subprocess.PIPE,
            timeout=60,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}", "PYTHONDEVMODE": "1"},
        )
    assert done.returncode == (1 if module == "bflcd" else 3)
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict", "utf-8:strict"])
def test_a_name_that_a_terminal_cannot_write_fails_nothing(tmp_path, encoding):
    name = os.fsdecode(os.fsencode(tmp_path / "node") + b"-\xc4\x90-\xff")
    code, said, errors = in_shell("", "init", "--datadir", name, PYTHONIOENCODING=encoding)
    assert (code, errors) == (0, "")
    assert "node id" in said
    code, _, errors = in_shell("", "init", "--datadir", name, PYTHONIOENCODING=encoding)
    assert code == 1
    assert "-\\udcff/node.key exists" in errors


@pytest.mark.parametrize("columns", ["\u00b2", "9" * 30, "0", "-1", "many", "80"])
def test_a_size_that_no_terminal_has_is_nobodys_trouble(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    settle_size()
    assert os.environ.get("COLUMNS") == (columns if columns == "80" else None)


@pytest.mark.parametrize(("said", "count"), [(None, "1"), ("3", "3")])
def test_no_library_starts_a_thread_a_core_as_it_is_loaded(monkeypatch, said, count):
    """Given a limit on threads, at which numpy's algebra interrupts the process that loads it / Then it asks for none."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", said or "")
    if said is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    seen = []
    assert launch("bflcd", lambda: lambda: seen.append(os.environ["OPENBLAS_NUM_THREADS"]) or 0) == 0
    assert seen == [count]


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can become a user who has no process yet")
@pytest.mark.skipif(not can_be_nobody(), reason="another user can't run this Python")
@pytest.mark.parametrize("program", ["bflcd", "bflc-cli"])
def test_a_limit_on_processes_is_no_interruption(tmp_path, program):
    around = Surroundings(("pipe", "pipe", "pipe"), "absent", limit=(resource.RLIMIT_NPROC, 1), nobody=True)
    found = run(program, ["version" if program == "bflcd" else "--version"], around, tmp_path)
    assert (found.code, found.err) == (0, "")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("no module"), "cannot start: a part of the program can't be loaded: no module"),
        (MemoryError(), "cannot start: memory ran out"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_what_can_not_be_loaded_is_told_in_a_line(capsys, error, words):
    def load():
        raise error

    assert launch("bflcd", load) == 1
    assert f"bflcd: {words}" in capsys.readouterr().err


def test_a_bug_in_loading_stays_one():
    def load():
        raise KeyError("ours")

    with pytest.raises(KeyError):
        launch("bflcd", load)


@pytest.mark.parametrize(
    ("asked", "kept"), [("source_klingon", False), ("", False), ("complete_zsh", True), ("source_bash", True)]
)
def test_completions_for_no_shell_are_not_asked_for(monkeypatch, asked, kept):
    monkeypatch.setenv("_BFLC_CLI_COMPLETE", asked)
    settle_completion()
    assert ("_BFLC_CLI_COMPLETE" in os.environ) is kept
