"""`bflcd init` and `bflcd start`: one machine's key, configuration, and daemon."""

import os
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import msgspec
import typer

from bflcd.commands.consent import terminal_consent
from bflcd.commands.flags import (
    AllowTaskOption,
    AnnounceOption,
    ApiOption,
    BootstrapOption,
    ChainOption,
    DataDirOption,
    DataOption,
    ListenOption,
    NameOption,
    PassphraseOption,
    TrustedHeadOption,
    TrustOption,
)
from bflcd.config import FLAGS, Config, LoadedConfig, load_config, value_of, write_config
from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.crypto.keystore import read_passphrase, write_key
from bflcd.errors import OperatorError, UsageError
from bflcd.faults import is_there
from bflcd.process import keep_to_owner
from bflcd.setup.datadir import DataDir
from bflcd.setup.invitation import read_invitation
from bflcd.types import Millis, short


class Device(StrEnum):
    """Where the worker computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Level(StrEnum):
    """Least severe record that is shown."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class Format(StrEnum):
    """Form of the log on the terminal."""

    auto = "auto"
    text = "text"
    json = "json"


def init(
    *,
    datadir: DataDirOption,
    listen: ListenOption = None,
    bootstrap: BootstrapOption = None,
    announce: AnnounceOption = None,
    chain_id: ChainOption = None,
    name: NameOption = None,
    data: DataOption = None,
    allow_task: AllowTaskOption = None,
    passphrase_file: PassphraseOption = None,
    invite: Annotated[
        str | None, typer.Option("--invite", help="What `bflc-cli invite` printed: whom to ask, for which chain.")
    ] = None,
) -> None:
    """Make a key and a configuration for one machine."""
    keep_to_owner()
    invitation = None if invite is None else read_invitation(invite, Millis(int(time.time() * 1000)))
    if invitation is not None:
        if bootstrap or chain_id:
            raise UsageError("--invite says the chain and the first peers: leave --chain-id and --bootstrap out")
        bootstrap, chain_id = list(invitation.addresses), invitation.chain.hex()
    flags = _given(
        {
            "node.listen": listen,
            "node.bootstrap": bootstrap,
            "node.announce": announce,
            "node.chain_id": chain_id,
            "node.trusted_head": None if invitation is None else invitation.trusted_head,
            "node.name": name,
            "data.path": data,
            "tasks.allow": allow_task,
            "node.passphrase_file": passphrase_file,
        }
    )
    place = DataDir(datadir)
    place.make()
    loaded = load_config(datadir, {}, flags)
    _need_said(place, loaded, flags)
    voucher = None if invitation is None or invitation.voucher is None else Identity(invitation.voucher)
    identity = _make_node(place, loaded, keep_head=invitation is not None, voucher=voucher)
    _print_made(datadir, identity)
    typer.echo(f"next       bflcd start --datadir {quote(str(datadir))}" + ("" if bootstrap else " --bootstrap MULTIADDR"))
    if invitation is None:
        typer.echo("           or hand the node id to whoever composes the genesis of a new community (docs/operations.md)")
    elif voucher is None:
        typer.echo(f"           a manager lets it in: bflc-cli admit {identity.node_id.hex()}")
    else:
        typer.echo(f"           its voucher {short(voucher.node_id)} lets it in, once")


