"""Whether a model is worse on a node's own rows than its steps so far explain: the watch of ADR 39, without clock or I/O.

The step from one model to the next is held against the last LOOKED_BACK steps that the same node saw:

- rise: errors rose by LEAST_RISE of all rows more than in any of these, or by LEAST_CLASS_RISE of a class with enough rows;
- outlier: the vector of what changed in each class (BaFFLe: Andreina et al., ICDCS 2021) is an outlier by the local outlier
  factor (Breunig et al., SIGMOD 2000), and errors rose by LEAST_RISE of all rows: a model that gets better alarms nobody.

The limits were chosen by measurement (docs/adr/0039-watching-models.md).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from bflcd.learn.watching.errors import ClassErrors, share_of
from bflcd.learn.watching.outliers import outlier_factor
from bflcd.params import MILLION
from bflcd.types import PartsPerMillion

LOOKED_BACK: Final = 20
"""Steps that say what is usual, as in BaFFLe. Before there are so many nothing alarms: young models move in all ways."""

NEIGHBOURS: Final = 10
"""k of the local outlier factor: half of the steps."""

ODD: Final = 2.0
"""Local outlier factor from which on a step is odd: where it lies, steps are half as dense as where its neighbours do."""

SAME: Final = 1.0
"""Rows: steps that differ by less are one. Steps of a finished model often change nothing at all."""

LEAST_RISE: Final = PartsPerMillion(20_000)
"""Of all rows, what errors have to rise by: less is not worth waking anybody."""

LEAST_CLASS_RISE: Final = PartsPerMillion(100_000)
"""Of the rows of one class."""

LEAST_ROWS: Final = 3
"""Rows that errors have to rise by, however few a node has: a row or two turn wrong by chance."""

MIN_CLASS_ROWS: Final = 10
"""Rows of a class without which it is not looked at by itself."""


class Sign(StrEnum):
    """By what a step stands out; the value is the word that events have."""

    ROWS = "rows"
    """More of all rows became wrong than in any step that is remembered."""
    CLASS = "class"
    """More of one class became wrong than in any step that is remembered."""
    OUTLIER = "outlier"
    """What became wrong and right is unlike all steps that are remembered."""


@dataclass(frozen=True, slots=True)
class Rise:
    """Errors among `rows`, in millionths, before a step and after it. `label`: of which class, None: of all rows."""

    label: int | None
    rows: int
    before: PartsPerMillion
    after: PartsPerMillion


@dataclass(frozen=True, slots=True)
class Alarm:
    """A step that stands out. `of_all`: all rows; `worst`: the class with enough rows that rose most, None if none rose.

    `factor`: the local outlier factor.
    """

    sign: Sign
    of_all: Rise
    worst: Rise | None
    factor: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of a node's models: errors of the newest, and the last steps, the oldest first, LOOKED_BACK at most."""

    newest: ClassErrors | None = None
    steps: tuple[tuple[int, ...], ...] = ()

    @property
    def ripe(self) -> bool:
        """Whether there are enough steps to hold another against."""
        return len(self.steps) >= LOOKED_BACK


def take(memory: Memory, found: ClassErrors, *, follows: bool = True) -> tuple[Memory, Alarm | None]:
    """Take the errors of the next model: what is kept from now on, and the alarm if its step stands out.

    `follows`: whether the model is one step from the newest one; else (rounds were missed, managers went back) only where it
    stands is kept. Errors of other rows than before begin anew. A step that alarms is not kept: who harms and mends in turn
    would make a swing of any size usual.
    """
    before = memory.newest
    if before is None or not before.same_sample(found):
        return Memory(found), None
    if not follows:
        return replace(memory, newest=found), None
    step = found.change_since(before)
    alarm = _look(memory, before, found, step) if memory.ripe and found.total else None
    steps = memory.steps if alarm is not None else (*memory.steps, step)[-LOOKED_BACK:]
    return Memory(found, steps), alarm


def _look(memory: Memory, before: ClassErrors, found: ClassErrors, step: tuple[int, ...]) -> Alarm | None:
    steps, classes = np.array(memory.steps, dtype=np.int64), len(found.labels)
    past, rises = steps[:, :classes], step[:classes]
    factor = outlier_factor(np.array(step, dtype=np.float64), steps.astype(np.float64), NEIGHBOURS, SAME)
    rise, usual = sum(rises), max(0, int(past.sum(axis=1).max()))
    sign: Sign | None = None
    if _reaches(rise - usual, found.total, LEAST_RISE):
        sign = Sign.ROWS
    elif any(
        rows >= MIN_CLASS_ROWS and _reaches(one - max(0, int(most)), rows, LEAST_CLASS_RISE)
        for one, most, rows in zip(rises, past.max(axis=0), found.rows, strict=True)
    ):
        sign = Sign.CLASS
    elif factor >= ODD and _reaches(rise, found.total, LEAST_RISE):
        sign = Sign.OUTLIER
    if sign is None:
        return None
    of_all = Rise(None, found.total, share_of(before.wrong, found.total), share_of(found.wrong, found.total))
    return Alarm(sign, of_all, _worst(before, found), factor)


def _reaches(rise: int, rows: int, least: PartsPerMillion) -> bool:
    """Whether so many of `rows` are `least` of them, and LEAST_ROWS."""
    return rise >= LEAST_ROWS and rise * MILLION >= least * rows


def _worst(before: ClassErrors, found: ClassErrors) -> Rise | None:
    """The class with enough rows of which the greatest share became wrong; of several the lowest label."""
    classes = zip(found.labels, found.rows, before.missed, found.missed, strict=True)
    enough = [one for one in classes if one[1] >= MIN_CLASS_ROWS]
    rises = [Rise(label, rows, share_of(then, rows), share_of(now, rows)) for label, rows, then, now in enough]
    worst = max(rises, key=lambda one: one.after - one.before, default=None)
    return worst if worst is not None and worst.after > worst.before else None
