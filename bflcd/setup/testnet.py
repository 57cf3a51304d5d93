"""A whole community on one machine: N data directories that belong together, for processes or for containers."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bflcd.config import Config, set_values, write_config
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.crypto.keystore import write_key
from bflcd.errors import MachineError, OperatorError, UsageError
from bflcd.faults import is_there
from bflcd.files import write_whole
from bflcd.learn.attacks import for_daemon
from bflcd.learn.data import DataConfig, check_data_config
from bflcd.learn.messages import TaskDescription
from bflcd.learn.shipped import SHIPPED
from bflcd.params import Genesis, Params, Terms
from bflcd.setup.compose import COMPOSE_PORT, CONTAINER_RANGES, compose_text
from bflcd.setup.datadir import DataDir, make_empty
from bflcd.setup.genesis_file import write_genesis
from bflcd.setup.genesis_plan import GenesisPlan, TaskPlan, compose_genesis
from bflcd.setup.overview import FILE_NAME as OVERVIEW_FILE
from bflcd.setup.overview import NodeEntry, Overview, overview_text
from bflcd.types import Millis
from bflcd.wire.blocks import chain_id_of

MAX_NODES: Final = 1000
"""Daemons of one local community; each takes processes, ports and memory."""

BOOTSTRAPS: Final = 3
"""Addresses of others that each node starts from; the address exchange finds the rest."""

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 32_000
"""Ports are sought from the one up to the other: below those that Linux gives to outgoing connections."""


@dataclass(frozen=True, slots=True)
class TestnetPlan:
    """A testnet to be. `base_port` 0: any free ports. `seeded_keys`: reproducible keys and chain id, for tests only.

    The last `attackers` nodes play `attack` together; empty and 0: all are honest.
    """

    __test__ = False

    nodes: int
    output: Path
    task: TaskPlan
    params: Params
    time: Millis
    name: str = "testnet"
    data: DataConfig = field(default_factory=DataConfig)
    base_port: int = 0
    seeded_keys: bool = False
    bootstraps: int = BOOTSTRAPS
    compose: bool = False
    image: str = "bflcd"
    attack: str = ""
    attackers: int = 0
    terms: Terms = Terms()


@dataclass(frozen=True, slots=True)
class TestnetNode:
    """One node of a testnet; `address` is where the others reach it."""

    __test__ = False

    name: str
    identity: Identity
    port: int
    address: str


def create_testnet(plan: TestnetPlan) -> tuple[Genesis, str]:
    """Write the testnet into `plan.output`, which must be new or empty; its genesis, and why the task was not tried, if so.

    Raises OperatorError (`not_empty`, and what the task says), UsageError, MachineError, WorkerError.
    """
    _check_plan(plan)
    make_empty(plan.output)
    description = plan.task.describe()
    return write_testnet(plan, description), description.untried


def write_testnet(plan: TestnetPlan, description: TaskDescription) -> Genesis:
    """The same with the task already described. Raises as `create_testnet` does."""
    nodes = tuple(_nodes(plan))
    members = tuple(node.identity.node_id for node in nodes)
    composed = GenesisPlan(plan.name, plan.time, plan.params, members, testnet=True, terms=plan.terms)
    genesis = compose_genesis(composed, plan.task, description)
    write_genesis(plan.output / "genesis.json", genesis)
    for index, node in enumerate(nodes):
        datadir = _write_node(plan.output / node.name, node, genesis)
        write_whole(datadir.model, description.model)
        write_config(datadir.config, _config(plan, nodes, index, genesis.model.size))
    if plan.compose:
        text = compose_text(
            [node.name for node in nodes], image=plan.image, data=plan.data.path, user=f"{os.getuid()}:{os.getgid()}"
        )
        write_whole(plan.output / "compose.yaml", text.encode())
    write_whole(plan.output / OVERVIEW_FILE, overview_text(_overview(plan, nodes, genesis)).encode())
    return genesis


def _check_plan(plan: TestnetPlan) -> None:
    if not 1 <= plan.nodes <= MAX_NODES:
        raise UsageError(f"--nodes {plan.nodes} is not possible", hint=f"use 1 to {MAX_NODES}")
    _check_attack(plan)
    if plan.data.path is not None and not is_there(Path(plan.data.path)):
        raise OperatorError(f"{plan.data.path}: there is no such file", hint="check --data", code="missing_data")
    check_data_config(replace(plan.data, index=0, count=plan.nodes))
    if not plan.compose:
        free_ports(plan.nodes, plan.base_port)


def _check_attack(plan: TestnetPlan) -> None:
    """A community may be made to fail, but somebody in it has to be honest, and adversaries have to know what to play."""
    if bool(plan.attack) != bool(plan.attackers):
        raise UsageError("--attack and --attackers go together", hint="say what they play, and how many of the nodes do")
    if not plan.attack:
        return
    if not 0 < plan.attackers < plan.nodes:
        raise UsageError(f"--attackers {plan.attackers} of {plan.nodes} nodes", hint=f"use 1 to {plan.nodes - 1}")
    for_daemon(plan.attack)


def _nodes(plan: TestnetPlan) -> Iterator[TestnetNode]:
    ports = [COMPOSE_PORT] * plan.nodes if plan.compose else free_ports(plan.nodes, plan.base_port)
    for index, port in enumerate(ports):
        name = f"node{index}"
        identity = _seeded_identity(plan.task.seed, index) if plan.seeded_keys else Identity.generate()
        host = f"/dns4/{name}" if plan.compose else "/ip4/127.0.0.1"
        yield TestnetNode(name, identity, port, f"{host}/tcp/{port}/p2p/{peer_id_of(identity.node_id)}")


def _seeded_identity(seed: int, index: int) -> Identity:
    return Identity(digest(Domain.CONFIG, b"testnet key", integer(seed), integer(index)))


def _write_node(path: Path, node: TestnetNode, genesis: Genesis) -> DataDir:
    datadir = DataDir(path)
    datadir.make()
    write_key(datadir.key, node.identity)
    write_genesis(datadir.genesis, genesis)
    return datadir


def _config(plan: TestnetPlan, nodes: tuple[TestnetNode, ...], index: int, model_bytes: int) -> Config:
    """Node `index` of `nodes`: its port, the next few nodes as its first peers, its part of the data, the task allowed."""
    node = nodes[index]
    others = [nodes[(index + step) % len(nodes)] for step in range(1, min(plan.bootstraps, len(nodes) - 1) + 1)]
    changes: dict[str, object] = {
        "node.name": node.name,
        "node.listen": [f"/ip4/{'0.0.0.0' if plan.compose else '127.0.0.1'}/tcp/{node.port}"],  # noqa: S104 - a container's own network
        "node.bootstrap": [other.address for other in others],
        "data.partition": plan.data.partition,
        "data.index": index,
        "data.count": plan.nodes,
        "data.seed": plan.data.seed,
        "data.alpha": plan.data.alpha,
        "data.limit": plan.data.limit,
    }
    attackers = nodes[len(nodes) - plan.attackers :]
    if node in attackers:
        changes["attack.name"] = plan.attack
        changes["attack.accomplices"] = [other.identity.node_id.hex() for other in attackers if other != node]
    if plan.task.factory not in SHIPPED:
        changes["tasks.allow"] = [plan.task.factory]
    if model_bytes > Config().tasks.max_model_mib * 2**20:
        changes["tasks.max_model_mib"] = -(-model_bytes // 2**20)
    if plan.compose:
        changes["node.announce"] = [node.address]
        changes["net.dial_allow"] = [*(one.name for one in nodes), *CONTAINER_RANGES]
        changes["compute.device"] = "cpu"
    if plan.data.path is not None:
        changes["data.path"] = f"/input/{Path(plan.data.path).name}" if plan.compose else str(Path(plan.data.path).absolute())
    return set_values(Config(), changes)


def _overview(plan: TestnetPlan, nodes: tuple[TestnetNode, ...], genesis: Genesis) -> Overview:
    return Overview(
        name=plan.name,
        mode="compose" if plan.compose else "loopback",
        chain_id=chain_id_of(genesis).hex(),
        task=plan.task.factory,
        last_round=plan.params.last_round,
        nodes=[
            NodeEntry(
                name=node.name,
                datadir=node.name,
                node_id=node.identity.node_id.hex(),
                peer_id=peer_id_of(node.identity.node_id),
                port=node.port,
                address=node.address,
            )
            for node in nodes
        ],
    )


def free_ports(count: int, base: int) -> list[int]:
    """`count` loopback TCP ports that nobody listens on: base, base + 1, ... or, with base 0, the first free run.

    Raises UsageError naming the taken port, MachineError if there is no run of free ones.
    """
    if base:
        if base + count - 1 > 65_535:
            raise UsageError(f"--base-port {base} leaves no room for {count} ports", hint=f"use at most {65_536 - count}")
        taken = next((port for port in range(base, base + count) if not _is_free(port)), None)
        if taken is not None:
            raise UsageError(f"port {taken} is in use", hint="choose another --base-port, or leave it out", code="port_in_use")
        return list(range(base, base + count))
    start = FIRST_PORT + int.from_bytes(os.urandom(2), "big") % (LAST_PORT - FIRST_PORT - count)
    found: list[int] = []
    for port in [*range(start, LAST_PORT), *range(FIRST_PORT, start)]:
        if _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise MachineError(f"no {count} free TCP ports from {FIRST_PORT} to {LAST_PORT}", hint="stop something, or give --base-port")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
