"""Whether two updates are too alike to be two people's work: cosines in exact integers (design 5.2).

Each vector is brought to whole numbers below 2^18 by a power of two of its own, which leaves its direction as it is:

    v = rint(x * 2^(18 - e)),  max |x| in [2^(e - 1), 2^e)

A power of two only shifts a float's exponent, so v is exact; of at most 2^11 coordinates every sum of products is below 2^47,
which float64 and int64 hold exactly in any order. Two vectors are alike if a . b > 0 and (a . b)^2 >= limit^2 |a|^2 |b|^2, in
whole numbers. So on models of up to 2^11 weights all judges find the same, whatever machine they have. Of larger models a judge
looks at coordinates that nobody else knows: were they drawn by the round's seed, a copier would put its noise there alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bflcd.params import MILLION
from bflcd.types import Digest, PartsPerMillion
from bflcd.wire.tensors import Floats

SAMPLE: Final = 2**11
"""Coordinates that are compared at most."""

BITS: Final = 18
"""A coordinate's whole number is at most 2^18."""

LEAST_WEIGHTS: Final = 256
"""Vectors of fewer weights are compared with nothing: with so few, honest ones point the same way."""

MOST_NAMED: Final = 64
"""Updates that one is said to be like, at most: the first of them."""

_SLACK: Final = 1e-6
"""Of a cosine in floats."""

Whole = NDArray[np.float64]
"""Whole numbers within +-2^18, as floats: no integer is multiplied as fast."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A vector's whole numbers, and the sum of their squares."""

    values: Whole
    squares: int

    @classmethod
    def of(cls, floats: Floats) -> "Direction":
        """Of at most `SAMPLE` finite floats."""
        largest = float(np.abs(floats).max(initial=0.0))
        shift = BITS - frexp(largest)[1]
        values = np.rint(floats.astype(np.float64) * 2.0**shift)
        return cls(values, product(values, values))


def product(a: Whole, b: Whole) -> int:
    """The exact a . b. No `@`: the threads of its library would spin through the next forward pass."""
    return int(np.einsum("i,i->", a, b))


def alike(dot: int, squares: int, limit: PartsPerMillion) -> bool:
    """Whether a cosine is at least `limit`, which is above 0: by the product of two vectors, and that of their sums of squares.

    A vector of zeros is like nothing.
    """
    return dot > 0 and (dot * MILLION) ** 2 >= limit**2 * squares


@dataclass(frozen=True, slots=True)
class Likeness:
    """What an update is too alike to: others by their keys, in the order in which they were compared; the model's last step."""

    others: tuple[Digest, ...] = ()
    repeats: bool = False


class Comparison:
    """The updates of one round beside each other; of vectors it takes what `gather` leaves of them."""

    def __init__(self, weights: int, seed: int, limit: PartsPerMillion) -> None:
        """`seed`: private, draws which of so many weights are looked at, all of up to `SAMPLE`. `limit` 0: no copies."""
        self._limit = limit if weights >= LEAST_WEIGHTS else PartsPerMillion(0)
        self.places: NDArray[np.int64] | None = None
        """Which weights are looked at, ascending; None: all."""
        if weights > SAMPLE:
            drawn = np.random.Generator(np.random.PCG64(seed)).choice(weights, size=SAMPLE, replace=False, shuffle=False)
            self.places = np.sort(drawn)
        self._last: Direction | None = None
        self._keys: list[Digest] = []
        self._squares: list[int] = []
        self._rows = np.empty((0, min(weights, SAMPLE)))

    def gather(self, floats: Floats) -> Floats:
        """Of a whole vector what is looked at."""
        return floats if self.places is None else floats[self.places]

    def last_step(self, step: Floats) -> None:
        """What the round before did to the model: whoever offers that again has done nothing."""
        self._last = Direction.of(step)

    def look(self, keys: Sequence[Digest], updates: Sequence[Floats]) -> list[Likeness]:
        """What each update is like among those that this has seen before, and those before it in `updates`."""
        return [self._one(key, update) for key, update in zip(keys, updates, strict=True)]

    def _one(self, key: Digest, update: Floats) -> Likeness:
        if not self._limit:
            return Likeness()
        mine = Direction.of(update)
        seen = [number for number in self._nearest(mine) if self._keys[number] != key]
        repeats = self._last is not None and self._is_one(product(mine.values, self._last.values), mine, self._last.squares)
        others = tuple(self._keys[number] for number in seen[:MOST_NAMED])
        self._keep(key, mine)
        return Likeness(others, repeats)

    def _nearest(self, mine: Direction) -> list[int]:
        """The numbers of those seen that are one with it. Floats leave out what is far from the limit; integers decide."""
        dots = np.einsum("ij,j->i", self._rows[: len(self._keys)], mine.values)
        cosines = dots / np.sqrt(np.maximum(np.array(self._squares, dtype=np.float64) * mine.squares, 1.0))
        near = np.flatnonzero(cosines > self._limit / MILLION - _SLACK).tolist()
        return [number for number in near if self._is_one(int(dots[number]), mine, self._squares[number])]

    def _is_one(self, dot: int, mine: Direction, squares: int) -> bool:
        return alike(dot, mine.squares * squares, self._limit)

    def _keep(self, key: Digest, mine: Direction) -> None:
        if len(self._keys) == len(self._rows):
            more = np.empty((max(8, len(self._rows)), self._rows.shape[1]))
            self._rows = np.concatenate((self._rows, more))
        self._rows[len(self._keys)] = mine.values
        self._keys.append(key)
        self._squares.append(mine.squares)
