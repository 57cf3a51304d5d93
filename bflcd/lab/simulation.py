"""A simulation from its first model on: a step a round, measurements on test rows, and all that has to be kept to go on later."""

import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import torch
from torch import Tensor

from bflcd.errors import OperatorError, UsageError
from bflcd.lab.chain import LabChain
from bflcd.lab.config import SimulationConfig, check_config
from bflcd.lab.devices import load_devices
from bflcd.lab.engine.base import PRECISIONS, Engine, Pace, Precision, Products
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.engine.sites import site_figures
from bflcd.lab.engine.stacked import StackedEngine
from bflcd.lab.frameworks import Bflc, make_framework
from bflcd.learn.attacks import TARGET_CLASS
from bflcd.learn.device import DeviceName, find_device
from bflcd.learn.task import find_task
from bflcd.learn.training import DeviceRows, initial_model
from bflcd.ledger.state import State
from bflcd.registry import entry_of
from bflcd.wire.tensors import split_payload

STACK: Final = 256
"""Devices of one stack on a GPU."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how it is computed. The result depends on it only by rounding; `threads` not even by that much.

    `threads` 0: one a core.
    """

    device: DeviceName = "auto"
    precision: Precision = "float32"
    stack: int = STACK
    threads: int = 0

    def torch_device(self) -> torch.device:
        """Raises OperatorError (`bad_device`)."""
        device = find_device(self.device)
        if device.type == "cpu" and self.products.rounded:
            raise OperatorError(f"precision {self.precision} is a GPU's", hint="use float32 or bf16", code="bad_device")
        return device

    @property
    def products(self) -> Products:
        """What the precision says."""
        return entry_of(PRECISIONS, self.precision, "precision")


class Simulation:
    """The model, the ledger and the round that comes next. Stepping it to the end twice gives the same numbers."""

    def __init__(self, config: SimulationConfig, machine: Machine) -> None:
        """Load the data, make the first model. Raises UsageError, OperatorError."""
        check_config(config)
        device = machine.torch_device()
        task = find_task(config.task, dict(config.options))
        task.pin(config.data_config())
        tensors, payload = initial_model(task, config.seed)
        self.config = config
        self.task, self._spec = task, config.task_spec(tensors)
        self.devices = load_devices(config, task, device)
        self.engine: Engine
        if not config.dp_epsilon and (device.type == "cuda" or machine.products.dtype != torch.float32):
            self.engine = StackedEngine(task, self.devices.pool, precision=machine.precision, stack=machine.stack)
        else:
            self.engine = LoopEngine(task, self.devices.pool, threads=machine.threads or None)
        counters, weights = split_payload(payload, tensors, label=None)
        if counters.size:
            raise OperatorError(
                f"the model of task {config.task} counts batches; the laboratory simulates models of weights only",
                hint="use layers without counters, such as group normalisation",
                code="bad_model",
            )
        self.model = torch.from_numpy(weights.copy()).to(device)
        self._framework = make_framework(config, self.devices, self.engine)

    @property
    def round(self) -> int:
        """Rounds done."""
        return self._framework.round

    @property
    def chain(self) -> LabChain:
        """The ledger of a community that has one. Raises UsageError (`bad_setting`) for a server's."""
        if not isinstance(self._framework, Bflc):
            raise UsageError(f"{self.config.framework} has no ledger", hint="simulate bflc", code="bad_setting")
        return self._framework.chain

    def lied_in(self, round_: int) -> bool:
        """Whether adversaries, if there are any, have lied in a round that is done."""
        return self._framework.adversaries.lie_in(round_)

    @property
    def done(self) -> bool:
        """Whether the last round is done."""
        return self.round >= self.config.rounds

    def advance(self) -> dict[str, Any]:
        """Do one round; what is recorded of it: the round, who took part and was packed, seconds, and at times the test rows."""
        begun, config = time.perf_counter(), self.config
        rate, calibration = self.task.learning_rate(self._spec, self.round), self._framework.calibration(self._spec)
        pace = Pace(rate, config.momentum, config.batch_size, config.local_epochs, calibration)
        step = self._framework.step(self.model, pace)
        self.model = step.model
        record: dict[str, Any] = {"round": self.round, **step.facts}
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize()
        record["seconds"] = round(time.perf_counter() - begun, 4)
        if self.round % config.every == 0 or self.done:
            record |= self.measure()
        return record

    def measure(self) -> dict[str, Any]:
        """Accuracy and loss on the test rows, and by site; with a backdoor, the share of triggered rows that it turns."""
        found = self.engine.measure(self.model, self.devices.test)
        record: dict[str, Any] = {"accuracy": found.accuracy, "loss": found.loss}
        if self.devices.sites is not None:
            record |= site_figures(self.devices.sites, found.right)
        triggered = self.devices.triggered
        if triggered is not None:
            targets = torch.full_like(triggered.targets, TARGET_CLASS)
            record["attack_success"] = self.engine.measure(self.model, DeviceRows(triggered.inputs, targets)).accuracy
        return record

    # -- what has to be kept ------------------------------------------------------------------------------------------

    def vectors(self) -> dict[str, Tensor]:
        """The model and its last step."""
        return {"model": self.model, "moved": self._framework.moved}

    def memory(self) -> bytes:
        """Everything else, as JSON."""
        chain = self._framework.chain.state if isinstance(self._framework, Bflc) else None
        return msgspec.json.encode(
            _Memory(self.round, self._framework.adversaries.awake, chain, dict(sorted(self._framework.budgets.trained.items())))
        )

    def restore(self, vectors: dict[str, Tensor], memory: bytes) -> None:
        """Go on where `vectors` and `memory` were taken.

        Raises msgspec.MsgspecError for what is no memory, ValueError for vectors of another model.
        """
        found = msgspec.json.decode(memory, type=_Memory)
        for vector in vectors.values():
            if vector.shape != self.model.shape or vector.dtype != self.model.dtype:
                raise ValueError(f"it holds a model of {vector.numel()} weights, not {self.model.numel()}")
        self.model = vectors["model"].to(self.engine.device)
        self._framework.moved = vectors["moved"].to(self.engine.device)
        self._framework.round, self._framework.adversaries.awake = found.round, found.awake
        self._framework.budgets.trained.update(found.trained)
        if found.chain is not None and isinstance(self._framework, Bflc):
            self._framework.chain.state = found.chain


class _Memory(msgspec.Struct, frozen=True):
    round: int
    awake: bool
    chain: State | None
    trained: dict[int, int]
