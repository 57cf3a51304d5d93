"""Simulations side by side on this machine: a process each, as many at a time as there are cores to keep busy.

Inside one simulation threads wait for each other at every round's end, and one core alone decides; side by side nobody waits. A
process is told to stop between two rounds, and ends by itself when whoever started it is gone.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event, Lock
from pathlib import Path
from typing import Final

import torch

from bflcd.errors import MachineError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.runs.runner import Observer, run
from bflcd.lab.simulation import Machine
from bflcd.learn.protocol import WorkerError

LISTENING: Final = 0.1
"""Seconds between two looks at whether a simulation has ended."""

Step = tuple[str, int, float | None]
"""What a process tells of a round: whose, by id, which, and the latest measured accuracy."""


class StoppedError(Exception):
    """The simulation was told to stop."""


def split(machine: Machine, jobs: int, simulations: int) -> tuple[int, int]:
    """How many simulations run side by side, and the threads of each. `jobs` 0: a CPU's threads, a GPU's one."""
    threads = machine.threads or torch.get_num_threads()
    alone = 1 if machine.torch_device().type == "cuda" else threads
    beside = max(1, min(jobs or alone, simulations))
    return beside, max(1, threads // beside)


def run_side_by_side(
    configs: Sequence[SimulationConfig], machine: Machine, folder: Path, observer: Observer, *, beside: int, threads: int
) -> None:
    """Bring every simulation to its end in `folder`, `beside` at a time with `threads` each.

    Raises what the first failing one raised, as `run` does, and MachineError if a process was killed; all others then stop after
    their round, and go on from their checkpoints when they are run again.
    """
    context = get_context("spawn")
    heard, told = context.Pipe(duplex=False)
    stop, by_id = context.Event(), {config.id: config for config in configs}
    share = replace(machine, threads=threads)

    def listen(seconds: float) -> None:
        while heard.poll(seconds):
            name, round_, accuracy = heard.recv()
            observer.step(by_id[name], round_, accuracy)

    pool = ProcessPoolExecutor(beside, mp_context=context, initializer=_begin, initargs=(told, context.Lock(), stop, threads))
    waiting: set[Future[None]] = set()
    try:
        waiting = {pool.submit(_simulate, config, name, share, folder) for name, config in by_id.items()}
        while waiting:
            listen(LISTENING)
            ended, waiting = wait(waiting, timeout=0)
            for one in ended:
                one.result()
        listen(0)
    except BrokenProcessPool as error:
        raise MachineError(
            "a simulation's process was killed", hint="it was short of memory perhaps: run fewer side by side (--jobs)"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        heard.close()
        told.close()


class _Told:
    """An observer in a simulation's process; stops it when it is told to."""

    def __init__(self, pipe: Connection, lock: Lock, stop: Event) -> None:
        self._pipe, self._lock, self._stop = pipe, lock, stop

    def plan(self, rounds: int) -> None:
        """Whoever hands out the simulations knows it."""

    def step(self, config: SimulationConfig, round_: int, accuracy: float | None) -> None:
        """Tell it. Raises StoppedError."""
        if self._stop.is_set():
            raise StoppedError
        step: Step = (config.id, round_, accuracy)
        with self._lock:
            self._pipe.send(step)


_observers: Final[list[Observer]] = []
"""Of this process; a job is handed no pipe, only a beginning process is."""


def _begin(pipe: Connection, lock: Lock, stop: Event, threads: int) -> None:
    """What a process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all: the one who started us says what becomes of us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _observers.append(_Told(pipe, lock, stop))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)


def _simulate(config: SimulationConfig, name: str, machine: Machine, folder: Path) -> None:
    """One simulation to its end, by the rules that whoever hands it out goes by."""
    check_same_rules(config, name, "this process")
    with portable():
        run(config, machine, folder, _observers[-1])


@contextmanager
def portable() -> Iterator[None]:
    """Inside, what a task's code did wrong is raised in a form that can be sent to another process."""
    try:
        yield
    except WorkerError as error:
        raise WorkerError(str(error), error.fault) from None  # the classes below it are made of other words than their text


def check_same_rules(config: SimulationConfig, name: str, where: str) -> None:
    """Raise MachineError if `config` has another id than `name` here: then other code would decide it."""
    if config.id != name:
        raise MachineError(
            f"{where} has version {config.rules_version} of the rules, the one that hands out the simulations another",
            hint="install the same bflcd everywhere, and change no code while simulations run",
        )
