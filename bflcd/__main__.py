"""The daemon's command, `bflcd`: init, genesis, testnet, start, version."""

import json
import os
import platform
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bflcd.api.schema.envelope import ok_envelope
from bflcd.config import Config, LoadedConfig, load_config, write_config
from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.crypto.keystore import read_passphrase, write_key
from bflcd.errors import MachineError, OperatorError, UsageError
from bflcd.exit_codes import run_command
from bflcd.learn.client import describe_task
from bflcd.learn.data import DataConfig
from bflcd.params import Genesis, Params
from bflcd.setup.datadir import DataDir
from bflcd.setup.genesis_file import write_genesis
from bflcd.setup.genesis_plan import FIRST_BALANCE, FIRST_POOL, GenesisPlan, TaskPlan, compose_genesis
from bflcd.setup.options import CommunityOptions, data_for_describing, default_partition, node_ids, parse_options
from bflcd.setup.testnet import BOOTSTRAPS, TestnetPlan, create_testnet
from bflcd.types import Amount, Millis, short
from bflcd.version import __version__
from bflcd.wire.blocks import chain_id_of
from bflcd.wire.codec import WIRE_VERSION

PROGRAM: Final = "bflcd"
DEFAULTS: Final = Params()

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A daemon that trains one model together with others, none of whom it has to trust.",
)


class Partition(StrEnum):
    """How the data of a testnet is dealt."""

    writer = "writer"
    dirichlet = "dirichlet"
    equal = "equal"


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


