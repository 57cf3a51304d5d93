"""The engine for a CPU: one model after the other, as many at a time as there are threads, each on a core of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final, TypeVar

import torch
from torch import Tensor

from bflcd.lab.engine.base import Engine, Pace, Trainee
from bflcd.lab.engine.dropout import SeededDropout, seed_dropout
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.scoring import bounded_losses
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows, descend, never

ROWS_AT_ONCE: Final = 256
"""Rows of one pass without gradients: their activations stay in the cache."""

T = TypeVar("T")
S = TypeVar("S")


class LoopEngine(Engine):
    """Each thread has a network of its own; inside a thread torch uses one core."""

    def __init__(self, task: Task, pool: DeviceRows, *, threads: int | None = None) -> None:
        """`threads` None: one a core on a CPU, one on a GPU, whose queue is one. Raises OperatorError (`bad_model`)."""
        self._task, self._pool, self.device = task, pool, pool.inputs.device
        count = threads or (torch.get_num_threads() if self.device.type == "cpu" else 1)
        self._networks: SimpleQueue[tuple[FlatModel, list[SeededDropout]]] = SimpleQueue()
        for _ in range(count):
            module = task.build_model()
            spec = tensors_of(module)
            dropouts = seed_dropout(module)
            flat = FlatModel(module, spec, self.device)
            self._networks.put((flat, dropouts))
        self.weights = len(flat.weights)
        self._threads = ThreadPoolExecutor(count, "lab", initializer=torch.set_num_threads, initargs=(1,))

    @property
    def pool(self) -> DeviceRows:
        """All rows."""
        return self._pool

    def train(self, model: Tensor, trainees: Sequence[Trainee], pace: Pace) -> Tensor:
        """Longest trainings first, so that no thread is left alone with one at the end."""
        updates = torch.empty((len(trainees), self.weights), dtype=torch.float32, device=self.device)

        def one(flat: FlatModel, dropouts: list[SeededDropout], number: int) -> None:
            trainee = trainees[number]
            flat.weights.copy_(model)
            for dropout in dropouts:
                dropout.begin(torch.tensor([trainee.seed], device=self.device))
            plan = pace.descent(trainee.seed)
            down = descend if trainee.noisy is None else trainee.noisy.descent()
            down(flat, self._task, self.gather(trainee.rows), plan, cancelled=never)
            torch.sub(flat.weights, model, out=updates[number])

        self._each(one, sorted(range(len(trainees)), key=lambda i: (-len(trainees[i].rows), i)))
        return updates

    def losses(self, models: Tensor, rows: DeviceRows) -> tuple[Tensor, Tensor]:
        """Model after model on all rows; one model alone shares its rows among the threads."""
        losses = torch.empty((len(models), len(rows)), dtype=torch.float64, device=self.device)
        right = torch.empty((len(models), len(rows)), dtype=torch.bool, device=self.device)
        span = ROWS_AT_ONCE if len(models) == 1 else len(rows)

        def one(flat: FlatModel, _: list[SeededDropout], place: tuple[int, int]) -> None:
            number, first = place
            flat.weights.copy_(models[number])
            flat.module.eval()
            with torch.inference_mode():
                for begin in range(first, min(first + span, len(rows)), ROWS_AT_ONCE):
                    part = slice(begin, min(begin + ROWS_AT_ONCE, first + span, len(rows)))
                    outputs = flat.module(self._task.transform(rows.inputs[part]))
                    losses[number, part] = bounded_losses(self._task.row_loss(outputs, rows.targets[part]))
                    right[number, part] = self._task.correct(outputs, rows.targets[part])

        self._each(one, [(number, first) for number in range(len(models)) for first in range(0, len(rows), span)])
        return losses, right

    def _each(self, work: Callable[[FlatModel, list[SeededDropout], S], None], items: Sequence[S]) -> None:
        """Do `work` on every item, in that order, as threads become free. Raises what the first failing one raised."""

        def run(item: S) -> None:
            network = self._networks.get()
            try:
                work(*network, item)
            finally:
                self._networks.put(network)

        for _ in self._threads.map(run, items):
            pass
