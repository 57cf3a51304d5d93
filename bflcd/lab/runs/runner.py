"""Runs a simulation to its end, tells how far it is, and takes up what was interrupted."""

import time
from pathlib import Path
from typing import Final, Protocol

from bflcd.lab.config import SimulationConfig
from bflcd.lab.runs.records import Run, RunFiles
from bflcd.lab.simulation import Machine, Simulation

CHECKPOINT_SECONDS: Final = 20.0
"""Computing time between two checkpoints: what a kill costs at most, and a round."""


class Observer(Protocol):
    """Told how far the work is."""

    def plan(self, rounds: int) -> None:
        """So many rounds are to be done in all, those of finished simulations left out."""
        ...

    def step(self, config: SimulationConfig, round_: int, accuracy: float | None) -> None:
        """A round of a simulation is done; its latest measured accuracy."""
        ...


class Silent:
    """An observer that says nothing."""

    def plan(self, rounds: int) -> None:
        """Say nothing."""

    def step(self, config: SimulationConfig, round_: int, accuracy: float | None) -> None:
        """Say nothing."""


def run(config: SimulationConfig, machine: Machine, folder: Path, observer: Observer | None = None) -> Run:
    """One simulation to its end, or what is there of it.

    Raises UsageError, OperatorError (`bad_results`, data, device), MachineError; what was done by then is kept.
    """
    observer = observer or Silent()
    files = RunFiles(folder, config)
    finished = files.finished()
    if finished is not None:
        return finished
    begun = time.perf_counter()
    simulation = Simulation(config, machine)
    records = files.begin(simulation, machine)
    accuracy = next((record["accuracy"] for record in reversed(records) if "accuracy" in record), None)
    for record in records:
        observer.step(config, record["round"], accuracy)
    last = time.monotonic()
    while not simulation.done:
        record = simulation.advance()
        records.append(record)
        files.append(record)
        accuracy = record.get("accuracy", accuracy)
        observer.step(config, simulation.round, accuracy)
        if time.monotonic() - last > CHECKPOINT_SECONDS and not simulation.done:
            files.checkpoint(simulation)
            last = time.monotonic()
    files.end({"seconds": round(time.perf_counter() - begun, 2)})
    found = files.finished()
    assert found is not None
    return found
