"""`lab consensus-cost`: communities of real daemons, one after the other, and what their nodes counted."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import Progress, TaskID

from bflc_cli.community import Community
from bflc_cli.fleet import Fleet, Stopped, read_overview, signals_stop
from bflc_cli.session import CommandError
from bflcd.learn.data import DataConfig
from bflcd.params import Params
from bflcd.setup.genesis_plan import TaskPlan
from bflcd.setup.testnet import TestnetPlan, create_testnet
from bflcd.types import Millis, Round

if TYPE_CHECKING:
    from bflcd.lab.experiments.cost import Counted

SEATS: Final = 4

SIZES: Final = (5, 6, 8, 10, 12)
"""Nodes of the communities: what two cores run without view changes."""

ROUNDS: Final = 6
"""Of each; the first is left out of no count, since everything in it is counted as in the others."""

PATIENCE: Final = 180.0
"""Seconds that one community may take."""

POLL_SECONDS: Final = 0.3


def count_daemons(folder: Path, sizes: tuple[int, ...], rounds: int, progress: Progress, task: TaskID) -> "list[Counted]":
    """Run a community of each size to its last round. Raises CommandError, OperatorError, MachineError."""
    return [_count(folder / f"nodes{size}", size, rounds, progress, task) for size in sizes]


def _count(directory: Path, nodes: int, rounds: int, progress: Progress, task: TaskID) -> "Counted":
    from bflcd.lab.experiments.cost import Counted  # noqa: PLC0415 - torch

    if directory.exists():
        shutil.rmtree(directory)
    params = Params(committee_size=SEATS, places=max(SEATS, nodes - SEATS), last_round=rounds)
    plan = TestnetPlan(
        nodes=nodes,
        output=directory,
        task=TaskPlan("digits"),
        params=params,
        time=Millis(time.time_ns() // 1_000_000),
        data=DataConfig(partition="dirichlet", count=nodes),
    )
    create_testnet(plan)
    found: dict[str, float] = {}
    with signals_stop():
        try:
            for name, value in _run(directory, progress, task):
                found[name] = found.get(name, 0.0) + value
        except Stopped as order:
            raise CommandError(f"{order}: the daemons were stopped", code="interrupted") from None
    shutil.rmtree(directory)
    messages = {name.removeprefix(_SENT): value for name, value in found.items() if name.startswith(_SENT)}
    return Counted(nodes - SEATS, SEATS, rounds, found.get(_VALIDATIONS, 0.0), messages, found.get(_PAYLOAD, 0.0))


_SENT: Final = "sent "
_VALIDATIONS: Final = "validations"
_PAYLOAD: Final = "payload"


def _run(directory: Path, progress: Progress, task: TaskID) -> Iterator[tuple[str, float]]:
    """The counters of every node after the last round."""
    overview = read_overview(directory)
    community, done = Community(overview, directory), Round(0)
    try:
        with Fleet(directory, overview) as fleet:
            for daemon in fleet.daemons:
                fleet.start(daemon)
            deadline = time.monotonic() + PATIENCE
            while not all(node.status is not None and node.status.done for node in community.nodes):
                community.refresh()
                _check(fleet)
                reached = Round(min((node.status.round if node.status else 0) for node in community.nodes))
                progress.update(task, advance=reached - done, note=f"{len(community.nodes)} daemons, round {reached}")
                done = reached
                if time.monotonic() > deadline:
                    raise CommandError(f"{len(community.nodes)} daemons were not done after {PATIENCE:.0f} s", code="timeout")
                time.sleep(POLL_SECONDS)
            for node in community.nodes:
                if node.api is not None:
                    yield from _counters(node.api.text("/metrics"))
    finally:
        community.close()


def _check(fleet: Fleet) -> None:
    """Raise CommandError if a daemon has ended."""
    for daemon in fleet.ended():
        last = daemon.last_lines()[-1:] or ["see its log"]
        raise CommandError(f"{daemon.entry.name} ended: {daemon.ending}", code="daemon_died", hint=last[0])


def _counters(exposition: str) -> Iterator[tuple[str, float]]:
    """What matters of a node's metrics."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - one use

    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "bflc_messages_total" and sample.labels["direction"] == "out":
                yield _SENT + sample.labels["kind"], sample.value
            elif sample.name == "bflc_validations_total":
                yield _VALIDATIONS, sample.value
            elif sample.name == "bflc_bytes_total" and sample.labels == {"direction": "in", "channel": "payload"}:
                yield _PAYLOAD, sample.value
