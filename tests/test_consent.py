"""The question at the terminal: shown whole, answered by a line, and never in the way of a node that is told to stop."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bflcd.commands.consent import terminal_consent

SUMMARY = "community  ward-7\nchain id   abcd"


@contextmanager
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal in the place of standard input and output; what is written to it was typed."""
    master, slave = os.openpty()
    with os.fdopen(os.dup(slave), "r") as typed, os.fdopen(os.dup(slave), "w") as shown:
        monkeypatch.setattr(sys, "stdin", typed)
        monkeypatch.setattr(sys, "stdout", shown)
        yield master
        shown.flush()
        monkeypatch.undo()
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize(("typed", "joins"), [("yes", True), (" YES ", True), ("y", False), ("", False), ("no", False)])
async def test_only_a_whole_yes_joins(monkeypatch: pytest.MonkeyPatch, typed: str, joins: bool) -> None:
    with keyboard(monkeypatch) as terminal:
        consent = terminal_consent()
        assert consent is not None
        os.write(terminal, f"{typed}\n".encode())
        assert await asyncio.wait_for(consent(SUMMARY), 5) is joins
        sys.stdout.flush()
        shown = ""
        while "Type yes" not in shown:  # a terminal gives what was written in pieces
            shown += os.read(terminal, 4096).decode().replace("\r\n", "\n")
    assert SUMMARY in shown


async def test_a_node_that_is_told_to_stop_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a question that nobody answers, when the node stops, then the question ends at once."""
    with keyboard(monkeypatch):
        consent = terminal_consent()
        assert consent is not None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consent(SUMMARY), 0.05)


def test_where_nobody_sits_at_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123 - not a path of ours
        monkeypatch.setattr(sys, "stdin", nothing)
        assert terminal_consent() is None
