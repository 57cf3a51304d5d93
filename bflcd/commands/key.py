"""`bflcd key`: what a machine's operator does with its key."""

import json
import os
import sys
import time
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from bflcd.api.schema.envelope import ok_envelope
from bflcd.commands.asking import post
from bflcd.commands.flags import DataDirOption, PassphraseOption
from bflcd.config import load_config
from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.crypto.keystore import need_passphrase, read_facts, read_passphrase
from bflcd.errors import OperatorError, UsageError
from bflcd.faults import is_there
from bflcd.limits import visible
from bflcd.process import keep_to_owner
from bflcd.setup.datadir import DataDir
from bflcd.setup.key_files import back_up, reseal, restore

NewPassphraseOption = Annotated[
    Path | None, typer.Option("--new-passphrase-file", help="File whose first line seals it; else you are asked at the terminal.")
]

_POLL: Final = 0.25
"""Seconds between two looks whether the new key is in use."""

key_app = typer.Typer(no_args_is_help=True, help="Show, back up, restore, seal, rotate a node's key.")


@key_app.command("show")
def show_key(
    *, datadir: DataDirOption, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False
) -> None:
    """Show whose key it is, and whether a passphrase seals it; nothing is opened."""
    place = DataDir(datadir)
    place.check()
    facts = read_facts(place.key)
    coming = read_facts(place.next_key).node_id.hex() if is_there(place.next_key) else ""
    kept = [read_facts(path).node_id.hex() for path in place.kept_keys()]
    if as_json:
        data = {"node_id": facts.node_id.hex(), "peer_id": peer_id_of(facts.node_id), "sealed": facts.sealed}
        typer.echo(json.dumps(ok_envelope(data | {"next": coming, "kept": kept})))
        return
    typer.echo(f"node id    {facts.node_id.hex()}")
    typer.echo(f"peer id    {peer_id_of(facts.node_id)}")
    typer.echo(f"sealed     {'by a passphrase' if facts.sealed else 'no: whoever reads the file has the key'}")
    if coming:
        typer.echo(f"next       {coming}, which is to take its place")
    for node in kept:
        typer.echo(f"before     {node}")


@key_app.command("backup")
def back_up_key(
    *,
    datadir: DataDirOption,
    output: Annotated[Path, typer.Option("--output", help="The new file to write.")],
    passphrase_file: PassphraseOption = None,
    new_passphrase_file: NewPassphraseOption = None,
) -> None:
    """Write a copy of the key, sealed by a passphrase, for a safe place."""
    keep_to_owner()
    place = DataDir(datadir)
    place.check()
    passphrase = _opening(place, passphrase_file)
    identity = back_up(place, passphrase, output, _new_seal(new_passphrase_file, "the passphrase of the backup"))
    typer.echo(f"backup     {output}, of the key alone; without its passphrase it opens nothing")
    _print_ids(identity)
    typer.echo("           `bflcd key restore` makes a node of it, which first signs when the chain has moved on by two rounds")


@key_app.command("restore")
def restore_key(
    *,
    datadir: DataDirOption,
    backup: Annotated[Path, typer.Argument(metavar="FILE", help="What `bflcd key backup` wrote.")],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a node of a backup, in a directory without chain and marks; never where another with this key may still run."""
    keep_to_owner()
    seal = read_passphrase(passphrase_file) if passphrase_file else _asked("the passphrase of the backup", twice=False)
    identity = restore(DataDir(datadir), backup, seal)
    typer.echo(f"directory  {datadir}, whose key is sealed by the backup's passphrase")
    _print_ids(identity)
    typer.echo(
        "           nothing is signed before the chain has moved on by two rounds: it may have signed what is not known here"
    )
    typer.echo("           never run two nodes with one key: the community takes that for a lie")
    typer.echo(f"next       bflcd start --datadir {quote(str(datadir))} --passphrase-file FILE --bootstrap MULTIADDR")


@key_app.command("passphrase")
def change_passphrase(
    *,
    datadir: DataDirOption,
    passphrase_file: PassphraseOption = None,
    new_passphrase_file: NewPassphraseOption = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the seal off: whoever reads the file has the key.")] = False,
) -> None:
    """Seal the key by a passphrase, by another one, or by none; the node has to be stopped."""
    keep_to_owner()
    if remove and new_passphrase_file is not None:
        raise UsageError("--remove and --new-passphrase-file contradict each other", hint="give one of them")
    place = DataDir(datadir)
    place.check()
    passphrase = _opening(place, passphrase_file)
    identity = reseal(place, passphrase, None if remove else _new_seal(new_passphrase_file, "the new passphrase"))
    _print_ids(identity)
    if remove:
        typer.echo("sealed     no: take node.passphrase_file out of config.toml")
    else:
        typer.echo(
            "sealed     every start needs --passphrase-file, or node.passphrase_file in config.toml, with the new passphrase"
        )


@key_app.command("rotate")
def rotate_key(
    *,
    datadir: DataDirOption,
    patience: Annotated[
        int, typer.Option("--for", min=0, max=86_400, help="Seconds to wait for the block that carries it.")
    ] = 60,
) -> None:
    """Go on under a new key, which the running daemon makes, with all that the node has; the key before is dead from then on."""
    place = DataDir(datadir)
    place.check()
    before = read_facts(place.key).node_id
    typer.echo(visible(post(place.path, "/v1/operations", {"kind": "rotate"})))
    end = time.monotonic() + patience
    while (now := read_facts(place.key).node_id) == before:
        if time.monotonic() >= end:
            typer.echo("waiting    for the block that carries it; `bflcd key show` says when the new key is in use")
            return
        time.sleep(_POLL)
    typer.echo(f"node id    {now.hex()}")
    typer.echo(f"peer id    {peer_id_of(now)}: others that name this node as a first peer write it into their configuration")
    typer.echo("next       back the new key up (`bflcd key backup`): backups of the one before are worth nothing now")
    typer.echo(f"           remove {place.kept_key(before)} when the chain has moved on by some rounds")


def _opening(place: DataDir, passphrase_file: Path | None) -> bytes | None:
    """What opens the directory's key: of the file that is given or configured, else asked for, if it is sealed."""
    if not read_facts(place.key).sealed:
        return None
    flags = {} if passphrase_file is None else {"node.passphrase_file": str(passphrase_file)}
    named = load_config(place.path, os.environ, flags).config.node.passphrase_file
    return read_passphrase(Path(named)) if named else _asked("the passphrase of the key", twice=False, option="--passphrase-file")


def _new_seal(file: Path | None, what: str) -> bytes:
    return read_passphrase(file) if file else _asked(what, twice=True, option="--new-passphrase-file")


def _asked(what: str, *, twice: bool, option: str = "--passphrase-file") -> bytes:
    """A passphrase typed at the terminal, which does not show it. Raises OperatorError where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise OperatorError(
            f"{what} is needed, and nobody can be asked here", hint=f"give it with {option} FILE", code="needs_passphrase"
        )
    typed: str = typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    return need_passphrase(typed.encode("utf-8", "surrogateescape"), what)


def _print_ids(identity: Identity) -> None:
    typer.echo(f"node id    {identity.node_id.hex()}")
    typer.echo(f"peer id    {peer_id_of(identity.node_id)}")
