"""scikit-learn's 1,797 digits of 8x8 pixels (Alpaydin and Kaynak 1998): a task that needs no download."""

import gzip
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from torch import Tensor, nn

from bflcd.learn.data import DataConfig, bad_data, missing_data
from bflcd.learn.partition import TEST_PERCENT, Indices, deal_rows, select_rows
from bflcd.learn.task import Community, Dataset, Rows, Task, as_targets

SIDE: Final = 8
CLASSES: Final = 10
HIDDEN: Final = 256

MEAN: Final = 0.305
DEVIATION: Final = 0.376
"""Of all pixels, from 0 to 1."""

_INK: Final = 16
"""Grey levels of a pixel."""


class DigitsTask(Task):
    """A perceptron with one hidden layer on 8x8 digits, which learns in seconds where convolutions would need more rows; option
    `test_percent`: rows held out for testing.
    """

    OPTIONS: ClassVar[Mapping[str, str]] = {"test_percent": str(TEST_PERCENT)}

    def __init__(self, options: Mapping[str, str]) -> None:
        """Check the options."""
        super().__init__(options)
        self._test_percent = self.integer("test_percent", 0, 90)

    def build_model(self) -> nn.Module:
        """64 pixels, 256 hidden units, 10 classes; He's initialisation, since a round is only a few steps."""
        layers = (nn.Linear(SIDE * SIDE, HIDDEN), nn.Linear(HIDDEN, CLASSES))
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1])

    def load(self, data: DataConfig) -> Dataset:
        """This node's part of the table that scikit-learn ships; scikit-learn itself (50 MB of memory) is not imported."""
        rows = _read_rows(data)
        chosen = select_rows(data, rows.targets, test_percent=self._test_percent)
        return Dataset(_choose(rows, chosen.own), _choose(rows, chosen.test) if chosen.test.size else None)

    def load_all(self, data: DataConfig) -> Community:
        """Every node's part, read once."""
        rows = _read_rows(data)
        deal = deal_rows(data, rows.targets, test_percent=self._test_percent)
        return Community(rows, deal.parts, _choose(rows, deal.test) if deal.test.size else None)

    def transform(self, inputs: Tensor) -> Tensor:
        """Bytes to float32 with about mean 0 and deviation 1."""
        return inputs.float().div_(255.0).sub_(MEAN).div_(DEVIATION)


def _read_rows(data: DataConfig) -> Rows:
    table = _read_table(data)
    images = (table[:, :-1] * (255 / _INK)).astype(np.uint8).reshape(-1, SIDE, SIDE)
    return Rows(images, as_targets(table[:, -1]))


def _choose(rows: Rows, chosen: Indices) -> Rows:
    return Rows(rows.inputs[chosen], rows.targets[chosen])


def _read_table(data: DataConfig) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    if data.path is not None:
        raise bad_data(
            f"the task digits brings its own data, but data.path is {data.path!r}", "remove data.path, or use another task"
        )
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise missing_data("the task digits needs scikit-learn, which is not installed", "install scikit-learn")
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as stream:
            table = np.loadtxt(stream, delimiter=",", dtype=np.uint8, ndmin=2)
    except OSError as error:
        raise missing_data(f"{path}: cannot be read: {error.strerror or error}", "reinstall scikit-learn") from error
    except (ValueError, EOFError) as error:
        raise bad_data(f"{path}: no table of digits: {error}", "reinstall scikit-learn") from error
    if table.shape[1] != SIDE * SIDE + 1:
        raise bad_data(f"{path}: {table.shape[1]} columns", f"{SIDE * SIDE + 1} are expected: reinstall scikit-learn")
    return table
