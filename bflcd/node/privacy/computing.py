"""What does a node's jobs: its worker, and what they go through before and after: an attack on a testnet, a budget of privacy."""

from collections.abc import Callable

from bflcd.config import Config
from bflcd.core.core import Core
from bflcd.crypto.hashing import Domain, digest
from bflcd.learn.client import WorkerClient
from bflcd.learn.protocol import Compute
from bflcd.node.attack import AttackingCompute
from bflcd.node.privacy.budget import PrivateCompute
from bflcd.node.privacy.opening import open_budget
from bflcd.node.surroundings import Surroundings
from bflcd.params import Genesis
from bflcd.types import NodeId


def worker_of(genesis: Genesis, config: Config, me: NodeId, private_seed: bytes) -> WorkerClient:
    """The worker process of a node, which starts with its first job; `private_seed` draws the rows that are not trained on."""
    return WorkerClient(
        genesis.task,
        config.data.for_worker(),
        validation_fraction=genesis.params.validation_fraction,
        split_seed=int.from_bytes(digest(Domain.PRIVATE, private_seed, b"split")[:7], "big"),
        device=config.compute.device,
        threads=config.compute.threads,
        attack=config.attack.for_worker(me),
        environment=config.tasks.environment,
        memory=config.compute.memory_mib * 2**20,
        private=config.privacy.epsilon > 0,
    )


def compute_of(
    worker: WorkerClient, genesis: Genesis, around: Surroundings, core: Core, *, on_stop: Callable[[str], None]
) -> Compute:
    """The worker as the node uses it; `on_stop`: the budget is spent. The budget goes into the node's facts, None without one.

    Raises OperatorError, MachineError where the budget's account is missing or damaged.
    """
    attack = around.config.attack.for_worker(around.identity.node_id)
    compute: Compute = worker if attack is None else AttackingCompute(worker, attack, lambda: core.context, core.shown_cards)
    around.facts.privacy = budget = open_budget(around.config, genesis.task, around.marks)
    return compute if budget is None else PrivateCompute(compute, budget, lambda: worker.ready, on_stop=on_stop)
