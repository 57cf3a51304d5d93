"""LEAF's FEMNIST JSON (Caldas et al. 2018): per user a list of 784 floats a row, white paper (1.0), and labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bflcd.learn.data import bad_data
from bflcd.learn.datasets.images import PIXELS, SIDE, Images, check_count, check_rows, visible_files

_HINT: Final = 'LEAF\'s files hold {"users": [...], "user_data": {user: {"x": [[784 floats], ...], "y": [labels]}}}'


def find_leaf(place: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]] | None:
    """JSON files (training, test) that `place` means: one file, a folder of files, or a folder with `train` and `test`."""
    if place.is_file():
        return ((place,), ()) if place.suffix == ".json" else None
    training = tuple(visible_files(place / "train", "*.json"))
    if training:
        return training, tuple(visible_files(place / "test", "*.json"))
    plain = tuple(visible_files(place, "*.json"))
    return (plain, ()) if plain else None


class LeafSource:
    """Rows in the order of the files and of `users` in each. The JSON is parsed twice: for labels, then for the chosen pixels.

    A file is parsed whole (LEAF's hold about 100 users each); only labels and chosen rows outlive it.
    """

    def __init__(self, files: tuple[tuple[Path, ...], tuple[Path, ...]]) -> None:
        """Read the labels and writers of every file."""
        training, test = files
        self._files = (*training, *test)
        names: list[str] = []
        counts: list[int] = []
        labels: list[int] = []
        self._starts = [0]
        for path in self._files:
            for user, pixels, targets in _users(path):
                check_count(path, targets, len(pixels))
                names.append(user)
                counts.append(len(targets))
                labels.extend(targets)
            self._starts.append(len(labels))
        self.labels = _integers(self._files[0], labels)
        ranks = {name: rank for rank, name in enumerate(sorted(set(names)))}
        self.writers = np.repeat(np.array([ranks[name] for name in names], dtype=np.int64), counts)
        sizes = np.diff(self._starts)
        self.split = np.repeat(np.array([0] * len(training) + [1] * len(test)), sizes) if test else None
        check_rows(self._files[0], self.labels, writer=self.writers, split=self.split)

    def images(self, rows: NDArray[np.int64]) -> Images:
        """The pixels of `rows` (ascending), ink turned white; files without a chosen row are not opened."""
        chosen = np.empty((len(rows), PIXELS), dtype=np.uint8)
        filled = 0
        for path, start, end in zip(self._files, self._starts[:-1], self._starts[1:], strict=True):
            wanted = rows[(rows >= start) & (rows < end)] - start
            if len(wanted) == 0:
                continue
            everything = (row for _, pixels, _ in _users(path) for row in pixels)
            members = set(wanted.tolist())
            for place, row in enumerate(everything):
                if place in members:
                    chosen[filled] = _pixels(path, row)
                    filled += 1
        return chosen.reshape(-1, SIDE, SIDE)


def _users(path: Path) -> Iterator[tuple[str, list[Any], list[Any]]]:
    try:
        with path.open("rb") as stream:
            document = json.load(stream)
    except (ValueError, RecursionError) as error:
        raise bad_data(f"{path}: no JSON: {error}", _HINT) from error
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("users"), list)
        or not isinstance(document.get("user_data"), dict)
    ):
        raise bad_data(f"{path}: lacks the list 'users' or the table 'user_data'", _HINT)
    for user in document["users"]:
        part = document["user_data"].get(user) if isinstance(user, str) else None
        if not isinstance(part, dict) or not isinstance(part.get("x"), list) or not isinstance(part.get("y"), list):
            raise bad_data(f"{path}: user {user!r} lacks the lists 'x' and 'y'", _HINT)
        yield user, part["x"], part["y"]


def _integers(path: Path, labels: list[Any]) -> NDArray[np.int64]:
    if not all(type(label) is int and 0 <= label < 2**31 for label in labels):
        raise bad_data(f"{path}: a label is no whole number from 0", _HINT)
    return np.array(labels, dtype=np.int64)


def _pixels(path: Path, row: Any) -> NDArray[np.uint8]:
    try:
        values = np.array(row, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise bad_data(f"{path}: a row of x is no list of numbers: {error}", _HINT) from error
    if values.shape != (PIXELS,) or not (float(values.min()) >= 0.0 and float(values.max()) <= 1.0):
        raise bad_data(f"{path}: a row of x is not {PIXELS} numbers from 0 to 1", _HINT)
    return np.rint((1.0 - values) * 255.0).astype(np.uint8)
