"""A task so small that a round costs what the daemons themselves need: classes of points around fixed centres."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import nn

from bflcd.learn.data import DataConfig
from bflcd.learn.task import Dataset, Rows, Task, as_targets

CLASSES = 4
FEATURES = 8
TEST_ROWS = 64
CENTRES_SEED = 11


class PointsTask(Task):
    """A linear model; option `rows`: rows of each node, drawn from the deal's seed and the node's index."""

    OPTIONS: ClassVar[Mapping[str, str]] = {"rows": "64"}

    def build_model(self) -> nn.Module:
        return nn.Linear(FEATURES, CLASSES)

    def load(self, data: DataConfig) -> Dataset:
        return Dataset(_points(self.integer("rows", 16, 4096), (data.seed, data.index, 1)), _points(TEST_ROWS, (data.seed, 0, 0)))


def _points(count: int, seed: tuple[int, ...]) -> Rows:
    centres = np.random.default_rng(CENTRES_SEED).normal(size=(CLASSES, FEATURES))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    points = centres[labels] + rng.normal(size=(count, FEATURES))
    return Rows(points.astype(np.float32), as_targets(labels))
