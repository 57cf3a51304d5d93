"""A simulated community, and what each model of it gets wrong on each device's own rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bflcd.lab.config import SimulationConfig
from bflcd.lab.rng import Draw, number
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.training import DeviceRows, never
from bflcd.learn.watching.errors import ClassErrors
from bflcd.learn.watching.measuring import count_errors, draw_sample, look


@dataclass(frozen=True, slots=True)
class Trail:
    """One simulation, model by model, from the first one on.

    `errors` [models][honest devices]: on the device's own rows; `accuracy` [models]: on test rows, 0 to 1; `success` [models]:
    share of triggered test rows that are turned, empty without a backdoor; `lying` [models]: whether liars lied in the round
    that made it.
    """

    errors: tuple[tuple[ClassErrors, ...], ...]
    accuracy: tuple[float, ...]
    success: tuple[float, ...]
    lying: tuple[bool, ...]


class Watchers:
    """The honest devices of a simulation, each with its sample of own rows, drawn as a daemon draws it."""

    def __init__(self, simulation: Simulation) -> None:
        devices, config = simulation.devices, simulation.config
        module = simulation.task.build_model()
        self._model = FlatModel(module, tensors_of(module), simulation.engine.device)
        self._task = simulation.task
        honest = [device for device in range(config.devices) if device not in devices.adversaries]
        samples = []
        for device in honest:
            held = torch.from_numpy(devices.validation[device]).to(simulation.engine.device)
            rows = DeviceRows(devices.pool.inputs[held], devices.pool.targets[held])
            samples.append(draw_sample(rows, config.rules.score_rows, number(config.seed, Draw.WATCHING, device=device)))
        self._bounds = np.cumsum([0, *map(len, samples)])
        self._rows = DeviceRows(torch.cat([one.inputs for one in samples]), torch.cat([one.targets for one in samples]))

    def measure(self, model: Tensor) -> tuple[ClassErrors, ...]:
        """What `model` gets wrong, by honest device."""
        self._model.weights.copy_(model)
        right, called = look(self._model, self._task, self._rows, never)
        places = [slice(begin, end) for begin, end in zip(self._bounds, self._bounds[1:], strict=False)]
        return tuple(count_errors(self._rows.targets[place], right[place], called[place]) for place in places)


def follow(config: SimulationConfig, machine: Machine, progress: Callable[[], None]) -> Trail:
    """Simulate all rounds of `config`; `progress` is told of each. Raises UsageError, OperatorError."""
    simulation = Simulation(config, machine)
    watchers = Watchers(simulation)
    first = simulation.measure()
    errors, accuracy, lying = [watchers.measure(simulation.model)], [first["accuracy"]], [False]
    success = [first["attack_success"]] if "attack_success" in first else []
    while not simulation.done:
        round_ = simulation.round
        simulation.advance()
        found = simulation.measure()
        errors.append(watchers.measure(simulation.model))
        accuracy.append(found["accuracy"])
        success += [found["attack_success"]] if success else []
        lying.append(bool(simulation.devices.adversaries) and simulation.lied_in(round_))
        progress()
    return Trail(tuple(errors), tuple(accuracy), tuple(success), tuple(lying))
