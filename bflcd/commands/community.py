"""`bflcd genesis` and `bflcd testnet`: a new community, on several machines or on this one."""

import time
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from bflcd.commands.flags import DataOption, SeedOption, TaskOption, TaskOptions, community_flags
from bflcd.errors import OperatorError
from bflcd.faults import is_there, refused
from bflcd.learn.client import describe_task
from bflcd.learn.data import DataConfig
from bflcd.learn.partition import TEST_PERCENT
from bflcd.learn.shipped import SHIPPED
from bflcd.params import Genesis
from bflcd.process import keep_to_owner
from bflcd.setup.datadir import DataDir
from bflcd.setup.genesis_file import write_genesis
from bflcd.setup.genesis_plan import FIRST_BALANCE, FIRST_POOL, GenesisPlan, TaskPlan, compose_genesis
from bflcd.setup.options import CommunityOptions, check_deal, data_for_describing, default_partition, node_ids, parse_options
from bflcd.setup.testnet import BOOTSTRAPS, TestnetPlan, create_testnet
from bflcd.types import Amount, Millis, short
from bflcd.wire.blocks import chain_id_of


class Partition(StrEnum):
    """How the data of a testnet is dealt."""

    writer = "writer"
    dirichlet = "dirichlet"
    equal = "equal"


@community_flags
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
    community: CommunityOptions,
    balance: Annotated[int, typer.Option("--balance", min=0, help="Units that each first member gets.")] = FIRST_BALANCE,
    pool: Annotated[int, typer.Option("--pool", min=0, help="Units that rewards are paid from.")] = FIRST_POOL,
    testnet: Annotated[bool, typer.Option("--testnet", help="Nothing of worth: nodes may play attacks on it.")] = False,
) -> None:
    """Compose the genesis of a community from the node ids of its first members."""
    members = node_ids(member, "--member")
    model_file = output.parent / DataDir(output.parent).model.name
    for path in (output, model_file):
        if is_there(path):
            raise OperatorError(
                f"{path} exists", hint="choose another --output: a genesis is never overwritten", code="not_empty"
            )
    task_plan = TaskPlan(
        task, parse_options(option or (), "--option"), community.training(), seed, data_for_describing(DataConfig(_text(data)))
    )
    plan = GenesisPlan(
        name,
        _now(),
        community.params(len(members)),
        members,
        node_ids(seat or (), "--seat"),
        node_ids(manager or (), "--manager"),
        Amount(balance),
        Amount(pool),
        testnet,
        community.terms(),
    )
    description = describe_task(task, task_plan.options, seed=seed, data=task_plan.data)
    composed = compose_genesis(plan, task_plan, description)
    write_genesis(output, composed)
    _write_model(model_file, description.model)
    _print_community(composed)
    typer.echo(f"next       give every member {output} and {model_file.name}; each puts both into its data directory")
    allow = "" if task in SHIPPED else f" --allow-task {quote(task)}"
    typer.echo(f"           and runs bflcd start --datadir DIR --chain-id {chain_id_of(composed).hex()}{allow}")


@community_flags
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
    community: CommunityOptions,
    base_port: Annotated[int, typer.Option("--base-port", min=0, help="First TCP port; 0: any free ones.")] = 0,
    no_bootstrap: Annotated[bool, typer.Option("--no-bootstrap", help="No first peers: give them to `start`.")] = False,
    compose: Annotated[bool, typer.Option("--compose", help="For containers: write compose.yaml too.")] = False,
    image: Annotated[str, typer.Option("--image", help="The image that compose.yaml names.")] = "bflcd",
    attack: Annotated[str, typer.Option("--attack", help="What the last --attackers nodes play (docs/attacks.md).")] = "",
    attackers: Annotated[int, typer.Option("--attackers", min=0, help="How many of the nodes lie together.")] = 0,
    seed_keys: Annotated[bool, typer.Option("--seed-keys", hidden=True, help="Keys from --seed: for tests only.")] = False,
) -> None:
    """Set up a whole community on this machine; `bflc-cli testnet up` starts it."""
    keep_to_owner()
    path = _text(data)
    kind = partition.value if partition is not None else default_partition(task, path)
    shares = DataConfig(path, kind, count=max(nodes, 1), seed=seed, alpha=alpha, limit=limit)
    options = parse_options(option or (), "--option")
    if path is not None and Path(path).exists():
        percent = str(dict(options).get("test_percent", TEST_PERCENT))
        check_deal(task, shares, int(percent) if percent.isdecimal() and len(percent) <= 2 else TEST_PERCENT)
    task_plan = TaskPlan(task, options, community.training(), seed, data_for_describing(shares))
    plan = TestnetPlan(
        nodes=nodes,
        output=output,
        task=task_plan,
        params=community.params(nodes),
        terms=community.terms(),
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
        typer.echo(
            f"next       bflcd start --datadir {quote(f'{output}/node0')}, and the others with --bootstrap and its address"
        )
        return
    up = f"docker-compose -f {quote(f'{output}/compose.yaml')} up" if compose else f"bflc-cli testnet up {quote(str(output))}"
    typer.echo(f"next       {up}")


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
        raise refused(f"{path}: cannot be written", error) from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