def start(
    *,
    datadir: DataDirOption,
    bootstrap: BootstrapOption = None,
    listen: ListenOption = None,
    announce: AnnounceOption = None,
    chain_id: ChainOption = None,
    trust_first_peer: TrustOption = False,
    trusted_head: TrustedHeadOption = None,
    name: NameOption = None,
    device: Annotated[Device | None, typer.Option("--device", help="Where to train and score.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of the compute worker.")] = None,
    data: DataOption = None,
    allow_task: AllowTaskOption = None,
    observe: Annotated[bool, typer.Option("--observe", help="Only follow the chain: neither train nor validate.")] = False,
    attack: Annotated[
        str | None,
        typer.Option("--attack", help="Lie to the others as a learning attack does, to see what that helps; on a testnet only."),
    ] = None,
    prune_keep: Annotated[int | None, typer.Option("--prune-keep", help="Keep the payloads of the last N rounds only.")] = None,
    archive: Annotated[bool, typer.Option("--archive", help="Keep everything.")] = False,
    api_listen: ApiOption = None,
    passphrase_file: PassphraseOption = None,
    log_level: Annotated[Level | None, typer.Option("--log-level", help="Least severe line shown.")] = None,
    log_format: Annotated[Format | None, typer.Option("--log-format", help="Form of the lines shown.")] = None,
) -> int:
    """Run the node until SIGTERM or Ctrl-C."""
    if archive and prune_keep is not None:
        raise UsageError("--archive and --prune-keep contradict each other", hint="give one of them")
    flags = _given(
        {
            "node.bootstrap": bootstrap,
            "node.listen": listen,
            "node.announce": announce,
            "node.chain_id": chain_id,
            "node.trust_first_peer": True if trust_first_peer else None,
            "node.trusted_head": trusted_head,
            "node.name": name,
            "node.passphrase_file": passphrase_file,
            "compute.device": device,
            "compute.threads": threads,
            "compute.train": False if observe else None,
            "data.path": data,
            "tasks.allow": allow_task,
            "attack.name": attack,
            "store.mode": "archive" if archive else "pruned" if prune_keep is not None else None,
            "store.keep": prune_keep,
            "api.listen": api_listen,
            "log.level": log_level,
            "log.format": log_format,
        }
    )
    place = DataDir(datadir)
    place.check(may_be_absent=True)
    loaded = load_config(datadir, os.environ, flags)
    if not is_there(place.key):
        _first_start(place, loaded)
    from bflcd.node.app import run  # noqa: PLC0415 - imports the network and the store, which no other command needs

    return run(loaded.config, terminal_consent(), warnings=loaded.warnings)


def _given(flags: dict[str, Any]) -> dict[str, object]:
    """The flags that were given, as plain values."""
    plain = {key: str(value) if isinstance(value, Path | StrEnum) else value for key, value in flags.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _first_start(place: DataDir, loaded: LoadedConfig) -> None:
    """A key for a directory that has none; refused where it would join nothing. Raises OperatorError."""
    if not loaded.config.node.bootstrap and not is_there(place.genesis):
        raise OperatorError(
            f"{place.path}: no key, no genesis and no first peer: there is nothing to join",
            hint="give --bootstrap MULTIADDR, or run `bflcd init` and put genesis.json there",
            code="nothing_to_join",
        )
    keep_to_owner()
    identity = _make_node(place, loaded)
    _print_made(place.path, identity)


def _need_said(place: DataDir, loaded: LoadedConfig, flags: Mapping[str, object]) -> None:
    """Raise OperatorError where what the flags say would be lost: a configuration that is there is not written again."""
    if not is_there(place.config):
        return
    said = load_config(place.path, {}, {}).config
    lost = [f"{key} ({FLAGS[key]})" for key in flags if value_of(said, key) != value_of(loaded.config, key)]
    if lost:
        raise OperatorError(
            f"{place.config} is there, and says otherwise of {', '.join(lost)}",
            hint="write that into the file, or move it away; then run this again",
            code="config_exists",
        )


def _make_node(place: DataDir, loaded: LoadedConfig, *, keep_head: bool = False, voucher: Identity | None = None) -> Identity:
    """A key, a voucher and, unless there is one, a configuration with what `loaded` says of node, data and tasks.

    `keep_head`: of the trusted head too, since an invitation names its chain.

    The key comes last: a directory that has one is made, and what a kill left is made whole by the same command.
    """
    place.make()
    passphrase_file = loaded.config.node.passphrase_file
    seal = read_passphrase(Path(passphrase_file)) if passphrase_file else None
    identity, is_new = Identity.generate(), not is_there(place.config) and not is_there(place.key)
    if is_new:
        # What was trusted once is trusted for this start: the file outlives the chain.
        head = loaded.config.node.trusted_head if keep_head else ""
        node = msgspec.structs.replace(loaded.config.node, trust_first_peer=False, trusted_head=head)
        write_config(place.config, Config(node=node, data=loaded.config.data, tasks=loaded.config.tasks))
    try:
        if voucher is not None:
            place.voucher.unlink(missing_ok=True)  # of a try that was killed: there is no key yet
            write_key(place.voucher, voucher)
        write_key(place.key, identity, seal)
    except BaseException:
        if is_new:  # the next try may say something else
            place.config.unlink()
            place.voucher.unlink(missing_ok=True)
        raise
    return identity


def _print_made(datadir: Path, identity: Identity) -> None:
    typer.echo(f"directory  {datadir}")
    typer.echo(f"node id    {identity.node_id.hex()}")
    typer.echo(f"peer id    {peer_id_of(identity.node_id)}")
