"""A curve in the terminal: each character is a braille cell of 2 by 4 dots, so 60 columns resolve 120 rounds.

Where the terminal's encoding has no braille, stars and half the resolution do.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_BRAILLE: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a cell, by row and column (Unicode 15, section 21.1)."""

_AXIS: Final = 8
"""Columns that the axis of values takes."""

MIN_WIDTH: Final = 24
MIN_HEIGHT: Final = 3

Point = tuple[float, float]


def curve(points: Sequence[Point], *, width: int, height: int, unicode: bool = True) -> str:
    """Lines of at most `width` columns: `height` of curve with its values in per cent, one with the first and last x.

    Values (the second of each pair) are shares from 0 to 1. Nothing for fewer than two points.
    """
    if len(points) < 2:
        return ""
    columns, rows = max(width, MIN_WIDTH) - _AXIS, max(height, MIN_HEIGHT)
    low, high = _bounds([y for _, y in points])
    first, last = points[0][0], points[-1][0]
    fine_columns, fine_rows = (columns * 2, rows * 4) if unicode else (columns, rows)
    cells = [[0] * columns for _ in range(rows)]
    for column in range(fine_columns):
        x = first + (last - first) * column / (fine_columns - 1)
        row = round((high - _at(points, x)) / (high - low) * (fine_rows - 1))
        if unicode:
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
        else:
            cells[row][column] = 1
    lines = []
    for index, cell_row in enumerate(cells):
        value = high - (high - low) * index / (rows - 1)
        drawn = "".join(chr(_BRAILLE + cell) if cell else " " for cell in cell_row) if unicode else _stars(cell_row)
        lines.append(f"{100 * value:5.1f} {'┤' if unicode else '|'} {drawn}".rstrip())
    ends = f"{first:g}".ljust(columns - len(f"{last:g}")) + f"{last:g}"
    return "\n".join([*lines, " " * _AXIS + ends])


def _stars(cells: Sequence[int]) -> str:
    return "".join("*" if cell else " " for cell in cells)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest value, widened to full tenths, and never equal."""
    low, high = int(min(values) * 10) / 10, -int(-max(values) * 10 // 1) / 10
    return (low, high) if high > low else (max(0.0, low - 0.1), low + 0.1)


def _at(points: Sequence[Point], x: float) -> float:
    """The polygon's value at `x`; `points` sorted by their first."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * max(0.0, x - x0) / (x1 - x0)
    return points[-1][1]
