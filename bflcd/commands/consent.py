"""The operator's yes to a community that no chain id pins, at a terminal."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import typer

from bflcd.limits import visible

MAX_ANSWER_BYTES: Final = 1024
"""Of a line at the terminal."""


def terminal_consent() -> Callable[[str], Awaitable[bool]] | None:
    """Asks whoever sits at the terminal; None where nobody does."""
    return _ask if sys.stdin.isatty() and sys.stdout.isatty() else None


async def _ask(summary: str) -> bool:
    typer.echo(visible(summary, lines=True))
    typer.echo("No --chain-id was given: whoever gave this chose all of it. Compare the chain id with a member's, by telephone.")
    typer.echo("Join this community? Type yes, or anything else to stop: ", nl=False)
    return (await _line()).strip().lower() == "yes"


async def _line() -> str:
    """What is typed. Not in a thread: one that waits for a terminal can't be cancelled when the node is told to stop."""
    loop, file = asyncio.get_running_loop(), sys.stdin.fileno()
    typed: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not typed.done():
            typed.set_result(None)

    loop.add_reader(file, ready)
    try:
        await typed
        return os.read(file, MAX_ANSWER_BYTES).decode(errors="replace")
    finally:
        loop.remove_reader(file)
