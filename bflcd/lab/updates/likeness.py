"""How near guessed rows are to true ones: mean square, peak signal to noise, structure; and which guess is of which row."""

from dataclasses import dataclass
from math import inf, isfinite, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW: Final = 7
"""Pixels of a side over which structure is compared (Wang et al. 2004 take eleven of a much larger image)."""

MOST_DECIBELS: Final = 60.0
"""What an exact row counts with: beyond it rounding is compared."""

_FIRST, _SECOND = 0.01, 0.03
"""Wang et al.'s constants, in shares of the range."""


@dataclass(frozen=True, slots=True)
class Nearness:
    """Of one guessed row, or one that was matched: decibels, and the structural similarity if rows are images."""

    decibels: float
    structure: float | None


def squares(guesses: Array, rows: Array) -> Array:
    """The mean square difference of each guess to each row, [guesses, rows]."""
    flat, own = guesses.reshape(len(guesses), -1), rows.reshape(len(rows), -1)
    return np.asarray(((flat[:, None] - own[None]) ** 2).mean(-1))


def match(distances: Array) -> NDArray[np.int64]:
    """Of each row the guess that is taken for it, every guess once: nearest pairs first. `distances` [guesses, rows]; an infinite
    one is of no pair."""
    left, found = distances.copy(), np.full(distances.shape[1], -1, dtype=np.int64)
    while (found < 0).any():
        guess, row = np.unravel_index(int(np.argmin(left)), left.shape)
        if not isfinite(left[guess, row]):
            break
        found[row] = guess
        left[guess, :] = left[:, row] = inf
    return found


def decibels(square: float, span: float) -> float:
    """The peak signal to noise ratio of a mean square difference, where values span so much."""
    return MOST_DECIBELS if square <= 0 else min(MOST_DECIBELS, 10 * log10(span**2 / square))


def structure(one: Array, other: Array, span: float) -> float | None:
    """The structural similarity of two images (Wang et al. 2004), the mean over windows and channels; None for what is none."""
    if one.ndim < 2:
        return None
    side = min(WINDOW, *one.shape[-2:])
    cuts = [np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(-2, -1)) for image in (one, other)]
    means = [cut.mean((-2, -1)) for cut in cuts]
    variances = [cut.var((-2, -1)) for cut in cuts]
    both = (cuts[0] * cuts[1]).mean((-2, -1)) - means[0] * means[1]
    first, second = (_FIRST * span) ** 2, (_SECOND * span) ** 2
    bright = (2 * means[0] * means[1] + first) / (means[0] ** 2 + means[1] ** 2 + first)
    return float((bright * (2 * both + second) / (variances[0] + variances[1] + second)).mean())


def nearness(guess: Array, row: Array, span: float) -> Nearness:
    """Of one guess to its row."""
    return Nearness(decibels(float(((guess - row) ** 2).mean()), span), structure(guess, row, span))
