"""What a simulation leaves behind: one line of JSON a round, and a checkpoint from which it goes on after an interruption.

    ID.jsonl    {"setting": ..., "machine": ..., "rules_version": ...}, then a record a round, then {"end": ...}
    ID.npz      model, last step and memory after some round; gone once the simulation has ended

ID follows from the setting and the version of the rules that decide it: what other rules decided is neither taken for finished
nor gone on with.

The checkpoint is written beside its place and renamed, and names the round it was taken after; lines after that round are cut off
when the simulation goes on, so a kill at any moment costs the rounds since the last checkpoint and nothing else.
"""

import json
import os
import platform
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from bflcd.errors import MachineError, OperatorError
from bflcd.files import write_whole
from bflcd.lab.config import SimulationConfig
from bflcd.lab.simulation import Machine, Simulation
from bflcd.version import __version__

LAST_MEASUREMENTS: Final = 3
"""A run's accuracy is the mean of its last measurements: one alone swings by half a point."""


@dataclass(frozen=True, slots=True)
class Run:
    """A simulation's records, one a round; those in which the test rows were measured hold `accuracy` and `loss`."""

    config: SimulationConfig
    rounds: tuple[dict[str, Any], ...]
    machine: dict[str, Any] = field(default_factory=dict)

    def curve(self, name: str = "accuracy") -> list[tuple[int, float]]:
        """(round, value) wherever `name` was recorded."""
        return [(record["round"], float(record[name])) for record in self.rounds if record.get(name) is not None]

    def last(self, name: str = "accuracy") -> float:
        """Mean of the last measurements of `name`; NaN if there is none."""
        values = [value for _, value in self.curve(name)][-LAST_MEASUREMENTS:]
        return sum(values) / len(values) if values else float("nan")

    def end(self, name: str = "accuracy") -> float:
        """`name` at the end of training: the last measurement alone; NaN if there is none."""
        values = [value for _, value in self.curve(name)]
        return values[-1] if values else float("nan")

    def total(self, name: str) -> float:
        """Sum over all rounds."""
        return sum(float(record.get(name) or 0) for record in self.rounds)

    @property
    def seconds(self) -> float:
        """Computing time of all rounds."""
        return self.total("seconds")


class RunFiles:
    """The two files of one simulation in `folder`, which exists."""

    def __init__(self, folder: Path, config: SimulationConfig) -> None:
        self._config = config
        self._lines, self._checkpoint = folder / f"{config.id}.jsonl", folder / f"{config.id}.npz"

    def finished(self) -> Run | None:
        """The run, if it has ended. Raises OperatorError (`bad_results`) for a file that is none of ours."""
        if not self._lines.exists():
            return None
        found = self._read()
        if not found or "end" not in found[-1]:
            return None
        return Run(self._config, tuple(found[1:-1]), found[0]["machine"])

    def content(self) -> bytes:
        """The lines as they stand. Raises MachineError."""
        try:
            return self._lines.read_bytes()
        except OSError as error:
            raise MachineError(f"{self._lines}: cannot be read: {error.strerror}", hint="check the disk") from error

    def take(self, content: bytes) -> None:
        """Keep what another machine made of the same simulation. Raises MachineError."""
        write_whole(self._lines, content)
        self._checkpoint.unlink(missing_ok=True)

    def begin(self, simulation: Simulation, machine: Machine) -> list[dict[str, Any]]:
        """Take `simulation` to where its checkpoint is, if there is one; its records up to there. Raises MachineError."""
        done: list[dict[str, Any]] = []
        if self._checkpoint.exists() and self._lines.exists():
            done = self._restore(simulation)
        head = {
            "setting": msgspec.to_builtins(self._config),
            "machine": describe(machine),
            "version": __version__,
            "rules_version": self._config.rules_version,
        }
        self._write([head, *done], "w")
        return done

    def append(self, record: dict[str, Any]) -> None:
        """One round's line. Raises MachineError."""
        self._write([record], "a")

    def checkpoint(self, simulation: Simulation) -> None:
        """Keep all that is needed to go on. Raises MachineError."""
        arrays = {name: vector.cpu().numpy() for name, vector in simulation.vectors().items()}
        arrays["memory"] = np.frombuffer(simulation.memory(), dtype=np.uint8)
        beside = self._checkpoint.with_suffix(".npz.new")
        try:
            with beside.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(self._checkpoint)
        except OSError as error:
            raise _cannot_write(self._checkpoint, error) from error

    def end(self, record: dict[str, Any]) -> None:
        """The simulation has ended: a last line, and no checkpoint any more. Raises MachineError."""
        self._write([{"end": record}], "a")
        self._checkpoint.unlink(missing_ok=True)

    def _restore(self, simulation: Simulation) -> list[dict[str, Any]]:
        try:
            with self._checkpoint.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                vectors = {name: torch.from_numpy(archive[name]) for name in ("model", "moved")}
                memory = archive["memory"].tobytes()
            simulation.restore(vectors, memory)
        except (OSError, EOFError, TypeError, ValueError, KeyError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
            raise OperatorError(
                f"{self._checkpoint}: no checkpoint of this simulation: {error}",
                hint="remove it; the simulation then begins anew",
                code="bad_results",
            ) from error
        return [record for record in self._read()[1:] if record.get("round", simulation.round + 1) <= simulation.round]

    def _read(self) -> list[dict[str, Any]]:
        """All whole lines; the last may be cut off by a kill."""
        try:
            lines = self._lines.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = lines[:-1] if lines and not lines[-1].endswith("\n") else lines
            found = msgspec.convert([json.loads(line) for line in whole], list[dict[str, Any]])
        except ValueError as error:
            raise self._foreign(str(error)) from error
        if found and "machine" not in found[0]:
            raise self._foreign("its first line names no machine")
        return found

    def _foreign(self, reason: str) -> OperatorError:
        return OperatorError(
            f"{self._lines}: no record of a simulation: {reason}",
            hint="move it away, or choose another --output",
            code="bad_results",
        )

    def _write(self, records: list[dict[str, Any]], mode: str) -> None:
        try:
            with self._lines.open(mode, encoding="utf-8") as stream:
                stream.writelines(json.dumps(record) + "\n" for record in records)
        except OSError as error:
            raise _cannot_write(self._lines, error) from error


def describe(machine: Machine) -> dict[str, Any]:
    """Where it was computed, for whoever reads the results."""
    device = machine.torch_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": device.type,
        "name": name,
        "precision": machine.precision,
        "torch": torch.__version__,
        "cores": os.cpu_count(),
    }


def _cannot_write(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path}: cannot be written: {error.strerror or error}", hint="check the disk, or choose another --output"
    )
