"""Simulations on the machines of a Ray cluster: Ray hands them out, and what each leaves comes back as its file.

A machine of the cluster computes in a folder of its own, with the bflcd that is installed there, and only by the same rules. What
has come back is not run again; what was under way when this command ended begins anew.
"""

import platform
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from bflcd.errors import BflcError, MachineError, OperatorError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.runs.pool import check_same_rules, portable
from bflcd.lab.runs.records import RunFiles
from bflcd.lab.runs.runner import Observer, run
from bflcd.lab.simulation import Machine

KNOCK_SECONDS: Final = 10.0
"""How long a cluster's head may take to open a connection."""


def run_on_cluster(configs: Sequence[SimulationConfig], machine: Machine, folder: Path, observer: Observer, address: str) -> None:
    """Bring every simulation to its end on the cluster at `address`; each file stands in `folder` as soon as it has come back.

    A simulation asks Ray for as many cores as `machine` has threads, 1 for 0, and for a GPU if its device is `cuda`.

    Raises OperatorError (`no_ray`), MachineError for a cluster that is not there, fails or has other rules, and what the first
    failing simulation raised there.
    """
    ray = load_ray()
    machine = replace(machine, threads=machine.threads or 1)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise MachineError(
            f"the Ray cluster at {address} cannot be reached: {error}",
            hint="start one (ray start --head) with the same Python and Ray as here, and give its HOST:PORT with --ray",
        ) from error
    try:
        remote = ray.remote(num_cpus=machine.threads, num_gpus=int(machine.device == "cuda"))(simulate)
        under_way = {remote.remote(config, config.id, machine): config for config in configs}
        while under_way:
            for one in ray.wait(list(under_way))[0]:
                config = under_way.pop(one)
                _take(RunFiles(folder, config), ray.get(one), config, observer)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BflcError):
            raise error.cause from None
        raise _failed(error) from error
    except ray.exceptions.RayError as error:
        raise _failed(error) from error
    finally:
        ray.shutdown()  # what is still under way is cancelled with it


def _knock(address: str) -> None:
    """Whether anybody listens: Ray itself would go on trying for minutes. Raises OSError, ValueError for what is no address."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError("that is no HOST:PORT")
    socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def load_ray() -> Any:
    """The package. Raises OperatorError (`no_ray`)."""
    try:
        import ray  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise OperatorError(
            "a cluster needs the package ray, which is not installed",
            hint="pip install 'bflcd[ray]' here and on the cluster's machines, or leave out --ray",
            code="no_ray",
        ) from error
    return ray


def simulate(config: SimulationConfig, name: str, machine: Machine) -> bytes:
    """On a machine of the cluster: the file of the whole simulation `config`, whose id is `name` where it was handed out.

    Raises as `run` does, and MachineError for other rules.
    """
    check_same_rules(config, name, f"the cluster's machine {platform.node()}")
    torch.set_num_threads(machine.threads)
    with portable(), TemporaryDirectory(prefix="bflc-lab-") as folder:
        run(config, machine, Path(folder))
        return RunFiles(Path(folder), config).content()


def _take(files: RunFiles, content: bytes, config: SimulationConfig, observer: Observer) -> None:
    """Keep a file that has come back, and tell of its rounds."""
    files.take(content)
    found = files.finished()
    if found is None:
        raise MachineError(
            f"simulation {config.id} came back from the cluster without an end", hint="run it again, or leave out --ray"
        )
    accuracy = None
    for record in found.rounds:
        accuracy = record.get("accuracy", accuracy)
        observer.step(config, record["round"], accuracy)


def _failed(error: Exception) -> MachineError:
    said = str(error).strip().splitlines()
    return MachineError(
        f"the Ray cluster failed: {said[-1] if said else type(error).__name__}",
        hint="see Ray's logs on its machines; what has come back is kept, so run it again, or leave out --ray",
    )
