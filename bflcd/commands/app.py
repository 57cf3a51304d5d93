"""The command line of `bflcd`: init, genesis, testnet, start, key, version."""

import json
import platform
from typing import Annotated, Final

import typer

from bflcd.api.schema.envelope import ok_envelope
from bflcd.commands.community import new_genesis, new_testnet
from bflcd.commands.key import key_app
from bflcd.commands.node import init, start
from bflcd.exit_codes import run_command
from bflcd.version import __version__
from bflcd.wire.codec import WIRE_VERSION

PROGRAM: Final = "bflcd"

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A daemon that trains one model together with others, none of whom it has to trust.",
)
app.command()(init)
app.command("genesis")(new_genesis)
app.command("testnet")(new_testnet)
app.command()(start)
app.add_typer(key_app, name="key")


@app.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show the versions of program, protocol and Python."""
    if as_json:
        data = {
            "version": __version__,
            "protocol": WIRE_VERSION,
            "python": platform.python_version(),
            "system": platform.platform(),
        }
        typer.echo(json.dumps(ok_envelope(data)))
    else:
        typer.echo(f"{PROGRAM} {__version__}, protocol {WIRE_VERSION}, Python {platform.python_version()}")


def run(arguments: list[str] | None) -> int:
    """Run the command line (None: this process's) to its exit code."""
    command = typer.main.get_command(app)
    return run_command(PROGRAM, lambda: command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False))
