"""What a node's operator decides, section by section, each key with its limits and what is allowed, for people."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bflcd.learn.attacks import AttackConfig
from bflcd.learn.data import DataConfig
from bflcd.learn.lies.cards import LiesName
from bflcd.learn.private.mechanism import MOST_NOISE, THOUSAND
from bflcd.learn.private.planning import Plan
from bflcd.net import multiaddr
from bflcd.net.dialing.rule import DialRule, parse_allowed
from bflcd.params import TaskSpec
from bflcd.types import MAX_MEMBERS, NodeId
from bflcd.wire.privacy import LEAST_EXPONENT, MOST_EXPONENT

Addresses = Annotated[tuple[str, ...], Meta(max_length=64)]
VariableName = Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
TaskName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x20\x7f]+$")]
NodeIdText = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00]*$")]


class NodeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the node is and whom it meets. `datadir` is where the file stands, so no key of the file."""

    datadir: Annotated[Path, Meta(description="the data directory")] = Path()
    name: Annotated[str, Meta(max_length=64, description="a name for people, up to 64 characters")] = ""
    listen: Annotated[Addresses, Meta(description="multiaddrs to listen on: /ip4/ADDRESS/tcp/PORT, port 0 for any free one")] = (
        "/ip4/127.0.0.1/tcp/0",
    )
    bootstrap: Annotated[Addresses, Meta(description="multiaddrs of first peers, each ending in /p2p/PEERID")] = ()
    announce: Annotated[Addresses, Meta(description="multiaddrs that others can reach this node at, if not those of listen")] = ()
    chain_id: Annotated[
        str,
        Meta(pattern=r"^([0-9a-f]{64})?$", description="the only chain to join, 64 hexadecimal digits; empty: ask the operator"),
    ] = ""
    trust_first_peer: Annotated[
        bool, Meta(description="true or false; true takes the genesis of the first bootstrap peer where chain_id is empty")
    ] = False
    trusted_head: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]{1,15}:[0-9a-f]{64})?$",
            description="ROUND:HASH of a model that must be in the history, as status of a trusted member shows it",
        ),
    ] = ""
    apply: Annotated[
        bool, Meta(description="true or false; true: while it is in no ledger, the node asks the managers to admit it")
    ] = True
    fee_limit: Annotated[
        int,
        Meta(
            ge=0,
            le=2**53,
            description="units that the node may pay at a time without being told, fees and deposit together; 0: none",
        ),
    ] = 0
    passphrase_file: Annotated[Text, Meta(description="file with the passphrase of node.key; empty: the key has none")] = ""


class NetSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the node connects on the word of its peers (docs/network.md, Addresses)."""

    dial_allow: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1024,
            description="where to dial on a peer's word, beside where it is seen: ranges (10.1.0.0/16, fd00::/8) and host names "
            "(node.example.org, or .example.org for all below it)",
        ),
    ] = ()


class StoreSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the node keeps (design 9)."""

    mode: Annotated[
        Literal["archive", "pruned"], Meta(description="archive (keep everything) or pruned (payloads of the last rounds)")
    ] = "archive"
    keep: Annotated[int, Meta(ge=1, le=2**31, description="rounds whose payloads a pruned node keeps, 1 to 2^31")] = 2


class ApiSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The control interface: the data directory's socket, and a loopback port where one is wanted."""

    listen: Annotated[
        str,
        Meta(
            max_length=64,
            description="HOST:PORT of this machine's loopback, port 0 for a free one, which api.json names; "
            "empty: the socket in the data directory alone",
        ),
    ] = ""


class ComputeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The worker process that trains and scores (design 10)."""

    device: Annotated[Literal["auto", "cpu", "cuda"], Meta(description="auto, cpu or cuda")] = "auto"
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads of the worker, 1 to 1024")] = 1
    memory_mib: Annotated[
        int, Meta(ge=0, le=2**22, description="MiB of data that the worker may hold, 0 to 4194304; 0: as the machine has")
    ] = 0
    train: Annotated[bool, Meta(description="true or false; false only follows the chain (an observer)")] = True
    watch: Annotated[
        bool, Meta(description="true or false; true: warn if a model gets worse on this node's own rows than its steps explain")
    ] = True


class DataSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This node's share of a data set; same fields as `bflcd.learn.data.DataConfig`."""

    path: Annotated[Text, Meta(description="file or folder with the data; empty for tasks that bring theirs")] = ""
    partition: Annotated[
        Literal["writer", "dirichlet", "equal"],
        Meta(description="how the data is dealt to the nodes: writer, dirichlet or equal"),
    ] = "equal"
    index: Annotated[int, Meta(ge=0, lt=2**20, description="this node's part, 0 to data.count - 1")] = 0
    count: Annotated[int, Meta(ge=1, le=2**20, description="parts that the data is dealt into, 1 to 2^20")] = 1
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of the deal, 0 to 2^63 - 1, the same on every node")] = 0
    alpha: Annotated[
        float, Meta(ge=1e-3, le=1e6, description="label skew of dirichlet, 0.001 (few labels each) to 1000000 (none)")
    ] = 0.5
    limit: Annotated[int, Meta(ge=0, le=2**40, description="at most this many rows, 0 for all")] = 0

    def for_worker(self) -> DataConfig:
        """The same, as the worker takes it."""
        return DataConfig(self.path or None, self.partition, self.index, self.count, self.seed, self.alpha, self.limit)


class PrivacySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this node's updates and score cards may tell of its rows (docs/operations.md, Privacy). Without an epsilon updates are
    as training gives them."""

    epsilon: Annotated[
        float,
        Meta(ge=0.0, le=1000.0, description="budget of all updates together, 0.001 to 1000; 0: train without privacy"),
    ] = 0.0
    delta_exponent: Annotated[
        int, Meta(ge=LEAST_EXPONENT, le=MOST_EXPONENT, description="the budget's delta is 10^-delta_exponent, 2 to 15")
    ] = 5
    clip: Annotated[float, Meta(ge=1e-3, le=1e6, description="L2 norm of a row's gradient, 0.001 to 1000000")] = 1.0
    noise: Annotated[
        float,
        Meta(
            ge=0.0, le=MOST_NOISE / THOUSAND, description="deviation of the noise in clips, 0.1 to 10000; 0: from privacy.rounds"
        ),
    ] = 0.0
    rounds: Annotated[
        int, Meta(ge=1, le=2**20, description="rounds in which this node is to train on its budget, 1 to 1048576")
    ] = 100
    lot: Annotated[
        int, Meta(ge=0, le=2**40, description="rows of a noisy step, on average; 0: the batch size of the genesis")
    ] = 0
    judging_epsilon: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1e6,
            description="epsilon that its score cards may spend on its rows over its life, to 1000000; 0: any",
        ),
    ] = 0.0
    judging_delta: Annotated[float, Meta(ge=1e-15, le=0.1, description="delta at which that epsilon is told, 1e-15 to 0.1")] = (
        1e-5
    )

    def plan(self, task: TaskSpec) -> Plan | None:
        """How updates of that task are made within the budget; None without one."""
        if not self.epsilon:
            return None
        return Plan(
            epsilon=round(self.epsilon * THOUSAND),
            exponent=self.delta_exponent,
            rounds=self.rounds,
            epochs=task.local_epochs,
            lot=self.lot or task.batch_size,
            clip=self.clip,
            noise=round(self.noise * THOUSAND),
        )


class TasksSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a genesis may make this machine run (`bflcd.node.admission`)."""

    allow: Annotated[
        tuple[TaskName, ...],
        Meta(max_length=64, description="tasks that may run besides those shipped: an installed name or module:attribute each"),
    ] = ()
    environment: Annotated[
        tuple[VariableName, ...],
        Meta(max_length=64, description="environment variables that the worker gets besides those that computing needs"),
    ] = ()
    max_model_mib: Annotated[int, Meta(ge=1, le=2**14, description="largest model that is taken, 1 to 16384 MiB")] = 512


class AttackSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node of a testnet plays against the others (`bflcd.learn.attacks`); without a name the rest says nothing."""

    name: Annotated[str, Meta(max_length=64, description="a learning attack to play, on a testnet only; empty: be honest")] = ""
    accomplices: Annotated[
        tuple[NodeIdText, ...],
        Meta(max_length=MAX_MEMBERS, description="node ids of the other liars, 64 hexadecimal digits each"),
    ] = ()
    strength: Annotated[
        float, Meta(ge=0.0, le=1e9, description="strength in the attack's own unit, up to 1000000000; 0: the usual one")
    ] = 0.0
    lies: Annotated[
        Literal["usual", "none", "promote", "smear"],
        Meta(description="usual (as the attack has it), or what a liar in the committee says: none, promote or smear"),
    ] = "usual"

    def for_worker(self, me: NodeId) -> AttackConfig | None:
        """The same, as the worker of node `me` takes it; None for an honest one."""
        if not self.name:
            return None
        adversaries = (me, *(NodeId(bytes.fromhex(node)) for node in self.accomplices))
        lies: LiesName | None = None if self.lies == "usual" else self.lies
        return AttackConfig(self.name, tuple(dict.fromkeys(adversaries)), self.strength or None, lies)


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to the terminal; the file under `log/` always has JSON lines."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="debug, info, warning or error")] = "info"
    format: Annotated[Literal["auto", "text", "json"], Meta(description="auto (colour on a terminal), text or json")] = "auto"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a node's operator decides; genesis decides the rest (`bflcd.params`)."""

    node: NodeSection = NodeSection()
    net: NetSection = NetSection()
    store: StoreSection = StoreSection()
    api: ApiSection = ApiSection()
    compute: ComputeSection = ComputeSection()
    data: DataSection = DataSection()
    privacy: PrivacySection = PrivacySection()
    tasks: TasksSection = TasksSection()
    attack: AttackSection = AttackSection()
    log: LogSection = LogSection()


def dial_rule(config: Config) -> DialRule:
    """Which addresses the node dials on the word of others. Raises ValueError for a configuration that was never checked."""
    return DialRule(tuple(map(multiaddr.parse_listening, config.node.listen)), parse_allowed(config.net.dial_allow))


def announced(config: Config, node: NodeId) -> tuple[str, ...]:
    """The addresses that the operator wants told to others, each with this node's own id at its end."""
    return tuple(str(multiaddr.parse(address).with_peer(node)) for address in config.node.announce)
