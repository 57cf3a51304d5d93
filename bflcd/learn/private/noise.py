"""Draws that nobody can foretell or repeat: which rows a step looks at, and the noise that covers them."""

import os
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

_UNIFORM_BITS: Final = 53
"""Of a float64 in (0, 1]."""


class Chance:
    """Draws from bytes that `source` gives: the system's own by default, never a seed of torch or numpy in a daemon.

    A generator that could be reset, or whose state could be told from its output, would take the noise off again.
    """

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        """`source`: so many bytes; another one for tests and the laboratory, whose runs can be repeated."""
        self._source = source

    def sample(self, rows: int, lots: int) -> NDArray[np.int64]:
        """Positions among `rows`, ascending, each drawn by itself with probability 1 / `lots`: any number of them, also none."""
        if lots == 1:
            return np.arange(rows, dtype=np.int64)
        return np.flatnonzero(self._words(rows) < np.uint64(2**64 // lots))

    def gaussian(self, count: int) -> NDArray[np.float64]:
        """So many independent standard normal values (Box and Muller 1958)."""
        half = (count + 1) // 2
        radius = np.sqrt(-2.0 * np.log(self._uniform(half)))
        angle = 2.0 * np.pi * self._uniform(half)
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]

    def _uniform(self, count: int) -> NDArray[np.float64]:
        """In (0, 1], in steps of 2^-53."""
        kept = (self._words(count) >> np.uint64(64 - _UNIFORM_BITS)).astype(np.float64)
        return (kept + 1.0) * 2.0**-_UNIFORM_BITS

    def _words(self, count: int) -> NDArray[np.uint64]:
        return np.frombuffer(self._source(8 * count), dtype=np.uint64)
