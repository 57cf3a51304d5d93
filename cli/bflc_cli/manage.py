"""Commands that change or copy something: prune, export, config show, stop. The first two also work on a stopped node."""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from bflc_cli.client import connect, find_daemon, process_runs, read_api_file
from bflc_cli.session import CommandError, Session
from bflc_cli.tables import facts, table
from bflc_cli.text import short, size
from bflcd.api.schema.chain import PruneView
from bflcd.errors import UsageError
from bflcd.faults import is_there
from bflcd.files import write_whole
from bflcd.limits import LARGEST_NUMBER

PRUNE_SECONDS: Final = 3600.0
"""A prune returns gigabytes in small steps while the node works."""

STOP_POLL: Final = 0.05
"""Seconds between two looks whether the process is gone."""


def prune(
    ctx: typer.Context,
    *,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, max=LARGEST_NUMBER, help="Keep the payloads of the last N rounds.")
    ] = None,
    to: Annotated[
        int | None,
        typer.Option("--to", min=0, max=LARGEST_NUMBER, help="Drop the payloads of all whole rounds up to this height."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove old payloads and return their space; never the newest model, headers or certificates."""
    session: Session = ctx.obj
    if (keep is None) == (to is None):
        raise UsageError("prune takes exactly one of --keep and --to", hint="bflc-cli prune --keep 2")
    body = {name: value for name, value in (("keep", keep), ("to", to)) if value is not None}
    api = find_daemon(session)
    if api is None:
        data = asyncio.run(_prune_stopped(session.need_datadir(), keep, to, dry_run=dry_run))
    else:
        with api, session.err.status("pruning"):
            data = api.post("/v1/prune", {**body, "dry_run": dry_run}, timeout=max(session.timeout, PRUNE_SECONDS))
    pruned = msgspec.convert(data, PruneView)
    would = "would be " if dry_run else ""
    session.emit(
        data,
        lambda: session.show(
            facts(
                [
                    ("pruned to", f"height {pruned.height}; payloads are whole from round {pruned.round} on"),
                    ("payloads", f"{pruned.blobs} {would}removed, {size(pruned.payload_bytes)}"),
                    ("disk", f"{pruned.freed} bytes {would}returned ({size(pruned.freed)})"),
                ]
            )
        ),
    )


async def _prune_stopped(datadir: Path, keep: int | None, to: int | None, *, dry_run: bool) -> PruneView:
    from bflcd.api.prune_target import rounds_to_keep  # noqa: PLC0415 - only a stopped node's store is opened here
    from bflcd.store.sqlite import SqliteStore  # noqa: PLC0415

    store = await SqliteStore.open(datadir, create=False)
    try:
        genesis = await store.genesis()
        if genesis is None:
            raise CommandError(f"{datadir} holds no chain yet", code="no_store", hint="start the node once")
        head = await store.head()
        kept = rounds_to_keep(keep, to, head=head.header.round, places=genesis.params.places)
        report = await store.prune(kept, dry_run=dry_run)
    finally:
        await store.close()
    return PruneView(
        dry_run=dry_run,
        keep=kept,
        height=report.height,
        round=report.round,
        blobs=report.blobs,
        payload_bytes=report.payload_bytes,
        freed=report.freed,
    )


def export(
    ctx: typer.Context,
    *,
    round_: Annotated[
        int | None, typer.Option("--round", min=0, max=LARGEST_NUMBER, help="Which model; default: the newest.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: model-ROUND.safetensors.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The chain's own bytes, whose hash is the root: no metadata.")] = False,
) -> None:
    """Write a model as safetensors, with chain, task, round and hash in its metadata, and print its SHA-256."""
    session: Session = ctx.obj
    if output is not None:
        _refuse_existing(output, force=force)
    api = find_daemon(session)
    if api is None:
        data, described = asyncio.run(_read_model(session.need_datadir(), round_))
    else:
        with api, session.err.status("fetching the model"):
            data, described = api.model(round_)
    _check_root(data, described)
    if not raw:
        data = _described(data, described)
    path = output or Path(f"model-{described['round']}.safetensors")
    _refuse_existing(path, force=force)
    write_whole(path, data)
    result = {**described, "file": str(path.absolute()), "sha256": hashlib.sha256(data).hexdigest()}
    pairs = [
        ("file", str(path)),
        ("model", f"round {described['round']}, height {described['height']}, root {short(described['root'])}"),
        ("size", size(len(data))),
        ("sha256", result["sha256"]),
    ]
    session.emit(result, lambda: session.show(facts(pairs)))


async def _read_model(datadir: Path, round_: int | None) -> tuple[bytes, dict[str, Any]]:
    """A stopped node's model, from its store."""
    from bflc_cli.offline import read_model  # noqa: PLC0415 - the store is opened only here

    return await read_model(datadir, round_)


def _check_root(data: bytes, described: Mapping[str, Any]) -> None:
    from bflcd.crypto.hashing import root_of  # noqa: PLC0415 - only this command hashes

    if not data or root_of(data).hex() != described.get("root"):
        raise CommandError("the model's bytes do not hash to its root", code="damaged_blob", hint="run `bflc-cli verify`")


def _described(data: bytes, described: Mapping[str, Any]) -> bytes:
    """The model's file, with what it is in its metadata."""
    from bflcd.wire.tensors import with_metadata  # noqa: PLC0415 - numpy

    names = ("chain_id", "task", "round", "height", "root", "block_hash")
    return with_metadata(
        data, {"format": "pt", **{name: str(described[name]) for name in names if described.get(name) is not None}}
    )


def _refuse_existing(path: Path, *, force: bool) -> None:
    if is_there(path) and path.is_dir():
        raise CommandError(f"{path} is a directory", code="exists", hint="name a file with --output")
    if is_there(path) and not force:
        raise CommandError(f"{path} exists", code="exists", hint="choose another --output, or --force")


def config_show(ctx: typer.Context) -> None:
    """The effective configuration, and where each value comes from."""
    from bflcd.config import SETTINGS, load_config, value_of  # noqa: PLC0415 - only this command reads it

    session: Session = ctx.obj
    loaded = load_config(session.need_datadir(), os.environ, {})
    values = {key: msgspec.to_builtins(value_of(loaded.config, key), enc_hook=str) for key in SETTINGS}
    data = {key: {"value": value, "origin": loaded.origins[key]} for key, value in values.items()}
    rows = ((key, _spelled(value), loaded.origins[key]) for key, value in values.items())
    for text in loaded.warnings:
        session.err.print(Text(f"warning: {text}", style="yellow"))
    session.emit(data, lambda: session.show(table(("setting", "~value", "~from"), rows)))


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value) if value != "" else "-"


def stop(ctx: typer.Context) -> None:
    """Stop the daemon and wait until it is gone, at most --timeout seconds."""
    session: Session = ctx.obj
    with connect(session) as api:
        data = api.post("/v1/stop")
    pid, token = api.entry.pid, api.entry.token
    deadline = time.monotonic() + session.timeout
    while _still_there(session.need_datadir(), pid, token):
        if time.monotonic() >= deadline:
            raise CommandError(
                f"process {pid} still runs after {session.timeout:g} s", code="timeout", hint="see `bflc-cli logs`, or kill it"
            )
        time.sleep(STOP_POLL)
    session.emit({**data, "pid": pid, "stopped": True}, lambda: session.show(f"the daemon (process {pid}) has stopped"))


def _still_there(datadir: Path, pid: int, token: str) -> bool:
    """Whether the daemon that had this token still runs: its file goes first, its process last."""
    try:
        if read_api_file(datadir).token == token:
            return process_runs(pid)
    except CommandError:
        pass
    return pid != os.getpid() and process_runs(pid) and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """A process that has ended and waits for its parent (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].startswith("Z")
    except (OSError, UnicodeDecodeError):
        return False


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("prune")(prune)
    app.command("export")(export)
    app.command("stop")(stop)
    config = typer.Typer(help="The node's configuration.", no_args_is_help=True, rich_markup_mode=None)
    config.command("show")(config_show)
    config.callback()(lambda: None)
    app.add_typer(config, name="config")
