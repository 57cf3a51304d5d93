"""How far a point stands out from a few others, by their density: the local outlier factor (Breunig et al., SIGMOD 2000)."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def outlier_factor(point: Points, others: Points, neighbours: int, least: float) -> float:
    """The local outlier factor of `point` [d] among `others` [n, d]: about 1 where it lies as densely as its neighbours do.

    reach(p, o) = max(k-distance(o), d(p, o), `least`); lrd(p) = 1 / mean reach of p to its k nearest; the factor is the mean lrd
    of these over lrd(p). `least` > 0, in the unit of the points: nearer than that two are one, so that others which are all the
    same don't make everything else infinitely odd. `neighbours` is k. Raises ValueError if there are not more than k others.
    """
    if not 0 < neighbours < len(others):
        raise ValueError(f"{neighbours} neighbours of {len(others)} points")
    between = np.linalg.norm(others[:, None] - others[None], axis=-1)
    np.fill_diagonal(between, np.inf)
    far = np.sort(between, axis=1)[:, neighbours - 1]
    reach = np.maximum(np.maximum(between, far[None]), least)
    density = 1.0 / _mean_of_nearest(reach, between, neighbours)
    away = np.linalg.norm(others - point, axis=-1)
    near = np.argsort(away, kind="stable")[:neighbours]
    own = 1.0 / np.maximum(np.maximum(away[near], far[near]), least).mean()
    return float(density[near].mean() / own)


def _mean_of_nearest(reach: Points, between: Points, neighbours: int) -> Points:
    """Of each point the mean reach to its nearest, [n]."""
    near = np.argsort(between, axis=1, kind="stable")[:, :neighbours]
    means: Points = np.take_along_axis(reach, near, axis=1).mean(axis=1)
    return means
