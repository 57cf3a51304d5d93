"""What one community gives to who attacks its updates: the updates, how they were made, and what is true of their rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.engine.base import Engine, Pace, Positions, Trainee
from bflcd.lab.engine.loop import LoopEngine
from bflcd.lab.engine.privacy import NoisyTraining
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.task import Task
from bflcd.learn.training import DeviceRows


@dataclass(frozen=True, slots=True)
class Published:
    """An update [weights] as every member fetches it, the model that it was trained from, and how; `mechanism`: its noise."""

    device: int
    round: int
    model: Tensor
    update: Tensor
    pace: Pace
    mechanism: Mechanism | None

    @property
    def clip(self) -> float | None:
        """The norm that a row's gradient was cut to; None: it was not."""
        return None if self.mechanism is None else self.mechanism.clip

    def trainee(self, rows: Positions, seed: int) -> Trainee:
        """Somebody else who trains as this one did."""
        return Trainee(rows, seed, None if self.mechanism is None else NoisyTraining(self.mechanism, seed))


@dataclass(frozen=True, slots=True)
class Scene:
    """A community after its last round.

    `parts`: the rows each device trained on, positions in the engine's pool; `public`: rows of the same kind that the attacker
    holds and no attacked device does; `updates`: those that are attacked; `first`, `last`: the model before and after all
    `paces`, one a round; `seed` draws what the attacker draws.
    """

    task: Task
    engine: Engine
    parts: tuple[Positions, ...]
    public: Positions
    updates: tuple[Published, ...]
    first: Tensor
    last: Tensor
    paces: tuple[Pace, ...]
    seed: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of every row of the pool, where targets are classes."""
        return np.asarray(self.engine.pool.targets.cpu().numpy())

    def of_device(self, device: int) -> list[Published]:
        """What one device published, in the order of rounds."""
        return [one for one in self.updates if one.device == device]

    @property
    def devices(self) -> tuple[int, ...]:
        """Whose updates are attacked, ascending."""
        return tuple(sorted({one.device for one in self.updates}))

    @property
    def rounds(self) -> tuple[int, ...]:
        """In which they were published, ascending."""
        return tuple(sorted({one.round for one in self.updates}))


def joined_engine(task: Task, rows: Sequence[DeviceRows], threads: int) -> LoopEngine:
    """An engine over all of `rows`, one behind the other; `threads` 0: one a core."""
    inputs, targets = torch.cat([one.inputs for one in rows]), torch.cat([one.targets for one in rows])
    return LoopEngine(task, DeviceRows(inputs, targets), threads=threads or None)
