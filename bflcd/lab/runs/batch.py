"""Many simulations: what is there already is not run again, the others are handed to whoever computes them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bflcd.errors import MachineError
from bflcd.lab.config import SimulationConfig, check_config
from bflcd.lab.runs.cluster import run_on_cluster
from bflcd.lab.runs.pool import run_side_by_side, split
from bflcd.lab.runs.records import Run, RunFiles
from bflcd.lab.runs.runner import Observer, Silent, run
from bflcd.lab.simulation import Machine


def run_all(
    configs: Sequence[SimulationConfig],
    machine: Machine,
    folder: Path,
    observer: Observer | None = None,
    *,
    jobs: int = 0,
    cluster: str | None = None,
) -> list[Run]:
    """The runs of `configs`, in their order; what `folder` holds already is not run again.

    `jobs`: how many run side by side at most; 0: as many as the machine has threads for. `cluster`: the address of a Ray cluster
    that computes instead of this machine.

    Raises UsageError, OperatorError (`bad_results`, data, device, `no_ray`), MachineError; what was done by then is kept.
    """
    observer = observer or Silent()
    for config in configs:
        check_config(config)
    _make(folder)
    if cluster is None:
        machine.torch_device()
    waiting = _unfinished(configs, folder)
    observer.plan(sum(config.rounds for config in waiting))
    if cluster is not None:
        run_on_cluster(waiting, machine, folder, observer, cluster)
    else:
        _run_here(waiting, machine, folder, observer, jobs)
    return [run(config, machine, folder, observer) for config in configs]


def _run_here(configs: Sequence[SimulationConfig], machine: Machine, folder: Path, observer: Observer, jobs: int) -> None:
    beside, threads = split(machine, jobs, len(configs))
    if beside > 1:
        run_side_by_side(configs, machine, folder, observer, beside=beside, threads=threads)
    else:
        for config in configs:
            run(config, machine, folder, observer)


def _unfinished(configs: Iterable[SimulationConfig], folder: Path) -> list[SimulationConfig]:
    """Each once: two that differ in nothing that decides them have one id."""
    by_id = {config.id: config for config in configs}
    return [config for config in by_id.values() if RunFiles(folder, config).finished() is None]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be made: {error.strerror}", hint="choose another --output") from error
