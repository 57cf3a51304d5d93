"""What one model gets wrong on a fixed sample of a node's own rows, counted by class; pure, for the daemon and the laboratory."""

from dataclasses import dataclass
from typing import Final

from bflcd.params import MILLION
from bflcd.types import PartsPerMillion

MOST_ROWS: Final = 256
"""Rows of a sample at most: one small pass a round, and as many classes at most."""


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """Counts of rows, one entry a class that the sample has rows of, ascending by `labels`.

    `rows`: of the class; `missed`: of these, how many the model gets wrong; `taken`: rows of other classes that it calls by this
    one. `strayed`: rows that it calls by a class of which the sample has none. Targets that are no classes count as one, label 0.
    """

    labels: tuple[int, ...]
    rows: tuple[int, ...]
    missed: tuple[int, ...]
    taken: tuple[int, ...]
    strayed: int = 0

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.rows) == len(self.missed) == len(self.taken):
            raise ValueError(f"{len(self.labels)} classes, and {len(self.rows)}, {len(self.missed)}, {len(self.taken)} counts")

    @property
    def total(self) -> int:
        """Rows of the sample."""
        return sum(self.rows)

    @property
    def wrong(self) -> int:
        """Rows that the model gets wrong."""
        return sum(self.missed)

    def same_sample(self, other: "ClassErrors") -> bool:
        """Whether both can be of the same rows: as many of each class."""
        return (self.labels, self.rows) == (other.labels, other.rows)

    def change_since(self, before: "ClassErrors") -> tuple[int, ...]:
        """By how many rows errors have risen, by class missed and by class taken, and strayed; both of one sample."""
        now, then = (*self.missed, *self.taken, self.strayed), (*before.missed, *before.taken, before.strayed)
        return tuple(one - other for one, other in zip(now, then, strict=True))


def share_of(wrong: int, rows: int) -> PartsPerMillion:
    """floor(10^6 * wrong / rows); 0 of no rows."""
    return PartsPerMillion(wrong * MILLION // rows if rows else 0)
