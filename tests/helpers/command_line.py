"""Commands that are run in this process, and what they say, taken apart."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bflc_cli.main import main


def runner(capsys: pytest.CaptureFixture[str], *before: str) -> Callable[..., tuple[int, str, str]]:
    """Runs a command, with some words before its own; (exit code, stdout, stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*before, *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def envelope(out: str) -> dict:
    """The one JSON document on stdout."""
    assert out.count("\n") == 1
    return json.loads(out)


def data_of(answer: tuple[int, str, str]):
    """What a command that succeeded gives, of its exit code, stdout and stderr."""
    code, out, err = answer
    found = envelope(out)
    assert (code, found["schema"], found["status"]) == (0, 1, "ok"), err
    return found["data"]


def write_log(datadir: Path, *messages: str) -> Path:
    path = datadir / "log" / "bflcd.log"
    path.parent.mkdir(exist_ok=True)
    fields = {
        "time": "2026-01-01T00:00:00.000Z",
        "level": "warning",
        "node": "01010101",
        "round": 5,
        "view": 0,
        "logger": "bflcd.node.app",
    }
    path.write_text("".join(json.dumps({**fields, "message": message}) + "\n" for message in messages))
    return path
