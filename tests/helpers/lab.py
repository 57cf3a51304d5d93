"""Small networks, rows and settings for the tests of the laboratory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from bflcd.lab.config import Rules, SimulationConfig
from bflcd.lab.engine.base import Pace, Trainee
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel, tensors_of
from bflcd.learn.protocol import TrainJob
from bflcd.learn.task import Dataset, Rows, Task, find_task
from bflcd.learn.tasks.nets import SmallAlexNet, image_batch
from bflcd.learn.training import DeviceRows, initial_model, train
from bflcd.params import MILLION
from bflcd.types import Round
from bflcd.wire.tensors import split_payload
from tests.helpers.learning import task_spec

CPU = torch.device("cpu")
CLASSES = 10


class LessMean(nn.Module):
    """Mixes the rows of a batch: what no folding may do with rows of several devices."""

    def __init__(self, always: bool = True) -> None:
        super().__init__()
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True) if self.always or self.training else x


class Tied(nn.Module):
    """Reads the weight of a layer beside running it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(64, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.hidden(x.flatten(1)))
        return self.out(h) + (h @ self.hidden.weight)[:, :CLASSES]


class Tokens(nn.Module):
    """A linear layer over each of several tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.out = nn.Linear(8, 8), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.each(x.squeeze(1))).flatten(1))


class Words(nn.Module):
    """Takes whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(16, 6), nn.Linear(30, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.words(x).flatten(1))


def _alexnet() -> nn.Module:
    """The shipped one without dropout, which the daemon draws from another stream."""
    net = SmallAlexNet(CLASSES)
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return net


def _perceptron(*between: nn.Module, first: tuple[nn.Module, ...] = ()) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *first, nn.Linear(64, 16), nn.ReLU(), *between, nn.Linear(16, CLASSES))


def _conv(*layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(features, CLASSES))


@dataclass(frozen=True)
class Net:
    """How a network is built, what its rows look like, and whether it may be folded."""

    build: Callable[[], nn.Module]
    folded: bool = True
    rows: str = "8x8"
    dropout: bool = False


NETS: Mapping[str, Net] = {
    "digits": Net(lambda: find_task("digits", {}).build_model()),
    "cnn": Net(lambda: find_task("femnist", {"classes": "10", "model": "cnn"}).build_model(), rows="28x28"),
    "light": Net(lambda: find_task("femnist", {"classes": "10", "model": "light"}).build_model(), rows="28x28"),
    "alexnet": Net(_alexnet, rows="28x28"),
    "3x3, no bias": Net(lambda: _conv(nn.Conv2d(1, 4, 3, padding=1, bias=False), features=256)),
    "1x1": Net(lambda: _conv(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1), features=128)),
    "even kernel": Net(lambda: _conv(nn.Conv2d(1, 4, 2), features=196)),
    "stride": Net(lambda: _conv(nn.Conv2d(1, 4, 3, stride=2, padding=1), features=64)),
    "dilation": Net(lambda: _conv(nn.Conv2d(1, 4, 3, dilation=2, padding=1), features=144)),
    "groups": Net(lambda: _conv(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1, groups=2), features=384)),
    "oblong": Net(lambda: _conv(nn.Conv2d(1, 4, (3, 1), padding=(1, 0), bias=False), features=256)),
    "dropout": Net(lambda: _perceptron(nn.Dropout(0.5)), dropout=True),
    "dropout of rows as they come": Net(lambda: _perceptron(nn.Dropout(0.3), first=(nn.Dropout(0.2),)), dropout=True),
    "a bare layer": Net(lambda: nn.Linear(64, CLASSES), folded=False, rows="flat"),
    "group norm": Net(lambda: _conv(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), features=256), folded=False),
    "group norm, dropout": Net(
        lambda: _conv(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Dropout(0.5), features=256),
        folded=False,
        dropout=True,
    ),
    "mixes rows first": Net(lambda: _perceptron(first=(LessMean(),)), folded=False),
    "mixes rows inside": Net(lambda: _perceptron(LessMean()), folded=False),
    "mixes rows in training": Net(lambda: _perceptron(LessMean(always=False)), folded=False),
    "wrapped padding": Net(lambda: _conv(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), features=256), folded=False),
    "padding by name": Net(lambda: _conv(nn.Conv2d(1, 4, 3, padding="same"), features=256), folded=False),
    "a weight read": Net(Tied, folded=False),
    "tokens": Net(Tokens, folded=False),
    "words": Net(Words, folded=False, rows="words"),
}
"""Every kind of network that a task may bring; those with `dropout` differ from the daemon's training by their masks."""


