"""numpy archives with `images`, `labels` and optional `writer` and `split`, read row by row without unpacking them whole."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bflcd.errors import OperatorError
from bflcd.learn.data import bad_data
from bflcd.learn.datasets.images import SIDE, Images, check_count, check_rows, no_column

_ROWS_AT_ONCE: Final = 1024
"""Rows decompressed at a time: 0.8 MB."""

_MAX_ROWS: Final = 2**26
"""Rows of one archive."""

_HINT: Final = "write it with numpy.savez_compressed(images=uint8[n,28,28], labels=integers[n], writer=..., split=...)"

_COPY_AGAIN: Final = "the file is damaged: copy it again"

_NAMED: Final = 8
_NAMED_CHARS: Final = 200
"""Of the arrays that a message names."""


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
                raise bad_data(f"{path}: images is {member.dtype}{list(member.shape)}", _images_hint(member.dtype, member.shape))
            check_count(path, self.labels, member.shape[0])

    def images(self, rows: NDArray[np.int64]) -> Images:
        """The pixels of `rows` (ascending); the archive is streamed and all else dropped."""
        chosen = np.empty((len(rows), SIDE, SIDE), dtype=np.uint8)
        with _Member(self._path, "images") as member:
            if member.by_columns:
                # Column order, as MATLAB has it: all rows' first pixel, then all rows' next one below.
                for column in range(SIDE):
                    for line in range(SIDE):
                        chosen[:, line, column] = member.read_items(member.shape[0])[rows]
                return chosen
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
                raise no_column(self._path, name, member.dtype, member.shape)
            return member.read_rows(member.shape[0]).astype(np.int64)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        with path.open("rb") as stream:
            begins = stream.read(4)
        if begins == b"PK\x03\x04":
            size = path.stat().st_size
            raise bad_data(f"{path}: cut off: its {size} bytes end before the list of its arrays", _COPY_AGAIN) from error
        if begins == b"\x93NUM":
            raise bad_data(f"{path}: one array (.npy), not an archive of several", _HINT) from error
        raise bad_data(f"{path}: no numpy archive: {error if begins else 'it is empty'}", _HINT) from error


def _images_hint(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """What images must be, with the way from the usual other forms."""
    hint = f"images must be uint8[rows, {SIDE}, {SIDE}], white ink (255) on black (0)"
    ways = []
    if shape[1:] in ((SIDE * SIDE,), (SIDE, SIDE, 1), (1, SIDE, SIDE)):
        ways.append(f"images.reshape(-1, {SIDE}, {SIDE})")
    if dtype.kind == "f":
        ways.append("(images * 255).round().astype('uint8') if they go from 0 to 1, images.astype('uint8') if to 255")
    return ": ".join((hint, ", then ".join(ways))) if ways else hint


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
            held = ", ".join(sorted(name.removesuffix(".npy") for name in self._archive.namelist())[:_NAMED]) or "none"
            raise bad_data(f"{self._path}: has no array {self._name!r}, but {held[:_NAMED_CHARS]}", _HINT) from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise self._damaged(error) from error
        try:
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            self.shape, fortran, self.dtype = read_header(stream)
        except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            stream.close()
            raise self._damaged(error) from error
        self.by_columns = fortran and len(self.shape) > 1
        if self.dtype.hasobject:
            stream.close()
            raise bad_data(f"{self._path}: {self._name} holds Python objects (a pickle), which are never read", _HINT)
        if not self.shape or self.shape[0] > _MAX_ROWS:
            stream.close()
            raise bad_data(f"{self._path}: {self._name} is {self.dtype}{list(self.shape)}, not a plain array of rows", _HINT)
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return stream

    def read_rows(self, count: int) -> NDArray[np.generic]:
        """The next `count` rows, flat."""
        return self._read(count * self._row_bytes)

    def read_items(self, count: int) -> NDArray[np.generic]:
        """The next `count` numbers."""
        return self._read(count * self.dtype.itemsize)

    def _read(self, size: int) -> NDArray[np.generic]:
        try:
            data = self._stream.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._damaged(error) from error
        if len(data) != size:
            raise bad_data(f"{self._path}: {self._name} ends early", _COPY_AGAIN)
        return np.frombuffer(data, dtype=self.dtype)

    def _damaged(self, error: Exception) -> OperatorError:
        return bad_data(f"{self._path}: {self._name} cannot be read: {error}", _COPY_AGAIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._archive.close()