DataDirOption = Annotated[Path, typer.Option("--datadir", envvar="BFLCD_DATADIR", help="The node's data directory.")]
ListenOption = Annotated[list[str] | None, typer.Option("--listen", help="Multiaddr to listen on; repeat for more.")]
AnnounceOption = Annotated[list[str] | None, typer.Option("--announce", help="Multiaddr at which others reach this node.")]
BootstrapOption = Annotated[
    list[str] | None, typer.Option("--bootstrap", help="Multiaddr of a first peer, ending in /p2p/PEERID.")
]
ChainOption = Annotated[str | None, typer.Option("--chain-id", help="The only chain to join, 64 hexadecimal digits.")]
NameOption = Annotated[str | None, typer.Option("--name", help="A name for people.")]
PassphraseOption = Annotated[Path | None, typer.Option("--passphrase-file", help="File whose first line opens node.key.")]
TaskOption = Annotated[str, typer.Option("--task", help="digits, femnist, an installed task, or module:attribute.")]
TaskOptions = Annotated[list[str] | None, typer.Option("--option", help="KEY=VALUE: an option of the task; repeat for more.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="File or folder with the data, for tasks that need one.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Draws the first model and deals the data.")]
CommitteeOption = Annotated[
    int, typer.Option("--committee-size", min=0, help="Seats of the committee (M); 0: a fifth of those at work, 4 to 20.")
]
PlacesOption = Annotated[int, typer.Option("--places", min=0, help="Update blocks a round (k); 0: one for each trainer.")]
RoundsOption = Annotated[int, typer.Option("--rounds", min=0, help="Rounds after which the community stops; 0: never.")]
ViewTimeoutOption = Annotated[int, typer.Option("--view-timeout", help="T0, the first view's time, in milliseconds.")]
AggregationOption = Annotated[str, typer.Option("--aggregation", help="fedavg or median.")]
ScoreRuleOption = Annotated[str, typer.Option("--score-rule", help="gain or accuracy.")]
ElectionOption = Annotated[str, typer.Option("--election", help="score, random, top-half or multi-factor.")]
SmallOption = Annotated[bool, typer.Option("--small-community", help="Allow N < M + 1 or M < 4; the committee trains too.")]
RateOption = Annotated[float, typer.Option("--learning-rate", min=0.0, help="Learning rate of the first round; 0: 0.05.")]
ParamOption = Annotated[list[str] | None, typer.Option("--param", help="KEY=VALUE: any other parameter of the genesis.")]


@app.command()
def init(
    *,
    datadir: DataDirOption,
    listen: ListenOption = None,
    bootstrap: BootstrapOption = None,
    announce: AnnounceOption = None,
    chain_id: ChainOption = None,
    name: NameOption = None,
    data: DataOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a key and a configuration for one machine."""
    flags = _given(
        {
            "node.listen": listen,
            "node.bootstrap": bootstrap,
            "node.announce": announce,
            "node.chain_id": chain_id,
            "node.name": name,
            "data.path": data,
            "node.passphrase_file": passphrase_file,
        }
    )
    place = DataDir(datadir)
    place.make()
    identity = _make_node(place, load_config(datadir, {}, flags))
    _print_made(datadir, identity)
    typer.echo(f"next       bflcd start --datadir {datadir}" + ("" if bootstrap else " --bootstrap MULTIADDR"))
    typer.echo("           or hand the node id to whoever composes the genesis of a new community (docs/operations.md)")


@app.command("genesis")
def new_genesis(
    *,
    member: Annotated[list[str], typer.Option("--member", help="Node id (or peer id) of a first member; one each.")],
    output: Annotated[Path, typer.Option("--output", help="The genesis file to write; the first model goes beside it.")],
    manager: Annotated[list[str] | None, typer.Option("--manager", help="A manager; without any: the first committee.")] = None,
    seat: Annotated[list[str] | None, typer.Option("--seat", help="First committee, in order; else the first members.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the community.")] = "community",
    task: TaskOption = "digits",
    option: TaskOptions = None,
    data: DataOption = None,
    seed: SeedOption = 0,
    committee_size: CommitteeOption = 0,
    places: PlacesOption = 0,
    rounds: RoundsOption = 0,
    view_timeout: ViewTimeoutOption = DEFAULTS.view_timeout,
    aggregation: AggregationOption = DEFAULTS.aggregation,
    score_rule: ScoreRuleOption = DEFAULTS.score_rule,
    election: ElectionOption = DEFAULTS.election,
    small_community: SmallOption = False,
    learning_rate: RateOption = 0.0,
    param: ParamOption = None,
    balance: Annotated[int, typer.Option("--balance", min=0, help="Units that each first member gets.")] = FIRST_BALANCE,
    pool: Annotated[int, typer.Option("--pool", min=0, help="Units that rewards are paid from.")] = FIRST_POOL,
    testnet: Annotated[bool, typer.Option("--testnet", help="Nothing of worth: nodes may play attacks on it.")] = False,
) -> None:
    """Compose the genesis of a community from the node ids of its first members."""
    options = CommunityOptions(
        committee_size,
        places,
        rounds,
        view_timeout,
        score_rule,
        election,
        aggregation,
        small_community,
        learning_rate,
        tuple(param or ()),
    )
    members = node_ids(member, "--member")
    model_file = output.parent / DataDir(output.parent).model.name
    for path in (output, model_file):
        if path.exists():
            raise OperatorError(
                f"{path} exists", hint="choose another --output: a genesis is never overwritten", code="not_empty"
            )
    task_plan = TaskPlan(
        task, parse_options(option or (), "--option"), options.training(), seed, data_for_describing(DataConfig(_text(data)))
    )
    plan = GenesisPlan(
        name,
        _now(),
        options.params(len(members)),
        members,
        node_ids(seat or (), "--seat"),
        node_ids(manager or (), "--manager"),
        Amount(balance),
        Amount(pool),
        testnet,
    )
    description = describe_task(task, task_plan.options, seed=seed, data=task_plan.data)
    composed = compose_genesis(plan, task_plan, description)
    write_genesis(output, composed)
    _write_model(model_file, description.model)
    _print_community(composed)
    typer.echo(f"next       give every member {output} and {model_file.name}; each puts both into its data directory")
    typer.echo(f"           and runs bflcd start --datadir DIR --chain-id {chain_id_of(composed).hex()}")


@app.command("testnet")
def new_testnet(
    *,
    nodes: Annotated[int, typer.Option("--nodes", help="Nodes of the community.")],
    output: Annotated[Path, typer.Option("--output", help="Directory to create; one data directory a node goes into it.")],
    task: TaskOption = "digits",
    option: TaskOptions = None,
    data: DataOption = None,
    partition: Annotated[Partition | None, typer.Option("--partition", help="Default: writer if known, else dirichlet.")] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Label skew of dirichlet; smaller is more.")] = 0.5,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most this many rows a node; 0: all.")] = 0,
    seed: SeedOption = 0,
    committee_size: CommitteeOption = 0,
    places: PlacesOption = 0,
    rounds: RoundsOption = 0,
    view_timeout: ViewTimeoutOption = DEFAULTS.view_timeout,
    aggregation: AggregationOption = DEFAULTS.aggregation,
    score_rule: ScoreRuleOption = DEFAULTS.score_rule,
    election: ElectionOption = DEFAULTS.election,
    small_community: SmallOption = False,
    learning_rate: RateOption = 0.0,
    param: ParamOption = None,
    base_port: Annotated[int, typer.Option("--base-port", min=0, help="First TCP port; 0: any free ones.")] = 0,
    no_bootstrap: Annotated[bool, typer.Option("--no-bootstrap", help="No first peers: give them to `start`.")] = False,
    compose: Annotated[bool, typer.Option("--compose", help="For containers: write compose.yaml too.")] = False,
    image: Annotated[str, typer.Option("--image", help="The image that compose.yaml names.")] = "bflcd",
    attack: Annotated[str, typer.Option("--attack", help="What the last --attackers nodes play (docs/attacks.md).")] = "",
    attackers: Annotated[int, typer.Option("--attackers", min=0, help="How many of the nodes lie together.")] = 0,
    seed_keys: Annotated[bool, typer.Option("--seed-keys", hidden=True, help="Keys from --seed: for tests only.")] = False,
) -> None:
    """Set up a whole community on this machine; `bflc-cli testnet up` starts it."""
    options = CommunityOptions(
        committee_size,
        places,
        rounds,
        view_timeout,
        score_rule,
        election,
        aggregation,
        small_community,
        learning_rate,
        tuple(param or ()),
    )
    path = _text(data)
    kind = partition.value if partition is not None else default_partition(task, path)
    shares = DataConfig(path, kind, count=max(nodes, 1), seed=seed, alpha=alpha, limit=limit)
    task_plan = TaskPlan(task, parse_options(option or (), "--option"), options.training(), seed, data_for_describing(shares))
    plan = TestnetPlan(
        nodes=nodes,
        output=output,
        task=task_plan,
        params=options.params(nodes),
        time=Millis(0) if seed_keys else _now(),
        data=shares,
        base_port=base_port,
        seeded_keys=seed_keys,
        bootstraps=0 if no_bootstrap else BOOTSTRAPS,
        compose=compose,
        image=image,
        attack=attack,
        attackers=attackers,
    )
    composed = create_testnet(plan)
    typer.echo(f"{nodes} nodes in {output}, data dealt by {kind}")
    if attackers:
        typer.echo(f"attack     {attack}, played by the last {attackers}")
    _print_community(composed)
    if no_bootstrap:
        typer.echo(f"next       bflcd start --datadir {output}/node0, and the others with --bootstrap and its address")
        return
    up = f"docker-compose -f {output}/compose.yaml up" if compose else f"bflc-cli testnet up {output}"
    typer.echo(f"next       {up}")


@app.command()
def start(
    *,
    datadir: DataDirOption,
    bootstrap: BootstrapOption = None,
    listen: ListenOption = None,
    announce: AnnounceOption = None,
    chain_id: ChainOption = None,
    name: NameOption = None,
    device: Annotated[Device | None, typer.Option("--device", help="Where to train and score.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of the compute worker.")] = None,
    data: DataOption = None,
    observe: Annotated[bool, typer.Option("--observe", help="Only follow the chain: neither train nor validate.")] = False,
    attack: Annotated[
        str | None,
        typer.Option("--attack", help="Lie to the others as a learning attack does, to see what that helps; on a testnet only."),
    ] = None,
    prune_keep: Annotated[int | None, typer.Option("--prune-keep", help="Keep the payloads of the last N rounds only.")] = None,
    archive: Annotated[bool, typer.Option("--archive", help="Keep everything.")] = False,
    api_port: Annotated[int | None, typer.Option("--api-port", help="Port of the control interface; 0: a free one.")] = None,
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
            "node.name": name,
            "node.passphrase_file": passphrase_file,
            "compute.device": device,
            "compute.threads": threads,
            "compute.train": False if observe else None,
            "data.path": data,
            "attack.name": attack,
            "store.mode": "archive" if archive else "pruned" if prune_keep is not None else None,
            "store.keep": prune_keep,
            "api.port": api_port,
            "log.level": log_level,
            "log.format": log_format,
        }
    )
    place = DataDir(datadir)
    place.check(may_be_absent=True)
    loaded = load_config(datadir, os.environ, flags)
    if not place.key.exists():
        _first_start(place, loaded)
    from bflcd.node.app import run  # noqa: PLC0415 - imports the network and the store, which no other command needs

    return run(loaded.config)


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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line (default: this process's) to its exit code."""
    command = typer.main.get_command(app)
    return run_command(PROGRAM, lambda: command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False))


def _given(flags: dict[str, Any]) -> dict[str, object]:
    """The flags that were given, as plain values."""
    plain = {key: str(value) if isinstance(value, Path | StrEnum) else value for key, value in flags.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _first_start(place: DataDir, loaded: LoadedConfig) -> None:
    """A key for a directory that has none; refused where it would join nothing. Raises OperatorError."""
    if not loaded.config.node.bootstrap and not place.genesis.exists():
        raise OperatorError(
            f"{place.path}: no key, no genesis and no first peer: there is nothing to join",
            hint="give --bootstrap MULTIADDR, or run `bflcd init` and put genesis.json there",
            code="nothing_to_join",
        )
    identity = _make_node(place, loaded)
    _print_made(place.path, identity)


def _make_node(place: DataDir, loaded: LoadedConfig) -> Identity:
    """Key and, unless there is one, a configuration with what `loaded` says of node and data."""
    place.make()
    passphrase_file = loaded.config.node.passphrase_file
    identity = Identity.generate()
    write_key(place.key, identity, read_passphrase(Path(passphrase_file)) if passphrase_file else None)
    if not place.config.exists():
        write_config(place.config, Config(node=loaded.config.node, data=loaded.config.data))
    return identity


def _print_made(datadir: Path, identity: Identity) -> None:
    typer.echo(f"directory  {datadir}")
    typer.echo(f"node id    {identity.node_id.hex()}")
    typer.echo(f"peer id    {peer_id_of(identity.node_id)}")


def _print_community(composed: Genesis) -> None:
    params, task = composed.params, composed.task
    end = f"until round {params.last_round}" if params.last_round else "without end"
    typer.echo(f"chain id   {chain_id_of(composed).hex()}")
    typer.echo(f"community  {len(composed.members)} members, {len(composed.committee)} seats, {params.places} places, {end}")
    typer.echo(f"task       {task.factory}, {len(task.tensors)} tensors, model 0 is {short(composed.model.root)}")


def _write_model(path: Path, model: bytes) -> None:
    try:
        path.write_bytes(model)
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be written: {error.strerror}", hint="check its folder's owner and free space"
        ) from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
