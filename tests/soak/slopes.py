"""Whether something grows: a straight line through the means of blocks of rounds, with the error of its slope."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCKS = 10
"""Blocks of rounds whose means are fitted: neighbouring samples depend on each other, means of long blocks hardly do."""

T_CRITICAL = 3.36
"""Student's t for 8 degrees of freedom, two-sided 1 %: what chance alone reaches once in a hundred quantities."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per 1,000 rounds, the error of that figure (one standard error), and the level at the first block."""

    per_thousand: float
    error: float
    level: float

    @property
    def measurable(self) -> bool:
        """Whether growth (not shrinking) stands out of the error."""
        return self.per_thousand > 0 and self.per_thousand > T_CRITICAL * self.error


def fit(rounds: Sequence[float], values: Sequence[float], blocks: int = BLOCKS) -> Slope:
    """The slope of `values` over `rounds`. Raises ValueError with fewer than three samples a block."""
    x, y = np.asarray(rounds, float), np.asarray(values, float)
    edges = np.linspace(x.min(), x.max(), blocks + 1)
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, blocks - 1)
    counts = np.bincount(place, minlength=blocks)
    if counts.min() >= 3 and np.ptp(y) == 0:
        return Slope(0.0, 0.0, float(y[0]))  # exactly, where arithmetic would leave a trace of rounding
    if counts.min() < 3:
        raise ValueError(f"{len(x)} samples are too few for {blocks} blocks: let the soak run longer, or sample more often")
    mean_x = np.bincount(place, x, blocks) / counts
    mean_y = np.bincount(place, y, blocks) / counts
    spread = mean_x - mean_x.mean()
    slope = float((spread * mean_y).sum() / (spread**2).sum())
    rest = mean_y - mean_y.mean() - slope * spread
    error = float(np.sqrt((rest**2).sum() / (blocks - 2) / (spread**2).sum()))
    return Slope(1000 * slope, 1000 * error, float(mean_y[0]))
