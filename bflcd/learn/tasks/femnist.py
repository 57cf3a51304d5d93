"""Handwritten characters of 28x28 pixels by writer: FEMNIST (LEAF), EMNIST, or any .npz of that shape."""

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from torch import Tensor, nn

from bflcd.learn.data import DataConfig, bad_data
from bflcd.learn.datasets.images import SIDE, ImageSource, open_images
from bflcd.learn.partition import TEST_PERCENT, select_rows
from bflcd.learn.task import Dataset, Rows, Task
from bflcd.learn.tasks.nets import SmallAlexNet, SmallCnn, image_batch

FEMNIST_CLASSES: Final = 62
"""0-9, A-Z, a-z."""

MAX_CLASSES: Final = 2**16


class FemnistTask(Task):
    """Options: `model` (cnn or alexnet); `classes`, which a genesis pins; `test_percent`: rows, or writers, held out where the
    data has no test rows; `test_rows`: at most so many test rows, the first in file order, 0 for all; `transpose`: auto, yes,
    no, for idx files.
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
        self._model = self.choice("model", ("cnn", "alexnet"))
        self._test_percent = self.integer("test_percent", 0, 90)
        self._test_rows = self.integer("test_rows", 0, 2**31)
        self._transpose = self.choice("transpose", ("auto", "yes", "no"))

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
        return SmallCnn(SIDE, classes) if self._model == "cnn" else SmallAlexNet(classes)

    def load(self, data: DataConfig) -> Dataset:
        """This node's part and the test rows; nothing else of the data stays in memory."""
        source = open_images(data.path, transpose=self._transpose)
        classes, largest = self._classes or FEMNIST_CLASSES, int(source.labels.max())
        if largest >= classes:
            raise bad_data(
                f"{data.path}: label {largest}, but the genesis fixes {classes} classes (0 to {classes - 1})",
                "give the data set that the community agreed on",
            )
        chosen = select_rows(data, source.labels, writers=source.writers, split=source.split, test_percent=self._test_percent)
        test = chosen.test[: self._test_rows] if self._test_rows else chosen.test
        return Dataset(_rows(source, chosen.own), _rows(source, test) if test.size else None)

    def transform(self, inputs: Tensor) -> Tensor:
        """Bytes to channels-last images from 0 to 1."""
        return image_batch(inputs)


def _rows(source: ImageSource, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Rows:
    return Rows(source.images(chosen), source.labels[chosen])
