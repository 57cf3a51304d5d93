"""What is read from a data directory itself, beside a running daemon or without one: models, and the walk of `verify`."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bflc_cli.session import CommandError
from bflcd.api.earnings import earnings_rows
from bflcd.api.history import history_rows
from bflcd.api.schema.chain import HistoryRow
from bflcd.api.schema.money import EarningsRow
from bflcd.config import load_config
from bflcd.errors import InvariantError
from bflcd.inspect.chain_check import CheckProgress, VerifyReport, verify_store
from bflcd.inspect.reader import open_reader
from bflcd.learn.client import WorkerClient
from bflcd.learn.protocol import EvaluateJob
from bflcd.ledger.state import genesis_header
from bflcd.params import MILLION, Genesis
from bflcd.store.sqlite import SqliteStore
from bflcd.types import Digest, Round
from bflcd.wire.blocks import Header, header_hash

HEADERS_AT_ONCE = 256
"""Certified headers read in one step while the head is sought."""


async def read_model(datadir: Path, round_: int | None) -> tuple[bytes, dict[str, Any]]:
    """A model's bytes and what it is. Raises CommandError (`not_found`, `pruned`), MachineError if it is damaged."""
    async with open_reader(datadir) as store:
        genesis = await _genesis(store, datadir)
        header = await _model_header(store, genesis, round_)
        if header is None or header.blob is None:
            raise CommandError(f"there is no model of round {round_}", code="not_found", hint="choose an earlier round")
        data = await store.blob(header.blob.root)
        if data is None:
            raise CommandError(
                f"the payload of round {header.round} is not held here",
                code="pruned",
                hint="ask an archive node, or a later round",
            )
        return data, {
            "round": header.round,
            "height": header.height,
            "root": header.blob.root.hex(),
            "size": len(data),
            "block_hash": header_hash(header).hex(),
            "chain_id": header.chain.hex(),
            "task": genesis.task.factory,
        }


async def read_history(datadir: Path, first: int | None, count: int) -> list[HistoryRow]:
    """Rows of the history as a daemon gives them: from round `first` on, without it the newest. Raises CommandError."""
    async with open_reader(datadir) as store:
        genesis = await _genesis(store, datadir)
        newest = (await store.head()).header.round
        return await history_rows(store, genesis, max(1, newest - count + 1) if first is None else first, count)


async def read_earnings(datadir: Path, first: int | None, count: int) -> list[EarningsRow]:
    """What `count` models gave members, from round `first` on, without it the newest. Raises CommandError."""
    async with open_reader(datadir) as store:
        await _genesis(store, datadir)
        newest = (await store.head()).header.round
        return await earnings_rows(store, max(1, newest - count + 1) if first is None else first, count)


async def _genesis(store: SqliteStore, datadir: Path) -> Genesis:
    genesis = await store.genesis()
    if genesis is None:
        raise CommandError(f"{datadir} holds no chain yet", code="no_store", hint="start the node once")
    return genesis


async def _model_header(store: SqliteStore, genesis: Genesis, round_: int | None) -> Header | None:
    if round_ == 0:
        return genesis_header(genesis)
    if round_ is not None:
        found = await store.headers(Round(round_), 1)
        return found[0].header if found else None
    header, first = genesis_header(genesis), 1
    while found := await store.headers(Round(first), HEADERS_AT_ONCE):
        header, first = found[-1].header, first + len(found)
    return header


async def verify_datadir(datadir: Path, *, deep: bool, on_progress: Callable[[CheckProgress], None]) -> VerifyReport:
    """Walk the chain of a data directory. Raises OperatorError, MachineError if there is nothing to walk."""
    async with open_reader(datadir) as store:
        async for item in verify_store(store, deep=deep):
            if isinstance(item, VerifyReport):
                return item
            on_progress(item)
    raise InvariantError("the walk ended without its report")


async def measure_model(datadir: Path, root: str) -> float | None:
    """Accuracy of a held model on the task's test data; None where the task has none or the model is not held.

    Raises OperatorError when task or data are at fault, WorkerError if the worker dies.
    """
    async with open_reader(datadir) as store:
        genesis = await _genesis(store, datadir)
        model = await store.blob(Digest(bytes.fromhex(root)))
    if model is None:
        return None
    config = load_config(datadir, os.environ, {}).config
    worker = WorkerClient(
        genesis.task,
        config.data.for_worker(),
        validation_fraction=genesis.params.validation_fraction,
        split_seed=0,
        device=config.compute.device,
        threads=config.compute.threads,
    )
    try:
        await worker.start()
        result = await worker.evaluate(EvaluateJob(model))
    finally:
        await worker.close()
    return None if result.accuracy is None else result.accuracy / MILLION


def report_data(report: VerifyReport, test_accuracy: float | None) -> dict[str, Any]:
    """The report as JSON."""
    return {**asdict(report), "test_accuracy": test_accuracy}
