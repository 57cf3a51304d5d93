"""The choice of an image reader by path."""

from pathlib import Path

from bflcd.faults import refused
from bflcd.learn.data import bad_data, missing_data
from bflcd.learn.datasets.idx import IdxSource, find_idx
from bflcd.learn.datasets.images import ImageSource
from bflcd.learn.datasets.leaf import LeafSource, find_leaf
from bflcd.learn.datasets.npz import NpzSource


def open_images(path: str | None, *, transpose: str = "auto") -> ImageSource:
    """The reader for `path`: an .npz, a LEAF .json or folder of them, an EMNIST idx file or folder of them.

    `transpose` (`auto`, `yes`, `no`) concerns idx files alone. Raises OperatorError: `missing_data` if nothing is there,
    else `bad_data`.
    """
    if path is None:
        raise missing_data("the task femnist needs a data file and none is configured", "set data.path (--data FILE)")
    place = Path(path)
    try:
        place.stat()
        if place.suffix == ".npz":
            return NpzSource(place)
        if leaf := find_leaf(place):
            return LeafSource(leaf)
        if idx := find_idx(place):
            return IdxSource(idx, transpose=transpose)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_data(f"{path}: no such file or folder", "correct data.path (--data FILE)") from error
    except OSError as error:
        raise missing_data(f"{path}: cannot be read: {error.strerror or error}", refused(path, error).hint) from error
    raise bad_data(
        f"{path}: no data in a known format",
        "give an .npz with images and labels, LEAF's FEMNIST .json (or its folder), or EMNIST's ...-images-idx3-ubyte[.gz]",
    )