class NetTask(Task):
    """One of `NETS` on noise."""

    OPTIONS: ClassVar[Mapping[str, str]] = {"net": ""}

    @property
    def net(self) -> Net:
        return NETS[self.options["net"]]

    def build_model(self) -> nn.Module:
        return self.net.build()

    def load(self, data: DataConfig) -> Dataset:
        return Dataset(noise_rows(self.net.rows, 60, seed=data.index), noise_rows(self.net.rows, 30, seed=99))

    def transform(self, inputs: Tensor) -> Tensor:
        if self.net.rows == "words":
            return inputs
        images = image_batch(inputs)
        return images.flatten(1) if self.net.rows == "flat" else images


def noise_rows(kind: str, count: int, seed: int = 0) -> Rows:
    """Random rows of random classes: no value matters."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, CLASSES, count)
    if kind == "words":
        return Rows(rng.integers(0, 16, (count, 5)), targets)
    side = 28 if kind == "28x28" else 8
    return Rows(rng.integers(0, 256, (count, side, side), dtype=np.uint8), targets)


@dataclass(frozen=True)
class Scene:
    """A network, its first model, a pool of rows, and devices of different sizes that train on it."""

    task: Task
    pool: DeviceRows
    payload: bytes
    model: Tensor
    trainees: tuple[Trainee, ...]
    pace: Pace


def make_scene(net: str, sizes: tuple[int, ...], pace: Pace, device: torch.device = CPU) -> Scene:
    """Devices of `sizes` rows each, all dealt from one pool."""
    task = NetTask({"net": net})
    pool = DeviceRows.of(noise_rows(task.net.rows, sum(sizes)), device)
    spec, payload = initial_model(task, 1)
    order = np.random.default_rng(2).permutation(sum(sizes))
    parts = np.split(order, np.cumsum(sizes)[:-1])
    trainees = tuple(Trainee(np.sort(part), 100 + number) for number, part in enumerate(parts))
    return Scene(task, pool, payload, flat_of(payload, spec).to(device), trainees, pace)


def flat_of(payload: bytes, spec: Any) -> Tensor:
    """The weights of a model's payload."""
    return torch.from_numpy(split_payload(payload, spec, label=None)[1].copy())


def daemons_update(scene: Scene, trainee: Trainee) -> Tensor:
    """What `bflcd.learn.training.train`, the daemon's own, makes of one device's rows."""
    pace, tensors = scene.pace, tensors_of(scene.task.build_model())
    spec = task_spec(
        "any",
        tensors,
        learning_rate=round(pace.rate * MILLION),
        momentum=round(pace.momentum * MILLION),
        batch_size=pace.batch_size,
        local_epochs=pace.epochs,
        calibration=round(pace.calibration * MILLION),
    )
    rows = DeviceRows(scene.pool.inputs[trainee.rows], scene.pool.targets[trainee.rows])
    flat = FlatModel(scene.task.build_model(), tensors, CPU)
    payload = train(flat, scene.task, spec, rows, TrainJob(Round(0), scene.payload, trainee.seed, "u")).update
    return torch.from_numpy(split_payload(payload, tensors, label="u")[1].copy())


# -- settings -----------------------------------------------------------------------------------------------------------------

TINY_RULES = Rules(committee=0.2, validation=0.2, norm_clip=0.0)

TINY = SimulationConfig(
    rules=TINY_RULES,
    task="digits",
    devices=20,
    active=1.0,
    rounds=4,
    learning_rate=0.1,
    rate_decay=0.95,
    batch_size=16,
    partition="equal",
    every=2,
)
"""Twenty devices of 76 digits; four of them judge, sixteen train. A round is a tenth of a second."""


def tiny(rules: dict[str, Any] | None = None, **changes: Any) -> SimulationConfig:
    """TINY with changes, of its rules too."""
    return msgspec.structs.replace(TINY, rules=msgspec.structs.replace(TINY_RULES, **(rules or {})), **changes)


@cache
def digits_labels() -> np.ndarray:
    """Targets of all digits, in file order."""
    return find_task("digits", {}).load_all(DataConfig()).rows.targets
