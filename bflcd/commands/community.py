"""`bflcd genesis` and `bflcd testnet`: a new community, on several machines or on this one."""

import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from bflcd.commands.flags import DataOption, SeedOption, TaskOption, TaskOptions, TrialOption, community_flags
from bflcd.config.checks import is_text
from bflcd.config.refusals import shown
from bflcd.errors import OperatorError, UsageError
from bflcd.faults import is_there
from bflcd.files import write_whole
from bflcd.learn.data import DataConfig
from bflcd.learn.partition import TEST_PERCENT
from bflcd.learn.shipped import SHIPPED
from bflcd.ledger.alliance.fees import terms_text
from bflcd.ledger.state import MAX_SUPPLY
from bflcd.limits import LARGEST_NUMBER, visible
from bflcd.params import Genesis
from bflcd.process import keep_to_owner
from bflcd.setup.datadir import DataDir
from bflcd.setup.genesis_file import write_genesis
from bflcd.setup.genesis_plan import FIRST_BALANCE, FIRST_POOL, GenesisPlan, TaskPlan, compose_genesis, notes_of
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
    trial: TrialOption = True,
    seed: SeedOption = 0,
    community: CommunityOptions,
    balance: Annotated[
        int, typer.Option("--balance", min=0, max=MAX_SUPPLY, help="Units that each first member gets.")
    ] = FIRST_BALANCE,
    pool: Annotated[int, typer.Option("--pool", min=0, max=MAX_SUPPLY, help="Units that rewards are paid from.")] = FIRST_POOL,
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
        task,
        parse_options(option or (), "--option"),
        community.training(),
        seed,
        data_for_describing(DataConfig(_text(data))),
        trial and task not in SHIPPED,
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
    description = task_plan.describe()
    composed = compose_genesis(plan, task_plan, description)
    write_whole(model_file, description.model)
    try:
        write_genesis(output, composed)
    except BaseException:
        model_file.unlink()  # what is there is never overwritten: the next try needs the place
        raise
    _print_community(composed)
    _print_untried(description.untried)
    typer.echo(f"next       give every member {output} and {model_file.name}; each puts both into its data directory")
    allow = "" if task in SHIPPED else f" --allow-task {quote(task)}"
    typer.echo(f"           and runs bflcd start --datadir DIR --chain-id {chain_id_of(composed).hex()}{allow}")


@community_flags
def new_testnet(
    *,
    nodes: Annotated[int, typer.Option("--nodes", max=LARGEST_NUMBER, help="Nodes of the community.")],
    output: Annotated[Path, typer.Option("--output", help="Directory to create; one data directory a node goes into it.")],
    task: TaskOption = "digits",
    option: TaskOptions = None,
    data: DataOption = None,
    trial: TrialOption = True,
    partition: Annotated[Partition | None, typer.Option("--partition", help="Default: writer if known, else dirichlet.")] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Label skew of dirichlet; smaller is more.")] = 0.5,
    limit: Annotated[int, typer.Option("--limit", min=0, max=LARGEST_NUMBER, help="At most this many rows a node; 0: all.")] = 0,
    seed: SeedOption = 0,
    community: CommunityOptions,
    base_port: Annotated[
        int, typer.Option("--base-port", min=0, max=LARGEST_NUMBER, help="First TCP port; 0: any free ones.")
    ] = 0,
    no_bootstrap: Annotated[bool, typer.Option("--no-bootstrap", help="No first peers: give them to `start`.")] = False,
    compose: Annotated[bool, typer.Option("--compose", help="For containers: write compose.yaml too.")] = False,
    image: Annotated[str, typer.Option("--image", help="The image that compose.yaml names.")] = "bflcd",
    attack: Annotated[str, typer.Option("--attack", help="What the last --attackers nodes play (docs/attacks.md).")] = "",
    attackers: Annotated[int, typer.Option("--attackers", min=0, max=LARGEST_NUMBER, help="How many of them.")] = 0,
    seed_keys: Annotated[bool, typer.Option("--seed-keys", hidden=True, help="Keys from --seed: for tests only.")] = False,
) -> None:
    """Set up a whole community on this machine; `bflc-cli testnet up` starts it."""
    keep_to_owner()
    path = _text(data)
    kind = partition.value if partition is not None else default_partition(task, path)
    shares = DataConfig(path, kind, count=max(nodes, 1), seed=seed, alpha=alpha, limit=limit)
    options = parse_options(option or (), "--option")
    _check_shares(task, shares, options)
    task_plan = TaskPlan(task, options, community.training(), seed, data_for_describing(shares), trial and task not in SHIPPED)
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
    composed, untried = create_testnet(plan)
    typer.echo(f"{nodes} nodes in {output}, data dealt by {kind}")
    if attackers:
        typer.echo(f"attack     {attack}, played by the last {attackers}")
    _print_community(composed)
    _print_untried(untried)
    if no_bootstrap:
        typer.echo(
            f"next       bflcd start --datadir {quote(f'{output}/node0')}, and the others with --bootstrap and its address"
        )
        return
    up = f"docker-compose -f {quote(f'{output}/compose.yaml')} up" if compose else f"bflc-cli testnet up {quote(str(output))}"
    typer.echo(f"next       {up}")


def _check_shares(task: str, shares: DataConfig, options: Mapping[str, str]) -> None:
    """Raises OperatorError where the data that are there leave a node without any."""
    if shares.path is None or not Path(shares.path).exists():
        return
    percent = options.get("test_percent", str(TEST_PERCENT))
    check_deal(task, shares, int(percent) if percent.isdecimal() and len(percent) <= 2 else TEST_PERCENT)


def _print_community(composed: Genesis) -> None:
    params, task = composed.params, composed.task
    end = f"until round {params.last_round}" if params.last_round else "without end"
    typer.echo(f"chain id   {chain_id_of(composed).hex()}")
    typer.echo(f"community  {len(composed.members)} members, {len(composed.committee)} seats, {params.places} places, {end}")
    typer.echo(f"fees       {terms_text(composed.terms)}")
    typer.echo(f"task       {task.factory}, {len(task.tensors)} tensors, model 0 is {short(composed.model.root)}")
    for text in notes_of(params):
        typer.echo(f"note       {text}")


def _print_untried(why: str) -> None:
    if why:
        typer.echo(f"not tried  no step was trained: {visible(why)}; with --data FILE one is")


def _text(path: Path | None) -> str | None:
    """Where the data lie, as configurations will say it. Raises UsageError for a name that none can hold."""
    if path is None:
        return None
    text = str(path.absolute())
    if not is_text(text):
        raise UsageError(f"--data {shown(text)} has bytes that are no UTF-8", hint="give the file a name in UTF-8")
    return text


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
