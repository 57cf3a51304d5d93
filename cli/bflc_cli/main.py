"""The control command, `bflc-cli`: global options, errors, exit codes."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from bflc_cli import checks, lab, manage, queries, testnet, top, watch
from bflc_cli.audit import command as audit
from bflc_cli.governance import alliance, inviting, money, recover
from bflc_cli.laboratory import alarms, leaks
from bflc_cli.privacy import command as privacy
from bflc_cli.session import CommandError, emit_json, exit_code_for, finite, make_session
from bflcd.api.schema.envelope import error_envelope
from bflcd.errors import BflcError, InvariantError, MachineError, OperatorError
from bflcd.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, say, show_usage, told
from bflcd.files import named
from bflcd.limits import visible
from bflcd.streams import settle_output, tell
from bflcd.version import __version__

PROGRAM: Final = "bflc-cli"

_ClickError: Final[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What typer raises for a wrong command line; newer versions bring a click of their own."""

_UsageError: Final[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

_ANYWHERE: Final = {"--json": 0, "--datadir": 1, "--wait": 1}
"""Global options that may also stand behind the command, and how many values they take."""

MAX_SECONDS: Final = 86_400.0
"""That a command waits: a day."""

app = typer.Typer(
    name=PROGRAM,
    help="Steer a bflcd node. --json, --datadir and --wait may stand before or behind the command.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (queries, privacy, manage, alliance, inviting, money, recover, watch, top, checks, audit, testnet):
    module.register(app)
for module in (lab, leaks, alarms):
    module.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    *,
    datadir: Annotated[
        Path | None,
        typer.Option("--datadir", envvar="BFLCD_DATADIR", parser=named, metavar="DIRECTORY", help="The node's data directory."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, whole ids.")] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", min=0, max=MAX_SECONDS, callback=finite, help="Seconds to wait for a daemon that is still starting."
        ),
    ] = 0,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=MAX_SECONDS, callback=finite, help="Seconds that one request may take."),
    ] = 30,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before every command."""
    ctx.obj = make_session(datadir, as_json=as_json, wait=wait, timeout=timeout)


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--json`, `--datadir` and `--wait` moved to the front, where typer looks for global options."""
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(arguments):
        argument = arguments[at]
        if argument == "--":
            rest += arguments[at:]
            break
        name = argument.split("=", 1)[0]
        taken = 1 + (_ANYWHERE[name] if name in _ANYWHERE and "=" not in argument else 0)
        (front if name in _ANYWHERE else rest).extend(arguments[at : at + taken])
        at += taken
    return front + rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: this process's) to its exit code."""
    given = lab.hoist_shared(hoist(sys.argv[1:] if arguments is None else arguments))
    as_json = "--json" in given
    command = typer.main.get_command(app)
    try:
        result = command.main(args=given, prog_name=PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(as_json, CommandError("interrupted", code="interrupted"))
    except _ClickError as error:
        return _refuse_usage(as_json, error)
    except BrokenPipeError:
        settle_output()  # nobody reads: the interpreter must not complain about it at exit
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the last place: every error gets its message and code
        return _fail(as_json, told(error))
    return result if isinstance(result, int) else EXIT_DONE


def _refuse_usage(as_json: bool, error: Any) -> int:
    code = EXIT_USAGE if isinstance(error, _UsageError) else EXIT_FAILED
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        show_usage(error.show)
    else:
        _say(as_json, "usage", error.format_message(), f"{PROGRAM} --help shows what there is")
    return code


def _fail(as_json: bool, error: Exception) -> int:
    """Tell the error, on stdout as JSON or on stderr for people, and return its exit code."""
    data = error.data if isinstance(error, CommandError) else None
    match error:
        case InvariantError():
            code, message, hint = "bug", f"{type(error).__name__}: {error}", "please report it with the traceback"
        case OperatorError() | MachineError():
            code, message, hint = error.code, str(error), error.hint
        case BflcError():
            code, message, hint = "failed", str(error), ""
        case TimeoutError():
            code, message, hint = "timeout", str(error) or "timed out", "try a longer --timeout"
        case msgspec.MsgspecError():
            code, message = "version", f"the daemon's answer is not what this version expects: {error}"
            hint = "use the bflc-cli of the daemon's version"
        case _:
            code, message, hint = "bug", f"{type(error).__name__}: {error}", "please report it with the traceback"
    if code == "bug" and not isinstance(error, CommandError):
        tell(visible("".join(traceback.format_exception(error)), lines=True))
    _say(as_json, code, message, hint, data)
    return EXIT_FAILED if isinstance(error, msgspec.MsgspecError) else exit_code_for(error)


def _say(as_json: bool, code: str, message: str, hint: str, data: Any = None) -> None:
    """Write an error where it belongs; where that is not to be written to, in words on stderr."""
    if as_json:
        try:
            emit_json(error_envelope(code, message, hint, data))
        except OSError:
            settle_output()
        else:
            return
    say(PROGRAM, message, hint)


if __name__ == "__main__":
    sys.exit(main())
