"""How a command ends: its exit code (design 11), and one clear message instead of a traceback, except for bugs."""

import traceback
from collections.abc import Callable
from typing import Final

from typer import Abort

from bflcd.errors import BflcError, InvariantError, MachineError, OperatorError, UsageError
from bflcd.faults import fault_of
from bflcd.learn.protocol import WorkerError
from bflcd.limits import visible
from bflcd.streams import tell
from bflcd.version import __version__

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_ACCESS: Final = 3
EXIT_TIMED_OUT: Final = 4
EXIT_BUG: Final = 5

_EXIT_OF: Final = {"no_permission": EXIT_NO_ACCESS, "no_daemon": EXIT_NO_ACCESS, "timeout": EXIT_TIMED_OUT}
"""Codes of OperatorErrors that end a command otherwise than with EXIT_FAILED."""


def exit_code_of(error: Exception) -> int:
    """The exit code of design 11 for what a command raised."""
    match error:
        case UsageError():
            return EXIT_USAGE
        case OperatorError():
            return _EXIT_OF.get(error.code, EXIT_FAILED)
        case InvariantError():
            return EXIT_BUG
        case TimeoutError():
            return EXIT_TIMED_OUT
        case BflcError() | BrokenPipeError():
            return EXIT_FAILED
        case _:
            return EXIT_BUG


def told(error: Exception) -> Exception:
    """`error`, or the fault of the machine or the operator that it stands for: what the system refuses is no bug of ours."""
    if isinstance(error, BflcError | BrokenPipeError | TimeoutError):
        return error
    return fault_of(error) or error


def run_command(program: str, command: Callable[[], object]) -> int:
    """Run a command to its exit code; whatever it raises is told on stderr. `command` returns an exit code or None."""
    try:
        result = command()
    except (KeyboardInterrupt, Abort):
        say(program, "interrupted", "")
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the last place: every error gets its message and code
        show = getattr(error, "show", None)
        if callable(show):  # the command line's own errors; which package they come from depends on typer's version
            show_usage(show)
            return int(getattr(error, "exit_code", EXIT_USAGE))
        known = told(error)
        _tell(program, known)
        return exit_code_of(known)
    return result if isinstance(result, int) else EXIT_DONE


def show_usage(show: Callable[[], object]) -> None:
    """Let the command line's own error show itself, on a stderr that may be full or closed."""
    try:
        show()
    except OSError:
        return  # nobody can be told; the exit code still says it


def _tell(program: str, error: Exception) -> None:
    match error:
        case OperatorError() | MachineError():
            say(program, str(error), error.hint)
        case InvariantError():
            _bug(program, error)
        case WorkerError():
            say(program, str(error), "its own message stands above, or in the log")
        case BflcError() | TimeoutError():
            say(program, str(error) or "timed out", "")
        case BrokenPipeError():
            say(program, "nobody reads the output", "")
        case _:
            _bug(program, error)


def say(program: str, message: str, hint: str) -> None:
    """An error on stderr, whoever wrote its words."""
    tell(visible(f"{program}: {message}\n" + (f"  hint: {hint}\n" if hint else ""), lines=True))


def _bug(program: str, error: Exception) -> None:
    tell(visible("".join(traceback.format_exception(error)), lines=True))
    say(
        program,
        f"this is a bug in version {__version__}: {type(error).__name__}: {error}",
        "please report it with the lines above, `bflcd version` and the last lines of log/bflcd.log (CONTRIBUTING.md)",
    )
