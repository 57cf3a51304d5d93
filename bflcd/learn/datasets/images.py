"""What every image reader offers, and the choice of reader by path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bflcd.learn.data import bad_data, missing_data

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


def open_images(path: str | None, *, transpose: str = "auto") -> ImageSource:
    """The reader for `path`: an .npz, a LEAF .json or folder of them, an EMNIST idx file or folder of them.

    `transpose` (`auto`, `yes`, `no`) concerns idx files alone. Raises OperatorError: `missing_data` if nothing is there,
    else `bad_data`.
    """
    from bflcd.learn.datasets.idx import IdxSource, find_idx  # noqa: PLC0415 - the readers import this module
    from bflcd.learn.datasets.leaf import LeafSource, find_leaf  # noqa: PLC0415
    from bflcd.learn.datasets.npz import NpzSource  # noqa: PLC0415

    if path is None:
        raise missing_data("the task femnist needs a data file and none is configured", "set data.path (--data FILE)")
    place = Path(path)
    if not place.exists():
        raise missing_data(f"{path}: no such file or folder", "correct data.path (--data FILE)")
    try:
        if place.suffix == ".npz":
            return NpzSource(place)
        if leaf := find_leaf(place):
            return LeafSource(leaf)
        if idx := find_idx(place):
            return IdxSource(idx, transpose=transpose)
    except OSError as error:
        raise missing_data(f"{path}: cannot be read: {error.strerror or error}", "check the path and its permissions") from error
    raise bad_data(
        f"{path}: no data in a known format",
        "give an .npz with images and labels, LEAF's FEMNIST .json (or its folder), or EMNIST's ...-images-idx3-ubyte[.gz]",
    )


def check_rows(path: Path, labels: NDArray[np.generic], **columns: NDArray[np.generic] | None) -> None:
    """Refuse a data set whose labels or other integer columns are not whole numbers, one a row, from 0."""
    if len(labels) == 0:
        raise bad_data(f"{path}: holds no rows", "give a file with data")
    for name, column in (("labels", labels), *columns.items()):
        if column is None:
            continue
        if column.ndim != 1 or column.dtype.kind not in "iu":
            raise bad_data(
                f"{path}: {name} is {column.dtype}{list(column.shape)}", f"{name} must be a list of integers, one a row"
            )
        if len(column) != len(labels):
            raise bad_data(f"{path}: {len(labels)} labels but {len(column)} {name}", "each row needs one of each")
        if int(column.min()) < 0 and name in ("labels", "split"):
            raise bad_data(f"{path}: {name} holds {int(column.min())}", f"{name} must be 0 or more")
    split = columns.get("split")
    if split is not None and not set(np.unique(split).tolist()) <= {0, 1}:
        raise bad_data(f"{path}: split holds values other than 0 and 1", "0 marks training rows, 1 test rows")


def check_count(path: Path, labels: Sequence[int] | NDArray[np.generic], images: int) -> None:
    """Refuse a data set with another number of images than labels."""
    if len(labels) != images:
        raise bad_data(f"{path}: {images} images but {len(labels)} labels", "each row needs one of each")
