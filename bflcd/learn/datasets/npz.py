"""numpy archives with `images`, `labels` and optional `writer` and `split`, read row by row without unpacking them whole."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Final, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bflcd.errors import OperatorError
from bflcd.learn.data import bad_data
from bflcd.learn.datasets.images import SIDE, Images, check_count, check_rows

_ROWS_AT_ONCE: Final = 1024
"""Rows decompressed at a time: 0.8 MB."""

_MAX_ROWS: Final = 2**26
"""Rows of one archive."""

_HINT: Final = "write it with numpy.savez_compressed(images=uint8[n,28,28], labels=integers[n], writer=..., split=...)"


class NpzSource:
    """An .npz in the layout of `images.ImageSource`; object arrays (pickles) are refused before they are read."""

    def __init__(self, path: Path) -> None:
        """Read labels, writers and split, and check the images' header."""
        self._path = path
        self.labels = self._column("labels")
        self.writers = self._column("writer") if self._has("writer") else None
        self.split = self._column("split") if self._has("split") else None
        check_rows(path, self.labels, writer=self.writers, split=self.split)
        with _Member(path, "images") as member:
            if member.dtype != np.uint8 or member.shape[1:] != (SIDE, SIDE):
                raise bad_data(
                    f"{path}: images is {member.dtype}{list(member.shape)}",
                    f"images must be uint8[rows, {SIDE}, {SIDE}], white ink (255) on black (0)",
                )
            check_count(path, self.labels, member.shape[0])

    def images(self, rows: NDArray[np.int64]) -> Images:
        """The pixels of `rows` (ascending); the archive is streamed and all else dropped."""
        chosen = np.empty((len(rows), SIDE, SIDE), dtype=np.uint8)
        with _Member(self._path, "images") as member:
            filled = first = 0
            while filled < len(rows):
                block = member.read_rows(min(_ROWS_AT_ONCE, member.shape[0] - first)).reshape(-1, SIDE, SIDE)
                end = int(np.searchsorted(rows, first + len(block)))
                chosen[filled:end] = block[rows[filled:end] - first]
                filled, first = end, first + len(block)
        return chosen

    def _has(self, name: str) -> bool:
        with _archive(self._path) as archive:
            return f"{name}.npy" in archive.namelist()

    def _column(self, name: str) -> NDArray[np.int64]:
        with _Member(self._path, name) as member:
            if len(member.shape) != 1 or member.dtype.kind not in "iu":
                raise bad_data(
                    f"{self._path}: {name} is {member.dtype}{list(member.shape)}", f"{name} must be a list of integers, one a row"
                )
            return member.read_rows(member.shape[0]).astype(np.int64)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise bad_data(f"{path}: no numpy archive: {error}", _HINT) from error


class _Member:
    """One array of an archive, opened at its first row."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._archive = _archive(path)
        try:
            self._stream = self._open()
        except BaseException:
            self._archive.close()
            raise

    def _open(self) -> IO[bytes]:
        try:
            stream = self._archive.open(f"{self._name}.npy")
        except KeyError as error:
            raise bad_data(f"{self._path}: has no array {self._name!r}", _HINT) from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise self._damaged(error) from error
        try:
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            self.shape, fortran, self.dtype = read_header(stream)
        except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            stream.close()
            raise self._damaged(error) from error
        if (fortran and len(self.shape) > 1) or self.dtype.hasobject or not self.shape or self.shape[0] > _MAX_ROWS:
            stream.close()
            raise bad_data(f"{self._path}: {self._name} is {self.dtype}{list(self.shape)}, not a plain array of rows", _HINT)
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return stream

    def read_rows(self, count: int) -> NDArray[np.generic]:
        """The next `count` rows, flat."""
        try:
            data = self._stream.read(count * self._row_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._damaged(error) from error
        if len(data) != count * self._row_bytes:
            raise bad_data(f"{self._path}: {self._name} ends early", "the file is damaged: copy it again")
        return np.frombuffer(data, dtype=self.dtype)

    def _damaged(self, error: Exception) -> OperatorError:
        return bad_data(f"{self._path}: {self._name} cannot be read: {error}", "the file is damaged: copy it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._archive.close()
