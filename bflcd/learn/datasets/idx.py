"""EMNIST's and MNIST's idx files: big-endian magic and sizes, then bytes (Cohen et al. 2017; LeCun's MNIST page)."""

import gzip
import os
import re
import zlib
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import IO, Final, cast

import numpy as np
from numpy.typing import NDArray

from bflcd.learn.data import bad_data, missing_data
from bflcd.learn.datasets.images import PIXELS, SIDE, Images, check_count, check_rows, cut_off, visible_files
from bflcd.registry import entry_of

_IMAGES: Final = re.compile(r"-images[-.]idx3-ubyte(\.gz)?$")
"""How the name of an image file ends: as published, or as the programs that unpack it call it."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_IMAGE_MAGIC: Final = 2051
_LABEL_MAGIC: Final = 2049
_MAX_ROWS: Final = 2**26
_COPY_AGAIN: Final = "the file is damaged: copy it again"
_ROWS_AT_ONCE: Final = 1024

TRANSPOSES: Final[Mapping[str, Callable[[Path], bool]]] = {
    "auto": lambda path: path.name.startswith("emnist"),
    "yes": lambda _: True,
    "no": lambda _: False,
}
"""Whether a file's images lie on their side, by the task's option."""


def find_idx(place: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]] | None:
    """Image files (training, test) that `place` means: a file and its test partner beside it, or a folder of one data set.

    A folder may hold them in `raw`, packed and unpacked side by side, as torchvision leaves them.

    None if nothing there is named like an idx file. Raises OperatorError if a folder holds more than one data set.
    """
    if place.is_dir():
        found = _image_files(place) or _image_files(place / "raw")
        training = tuple(path for path in found if "test" not in path.name and "t10k" not in path.name)
        if len(training) > 1:
            raise bad_data(
                f"{place}: holds {len(training)} data sets ({', '.join(path.name for path in training[:4])})",
                "give the image file of one of them",
            )
        return (training, tuple(path for path in found if path not in training)) if training else None
    if _IMAGES.search(place.name) is None:
        return None
    partners = (place.with_name(place.name.replace("train", other)) for other in ("test", "t10k"))
    test = tuple(path for path in partners if path != place and path.exists())
    return (place,), test[:1]


def _image_files(folder: Path) -> list[Path]:
    """Each data set's image file once: unpacked, if that is there too."""
    found = [path for path in visible_files(folder, "*-images*idx3-ubyte*") if _IMAGES.search(path.name)]
    return [path for path in found if path.suffix != ".gz" or path.with_suffix("") not in found]


class IdxSource:
    """Image files and, beside each, its labels. EMNIST ships its images transposed; `auto` turns those named emnist..."""

    writers: NDArray[np.int64] | None = None

    def __init__(self, files: tuple[tuple[Path, ...], tuple[Path, ...]], *, transpose: str) -> None:
        """Read all labels and check every image file's header."""
        training, test = files
        self._files = (*training, *test)
        labels = [_labels_of(path) for path in self._files]
        self._starts = np.cumsum([0, *(len(part) for part in labels)])
        self.labels = np.concatenate(labels)
        self.split = np.repeat(np.array([0] * len(training) + [1] * len(test)), [len(p) for p in labels]) if test else None
        is_turned = entry_of(TRANSPOSES, transpose, "way to transpose")
        self._turned = [is_turned(path) for path in self._files]
        check_rows(self._files[0], self.labels)
        for path, part in zip(self._files, labels, strict=True):
            with _open(path, _IMAGE_MAGIC, (SIDE, SIDE)) as (_, rows):
                check_count(path, part, rows)

    def images(self, rows: NDArray[np.int64]) -> Images:
        """The pixels of `rows` (ascending); the files are streamed and all else dropped."""
        parts = [
            _pixels(path, rows[(rows >= start) & (rows < end)] - start, turned=turned)
            for path, start, end, turned in zip(self._files, self._starts[:-1], self._starts[1:], self._turned, strict=True)
        ]
        return np.concatenate(parts)


class _open:  # noqa: N801 - reads as the function it stands for
    """An idx file, plain or gzip, past its checked header: the stream and the number of its items."""

    def __init__(self, path: Path, magic: int, shape: tuple[int, ...]) -> None:
        self._path = path
        raw = path.open("rb")
        try:
            packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
        except BaseException:
            raw.close()
            raise
        self._raw = raw
        self._stream: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
        try:
            self._rows = self._header(magic, shape)
            if not packed:
                self._check_size(self._rows * prod(shape))
        except BaseException:
            self._close()
            raise

    def _check_size(self, items: int) -> None:
        """An unpacked file says at once whether all of it is there."""
        found, whole = os.fstat(self._raw.fileno()).st_size, self._stream.tell() + items
        if found < whole:
            raise cut_off(self._path, found, whole)

    def _close(self) -> None:
        self._stream.close()
        self._raw.close()

    def _header(self, magic: int, shape: tuple[int, ...]) -> int:
        head = read_exactly(self._path, self._stream, 8 + 4 * len(shape))
        found, rows, *sizes = (int(value) for value in np.frombuffer(head, dtype=">u4"))
        if found != magic or tuple(sizes) != shape or rows > _MAX_ROWS:
            raise bad_data(
                f"{self._path}: magic {found}, {rows} items of {sizes}; expected magic {magic}, items of {list(shape)}",
                "give EMNIST's or MNIST's idx file as published",
            )
        return rows

    def __enter__(self) -> tuple[IO[bytes], int]:
        return self._stream, self._rows

    def __exit__(self, *_: object) -> None:
        self._close()


def read_exactly(path: Path, stream: IO[bytes], size: int) -> bytes:
    """`size` bytes or OperatorError: the file ends early or is no gzip file."""
    begin = stream.tell()
    try:
        data = stream.read(size)
    except EOFError as error:
        raise bad_data(f"{path}: cut off: its packed bytes end before its rows do", _COPY_AGAIN) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise bad_data(f"{path}: cannot be read: {error}", _COPY_AGAIN) from error
    if len(data) != size:
        raise cut_off(path, begin + len(data), begin + size)
    return data


def _labels_of(images: Path) -> NDArray[np.int64]:
    names = [images.name.replace("-images", "-labels").replace("idx3", "idx1")]
    names.append(names[0].removesuffix(".gz") if names[0].endswith(".gz") else f"{names[0]}.gz")
    beside = [images.with_name(name) for name in names]
    path = next((path for path in beside if path.exists()), beside[0])
    if not path.exists():
        raise missing_data(f"{path}: no such file", f"the labels must lie beside {images.name}")
    with _open(path, _LABEL_MAGIC, ()) as (stream, rows):
        return np.frombuffer(read_exactly(path, stream, rows), dtype=np.uint8).astype(np.int64)


def _pixels(path: Path, rows: NDArray[np.int64], *, turned: bool) -> Images:
    chosen = np.empty((len(rows), SIDE, SIDE), dtype=np.uint8)
    with _open(path, _IMAGE_MAGIC, (SIDE, SIDE)) as (stream, total):
        filled = first = 0
        while filled < len(rows):
            count = min(_ROWS_AT_ONCE, total - first)
            block = np.frombuffer(read_exactly(path, stream, count * PIXELS), dtype=np.uint8).reshape(-1, SIDE, SIDE)
            end = int(np.searchsorted(rows, first + count))
            chosen[filled:end] = block[rows[filled:end] - first]
            filled, first = end, first + count
    return np.ascontiguousarray(chosen.transpose(0, 2, 1)) if turned else chosen
