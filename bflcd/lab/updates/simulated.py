"""Updates of a simulated community as its members see them: of some rounds, all that is offered."""

from collections.abc import Callable

import numpy as np

from bflcd.lab.config import SimulationConfig
from bflcd.lab.engine.base import Pace, Trainee
from bflcd.lab.engine.privacy import Budgets
from bflcd.lab.rng import Draw, number
from bflcd.lab.simulation import Machine, Simulation
from bflcd.lab.updates.scene import Published, Scene, joined_engine
from bflcd.learn.flat import tensors_of
from bflcd.learn.labels.calibration import strength


def watched_rounds(rounds: int, count: int) -> tuple[int, ...]:
    """So many of the rounds as evenly as it goes, the first and the last among them."""
    return tuple(sorted(set(np.linspace(0, rounds - 1, min(count, rounds)).round().astype(int).tolist())))


def watch(config: SimulationConfig, machine: Machine, count: int, progress: Callable[[], None]) -> Scene:
    """Simulate `config` to its end and keep the updates of `count` rounds. Raises UsageError, OperatorError.

    Training is repeatable, so an update is trained once more beside the simulation, which goes on as if nobody looked. A device
    holds no validation rows back (`Rules.validation` 0, the default).
    """
    simulation = Simulation(config, machine)
    task, devices, chain = simulation.task, simulation.devices, simulation.chain
    engine = joined_engine(task, (devices.pool, devices.test), machine.threads)
    spec, budgets = config.task_spec(tensors_of(task.build_model())), Budgets(config)
    kept, first = watched_rounds(config.rounds, count), simulation.model
    paces: list[Pace] = []
    updates: list[Published] = []
    while not simulation.done:
        round_, model = simulation.round, simulation.model
        rate, calibration = task.learning_rate(spec, round_), strength(spec, chain.state.known, round_)
        paces.append(Pace(rate, config.momentum, config.batch_size, config.local_epochs, calibration))
        offering = budgets.able(chain.trainers)
        rows = [devices.training[device] for device in offering]
        seeds = [number(config.seed, Draw.TRAINING, round_, device) for device in offering]
        noisy = [budgets.spend(*of) for of in zip(offering, map(len, rows), seeds, strict=True)]
        if round_ in kept:
            trained = engine.train(model, [Trainee(*of) for of in zip(rows, seeds, noisy, strict=True)], paces[-1])
            mechanisms = [None if one is None else one.mechanism for one in noisy]
            updates += [
                Published(device, round_, model, update, paces[-1], mechanism)
                for device, update, mechanism in zip(offering, trained, mechanisms, strict=True)
            ]
        simulation.advance()
        progress()
    public = np.arange(len(devices.pool), len(devices.pool) + len(devices.test))
    return Scene(task, engine, devices.training, public, tuple(updates), first, simulation.model, tuple(paces), config.seed)
