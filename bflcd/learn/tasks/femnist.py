"""Handwritten characters of 28x28 pixels by writer: FEMNIST (LEAF), EMNIST, or any .npz of that shape."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import numpy as np
from torch import Tensor, nn

from bflcd.learn.data import DataConfig, bad_data
from bflcd.learn.datasets.idx import TRANSPOSES
from bflcd.learn.datasets.images import SIDE, ImageSource
from bflcd.learn.datasets.readers import open_images
from bflcd.learn.partition import TEST_PERCENT, Indices, deal_rows, select_rows
from bflcd.learn.task import Community, Dataset, Rows, Task
from bflcd.learn.tasks.nets import LightCnn, SmallAlexNet, SmallCnn, image_batch

FEMNIST_CLASSES: Final = 62
"""0-9, A-Z, a-z."""

MAX_CLASSES: Final = 2**16

NETS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "cnn": lambda classes: SmallCnn(SIDE, classes),
    "light": lambda classes: LightCnn(SIDE, classes),
    "alexnet": SmallAlexNet,
}
"""By the option `model`, for a number of classes."""


class FemnistTask(Task):
    """Options: `model` (cnn, light or alexnet); `classes`, which a genesis pins; `test_percent`: rows, or writers, held out where
    the data has no test rows; `test_rows`: at most so many test rows, the first in file order, 0 for all; `transpose`: auto,
    yes, no, for idx files.
    """

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "classes": "0",
        "model": "cnn",
        "test_percent": str(TEST_PERCENT),
        "test_rows": "0",
        "transpose": "auto",
    }

    def __init__(self, options: Mapping[str, str]) -> None:
        """Check the options."""
        super().__init__(options)
        self._classes = self.integer("classes", 0, MAX_CLASSES)
        self._model = self.choice("model", tuple(NETS))
        self._test_percent = self.integer("test_percent", 0, 90)
        self._test_rows = self.integer("test_rows", 0, 2**31)
        self._transpose = self.choice("transpose", tuple(TRANSPOSES))

    def pin(self, data: DataConfig | None) -> dict[str, str]:
        """`classes`, if open: one more than the largest label of the data, or 62 without data."""
        if self._classes == 0:
            self._classes = FEMNIST_CLASSES
            if data is not None and data.path is not None:
                self._classes = int(open_images(data.path, transpose=self._transpose).labels.max()) + 1
        if not 2 <= self._classes <= MAX_CLASSES:
            raise bad_data(
                f"{self._classes} classes", f"2 to {MAX_CLASSES} classes can be learned: correct the labels or the option"
            )
        return {**self.options, "classes": str(self._classes)}

    def build_model(self) -> nn.Module:
        """The chosen network with `classes` outputs."""
        classes = self._classes or FEMNIST_CLASSES
        return NETS[self._model](classes)

    def load(self, data: DataConfig) -> Dataset:
        """This node's part and the test rows; nothing else of the data stays in memory."""
        source = self._open(data)
        chosen = select_rows(data, source.labels, writers=source.writers, split=source.split, test_percent=self._test_percent)
        return Dataset(_rows(source, chosen.own), self._test_set(source, chosen.test))

    def load_all(self, data: DataConfig) -> Community:
        """Every node's part, read once."""
        source = self._open(data)
        deal = deal_rows(data, source.labels, writers=source.writers, split=source.split, test_percent=self._test_percent)
        dealt = np.sort(np.concatenate(deal.parts))
        parts = tuple(np.searchsorted(dealt, part) for part in deal.parts)
        test = self._test_set(source, deal.test)
        if test is None or source.writers is None or data.partition != "writer":
            return Community(_rows(source, dealt), parts, test)
        return Community(_rows(source, dealt), parts, test, source.writers[deal.test][: len(test)])

    def _open(self, data: DataConfig) -> ImageSource:
        """The data set, its labels held against the classes of the genesis."""
        source = open_images(data.path, transpose=self._transpose)
        classes, largest = self._classes or FEMNIST_CLASSES, int(source.labels.max())
        if largest >= classes:
            raise bad_data(
                f"{data.path}: label {largest}, but the genesis fixes {classes} classes (0 to {classes - 1})",
                "give the data set that the community agreed on",
            )
        return source

    def _test_set(self, source: ImageSource, rows: Indices) -> Rows | None:
        chosen = rows[: self._test_rows] if self._test_rows else rows
        return _rows(source, chosen) if chosen.size else None

    def transform(self, inputs: Tensor) -> Tensor:
        """Bytes to channels-last images from 0 to 1."""
        return image_batch(inputs)


def _rows(source: ImageSource, chosen: Indices) -> Rows:
    return Rows(source.images(chosen), source.labels[chosen])
