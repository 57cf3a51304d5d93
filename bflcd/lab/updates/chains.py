"""Updates that real daemons published, read from the data directories of a testnet, with what is true of their rows.

The attacker is the node that is named first: a member that kept what all members fetch. It holds its own rows and the task's test
rows, and knows of the others' training what the genesis says; of private training the mechanism too.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from bflcd.config import Config, load_config
from bflcd.errors import MachineError, OperatorError, UsageError
from bflcd.inspect.reader import open_reader
from bflcd.lab.engine.base import Pace
from bflcd.lab.updates.scene import Published, Scene, joined_engine
from bflcd.lab.updates.simulated import watched_rounds
from bflcd.learn.flat import as_tensor
from bflcd.learn.labels.calibration import strength
from bflcd.learn.task import Community, Task, find_task
from bflcd.learn.training import DeviceRows
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.ledger.transition import apply
from bflcd.params import MILLION, BlobRef, Genesis, TaskSpec
from bflcd.store.sqlite import SqliteStore
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import Header, Segment
from bflcd.wire.envelope import open_envelope, verify_envelope
from bflcd.wire.messages import Offer
from bflcd.wire.tensors import split_payload, update_label

CPU: Final = torch.device("cpu")

PLAIN: Final = "plain"
"""What training without privacy is called."""


@dataclass(frozen=True, slots=True)
class _Closed:
    """A round as the chain has it: the ledger and the header that it began with, and what closed it."""

    state: State
    header: Header
    segment: Segment


async def read_testnet(nodes: Mapping[NodeId, Path], count: int, *, threads: int, seed: int) -> dict[str, Scene]:
    """The scene of a stopped testnet's nodes that trained alike, by how they trained, with the updates of `count` rounds.

    `nodes`: their data directories.

    Raises UsageError (`no_updates`, `bad_setting`), OperatorError, MachineError, PeerError for a chain that does not hold.
    """
    configs = {node: load_config(datadir, {}, {}).config for node, datadir in nodes.items()}
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_reader(datadir)) for datadir in nodes.values()]
        genesis = await stores[0].genesis()
        if genesis is None:
            raise MachineError("the first node has no genesis", hint="start the testnet once: it then has one", code="no_genesis")
        _check(genesis, configs)
        rounds = await _rounds(genesis, stores[0])
        if not rounds:
            raise _nothing("no round was closed")
        attacker, task = next(iter(nodes)), find_task(genesis.task.factory, dict(genesis.task.options))
        community = task.load_all(configs[attacker].data.for_worker())
        honest = {node: config for node, config in configs.items() if not config.attack.name and node != attacker}
        reader = _Reader(genesis.task, task, stores, honest, community)
        kept = watched_rounds(len(rounds), count)
        published = [one for number in kept for one in await reader.published(rounds[number])]
        if not published:
            raise _nothing("no honest node but the first has an update in them that is still held")
        paces = tuple(reader.pace(one.state) for one in rounds)
        last = await reader.model(rounds[-1].segment.model_header)
        first = await reader.model(rounds[0].header)
    engine = joined_engine(task, _all_rows(community), threads)
    tests = np.arange(len(community.rows), len(engine.pool))
    public = np.concatenate([community.parts[configs[attacker].data.index], tests])
    scenes = {}
    for label in dict.fromkeys(label for label, _ in published):
        updates = tuple(one for named, one in published if named == label)
        scenes[label] = Scene(task, engine, community.parts, public, updates, first, last, paces, seed)
    return scenes


def _check(genesis: Genesis, configs: Mapping[NodeId, Config]) -> None:
    if genesis.params.validation_fraction:
        raise UsageError(
            "which of its rows a node trained on is its secret here, so nobody knows what is true of them",
            hint="run a testnet with validation_fraction = 0, the usual one",
            code="bad_setting",
        )
    if len({config.data.index for config in configs.values()}) < len(configs):
        raise UsageError(
            "two nodes hold the same part of the data, so nobody can tell whose a row is",
            hint="run a testnet as bflcd testnet makes it, with a data.index of its own for each node",
            code="bad_setting",
        )


def _nothing(why: str) -> UsageError:
    return UsageError(
        f"this testnet has no updates to attack: {why}",
        hint="run it to its end with bflc-cli testnet up DIR, with nodes that keep everything (store.mode = archive)",
        code="no_updates",
    )


def _all_rows(community: Community) -> Sequence[DeviceRows]:
    tests = [] if community.test is None else [DeviceRows.of(community.test, CPU)]
    return [DeviceRows.of(community.rows, CPU), *tests]


async def _rounds(genesis: Genesis, store: SqliteStore) -> list[_Closed]:
    """Every closed round, each block applied to the ledger anew."""
    state, header = genesis_state(genesis), genesis_header(genesis)
    found: list[_Closed] = []
    while (certified := await store.segment(Round(state.round + 1))) is not None:
        found.append(_Closed(state, header, certified.segment))
        state = apply(genesis.params, state, header, certified.segment, verify_envelope)
        header = certified.segment.model_header
    return found


class _Reader:
    """Makes updates of a chain's payloads, wherever they are held."""

    def __init__(
        self, spec: TaskSpec, task: Task, stores: Sequence[SqliteStore], configs: Mapping[NodeId, Config], community: Community
    ) -> None:
        self._spec, self._task, self._stores, self._configs, self._community = spec, task, stores, configs, community

    def pace(self, state: State) -> Pace:
        """How everybody trained in the round that begins with `state`."""
        spec = self._spec
        by, rate = strength(spec, state.known, state.round), self._task.learning_rate(spec, state.round)
        return Pace(rate, spec.momentum / MILLION, spec.batch_size, spec.local_epochs, by)

    async def model(self, header: Header) -> Tensor:
        """The model of a header. Raises MachineError (`no_payload`), OperatorError (`bad_model`)."""
        payload = None if header.blob is None else await self._payload(header.blob)
        if payload is None:
            raise MachineError(
                f"the model of round {header.round} is not held, so nobody can say what was trained from it",
                hint="use a testnet whose nodes keep everything (store.mode = archive, the usual one)",
                code="no_payload",
            )
        counters, weights = split_payload(payload, self._spec.tensors, label=None)
        if counters.size:
            raise OperatorError(
                f"the model of task {self._spec.factory} counts batches; the laboratory attacks models of weights only",
                hint="use layers without counters, such as group normalisation",
                code="bad_model",
            )
        return as_tensor(weights)

    async def published(self, closed: _Closed) -> list[tuple[str, Published]]:
        """The packed updates of honest nodes in a round, each with how it was trained."""
        offers = [open_envelope(update.offer, (Offer,)) for update in closed.segment.updates if update.offer is not None]
        found = []
        model, pace, state = await self.model(closed.header), self.pace(closed.state), closed.state
        for offer in offers:
            config, payload = self._configs.get(offer.author), await self._payload(offer.body.blob)
            if config is None or payload is None:
                continue
            label = update_label(state.chain, state.round, offer.author)
            update = as_tensor(split_payload(payload, self._spec.tensors, label=label)[1])
            part = config.data.index
            plan = config.privacy.plan(self._spec)
            mechanism = None if plan is None else plan.mechanism(len(self._community.parts[part]))
            training = PLAIN if mechanism is None else f"epsilon {config.privacy.epsilon:g}"
            found.append((training, Published(part, state.round, model, update, pace, mechanism)))
        return found

    async def _payload(self, blob: BlobRef) -> bytes | None:
        for store in self._stores:
            data = await store.blob(blob.root)
            if data is not None:
                return data
        return None
