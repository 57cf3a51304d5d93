"""What every image reader offers, and what it refuses of any data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bflcd.errors import OperatorError
from bflcd.learn.data import bad_data

SIDE: Final = 28
"""Height and width of an image, in pixels."""

PIXELS: Final = SIDE * SIDE

Images = NDArray[np.uint8]
"""[rows, 28, 28], white ink (255) on black (0)."""


class ImageSource(Protocol):
    """A readable data set. Every method raises OperatorError (`bad_data`) naming the file and what is wrong with it."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """[rows], from 0."""
        ...

    @property
    def writers(self) -> NDArray[np.int64] | None:
        """[rows], who wrote each row; None if the data does not say."""
        ...

    @property
    def split(self) -> NDArray[np.int64] | None:
        """[rows], 0 training and 1 test; None if the data has no test rows of its own."""
        ...

    def images(self, rows: NDArray[np.int64]) -> Images:
        """The pixels of `rows` (ascending), read now."""
        ...


def cut_off(path: Path, found: int, whole: int, what: str = "bytes") -> OperatorError:
    """The error for a file that ends before its own header says."""
    return bad_data(f"{path}: cut off: it has {found} {what} of {whole}", "it was not copied whole: copy it again")


def visible_files(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by name, without those that a Mac leaves beside others (`._NAME`, `.DS_Store`)."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def check_rows(path: Path, labels: NDArray[np.generic], **columns: NDArray[np.generic] | None) -> None:
    """Refuse a data set whose labels or other integer columns are not whole numbers, one a row, from 0."""
    if len(labels) == 0:
        raise bad_data(f"{path}: holds no rows", "give a file with data")
    for name, column in (("labels", labels), *columns.items()):
        if column is None:
            continue
        if column.ndim != 1 or column.dtype.kind not in "iu":
            raise no_column(path, name, column.dtype, column.shape)
        if len(column) != len(labels):
            raise bad_data(f"{path}: {len(labels)} labels but {len(column)} {name}", "each row needs one of each")
        if int(column.min()) < 0 and name in ("labels", "split"):
            raise bad_data(f"{path}: {name} holds {int(column.min())}", f"{name} must be 0 or more")
    split = columns.get("split")
    if split is not None and not set(np.unique(split).tolist()) <= {0, 1}:
        raise bad_data(f"{path}: split holds values other than 0 and 1", "0 marks training rows, 1 test rows")


def no_column(path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> OperatorError:
    """The error for labels (writers, split) of another form, with the way from the usual other ones."""
    hint = f"{name} must be a list of integers, one a row"
    if len(shape) == 2 and shape[1] == 1:
        hint += f": {name}.ravel().astype(int)"
    elif len(shape) == 2:
        hint += f": if they are one-hot, {name}.argmax(axis=1)"
    elif len(shape) == 1 and dtype.kind == "f":
        hint += f": {name}.astype(int)"
    return bad_data(f"{path}: {name} is {dtype}{list(shape)}", hint)


def check_count(path: Path, labels: Sequence[int] | NDArray[np.generic], images: int) -> None:
    """Refuse a data set with another number of images than labels."""
    if len(labels) != images:
        raise bad_data(f"{path}: {images} images but {len(labels)} labels", "each row needs one of each")
