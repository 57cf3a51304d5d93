"""Runs simulations one after the other, tells how far they are, and takes up what was interrupted."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from bflcd.errors import MachineError
from bflcd.lab.records import Run, RunFiles
from bflcd.lab.setting import Setting, check_setting
from bflcd.lab.simulation import Machine, Simulation

CHECKPOINT_SECONDS: Final = 20.0
"""Computing time between two checkpoints: what a kill costs at most, and a round."""


class Observer(Protocol):
    """Told how far the work is."""

    def plan(self, rounds: int) -> None:
        """So many rounds are to be done in all, those of finished simulations left out."""
        ...

    def step(self, setting: Setting, round_: int, accuracy: float | None) -> None:
        """A round of a simulation is done; its latest measured accuracy."""
        ...


class Silent:
    """An observer that says nothing."""

    def plan(self, rounds: int) -> None:
        """Say nothing."""

    def step(self, setting: Setting, round_: int, accuracy: float | None) -> None:
        """Say nothing."""


def run_all(settings: Sequence[Setting], machine: Machine, folder: Path, observer: Observer | None = None) -> list[Run]:
    """The runs of `settings`, in their order; what `folder` holds already is not run again.

    Raises UsageError, OperatorError (`bad_results`, data, device), MachineError; what was done by then is kept.
    """
    observer = observer or Silent()
    for setting in settings:
        check_setting(setting)
    _make(folder)
    machine.torch_device()
    observer.plan(sum(setting.rounds for setting in _unfinished(settings, folder)))
    return [run(setting, machine, folder, observer) for setting in settings]


def run(setting: Setting, machine: Machine, folder: Path, observer: Observer | None = None) -> Run:
    """One simulation to its end, or what is there of it. Raises as `run_all` does."""
    observer = observer or Silent()
    files = RunFiles(folder, setting)
    finished = files.finished()
    if finished is not None:
        return finished
    begun = time.perf_counter()
    simulation = Simulation(setting, machine)
    records = files.begin(simulation, machine)
    accuracy = next((record["accuracy"] for record in reversed(records) if "accuracy" in record), None)
    for record in records:
        observer.step(setting, record["round"], accuracy)
    last = time.monotonic()
    while not simulation.done:
        record = simulation.advance()
        records.append(record)
        files.append(record)
        accuracy = record.get("accuracy", accuracy)
        observer.step(setting, simulation.round, accuracy)
        if time.monotonic() - last > CHECKPOINT_SECONDS and not simulation.done:
            files.checkpoint(simulation)
            last = time.monotonic()
    files.end({"seconds": round(time.perf_counter() - begun, 2)})
    found = files.finished()
    assert found is not None
    return found


def _unfinished(settings: Iterable[Setting], folder: Path) -> list[Setting]:
    return [setting for setting in settings if RunFiles(folder, setting).finished() is None]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be made: {error.strerror}", hint="choose another --output") from error
