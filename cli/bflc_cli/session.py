"""What every command shares: the options that stand before it, where it writes, and what it does with errors."""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bflcd.api.schema.envelope import ok_envelope
from bflcd.errors import OperatorError, UsageError
from bflcd.exit_codes import EXIT_BUG, EXIT_FAILED, EXIT_NO_ACCESS, EXIT_TIMED_OUT, EXIT_USAGE, exit_code_of
from bflcd.faults import refused
from bflcd.limits import visible

SHOWN_OF_VALUE: Final = 64
"""Characters of a wrong value that are repeated."""

PLAIN_WIDTH: Final = 1000
"""Columns where the output is no terminal: enough that no table is ever cut."""

EXIT_BY_CODE: Final = {
    "bug": EXIT_BUG,
    "no_daemon": EXIT_NO_ACCESS,
    "no_datadir": EXIT_NO_ACCESS,
    "no_permission": EXIT_NO_ACCESS,
    "bad_token": EXIT_NO_ACCESS,
    "bad_host": EXIT_NO_ACCESS,
    "timeout": EXIT_TIMED_OUT,
    "usage": EXIT_USAGE,
    "bad_argument": EXIT_USAGE,
}
"""Codes of errors that end a command otherwise than with 1."""


class CommandError(OperatorError):
    """A command was refused or failed; `data` stands beside the message in JSON."""

    def __init__(self, message: str, *, code: str, hint: str = "", data: Any = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.data = data


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command: its options and its two outputs. Progress goes to `err`: programs read stdout."""

    datadir: Path | None
    json: bool
    wait: float
    timeout: float
    out: Console
    err: Console

    def need_datadir(self) -> Path:
        """The data directory. Raises UsageError if none was given, CommandError if it is not there or closed to us."""
        path = self.datadir
        if path is None:
            raise UsageError("no data directory was given", hint="give --datadir DIR, or set BFLCD_DATADIR")
        try:
            mode = path.stat().st_mode
        except FileNotFoundError as error:
            raise CommandError(f"{path}: there is no such data directory", code="no_datadir", hint="check --datadir") from error
        except OSError as error:
            raise refused(f"{path}", error) from error
        if not stat.S_ISDIR(mode):
            raise CommandError(f"{path}: is no directory", code="no_datadir", hint="check --datadir")
        if not os.access(path, os.R_OK | os.X_OK):
            raise CommandError(f"{path}: no permission", code="no_permission", hint="run as its owner")
        return path

    def show(self, *parts: RenderableType) -> None:
        """Write for people; without the blanks that fill a table's cells where it is no terminal."""
        if self.out.is_terminal:
            self.out.print(*parts, sep="\n")
            return
        with self.out.capture() as captured:
            self.out.print(*parts, sep="\n")
        self.out.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        self.out.file.flush()

    def emit(self, data: Any, human: Callable[[], None]) -> None:
        """The command's result: as JSON with --json, else as `human` writes it to `out`."""
        if self.json:
            emit_json(ok_envelope(data))
        else:
            human()


def make_session(datadir: Path | None, *, as_json: bool, wait: float, timeout: float) -> Session:
    """A session on this process's stdout and stderr."""
    return Session(datadir, as_json, wait, timeout, console_for(sys.stdout), console_for(sys.stderr))


class SafeConsole(Console):
    """Shows words of others, and never does what they say: all that this command draws for people goes through here."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of `renderable`, with what steers a terminal escaped in all but rich's own codes."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text, lines=True), part.style)


def console_for(stream: Any) -> Console:
    """A console that is plain and wide where `stream` is no terminal; rich itself obeys NO_COLOR."""
    terminal = stream.isatty()
    width = None if terminal else PLAIN_WIDTH
    return SafeConsole(file=stream, width=width, highlight=False, soft_wrap=not terminal, emoji=False, markup=False)


def emit_json(envelope: dict[str, Any]) -> None:
    """One JSON document on one line of stdout; structures in it become objects."""
    sys.stdout.write(json.dumps(envelope, ensure_ascii=True, allow_nan=False, default=msgspec.to_builtins) + "\n")
    sys.stdout.flush()


Given = TypeVar("Given", float, list[float], None)


def finite(value: Given) -> Given:
    """A number from the command line, or several; a flag's limits alone let through NaN. Raises typer's error."""
    numbers: list[float] = value if isinstance(value, list) else [] if value is None else [value]
    for number in numbers:
        if not isfinite(number):
            raise typer.BadParameter(f"{number} is no finite number")
    return value


def one_of(option: str, value: str, known: Sequence[str]) -> Any:
    """`value`, which is one of those `known`. Raises UsageError naming them; of a long value only the beginning is repeated."""
    if value not in known:
        told = value if len(value) <= SHOWN_OF_VALUE else f"{value[:SHOWN_OF_VALUE]}..."
        names = ", ".join(f'"{name}"' if "," in name else name for name in known)
        raise UsageError(f"{option} {told!r} is unknown", hint=f"use one of {names}")
    return value


def exit_code_for(error: Exception) -> int:
    """The exit code of design 11 for what a command raised."""
    if isinstance(error, CommandError):
        return EXIT_BY_CODE.get(error.code, EXIT_FAILED)
    if isinstance(error, OperatorError) and error.code in EXIT_BY_CODE:
        return EXIT_BY_CODE[error.code]
    return exit_code_of(error)
