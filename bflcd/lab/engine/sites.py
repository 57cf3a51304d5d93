"""How right a model is at each site, told from the test rows alone, so that no row is measured twice and none was trained on.

Where rows are dealt by writer, a site is a writer of test rows. Else it is a device: a deal by label, or by lot, gives devices
other mixes of the same classes and nothing else of their own, so the model is as right on fresh rows of a device as it is on
each class, weighted by the device's mix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEAST_ROWS: Final = 10
"""A writer with fewer test rows is no site: one row would move it by more than ten points."""

SITE_FIGURES: Final = ("site_worst", "site_tenth", "site_mean")
"""Shares in the record of a measured round: of the accuracies by site the lowest, the mean of the lowest tenth, the mean."""

WRITERS: Final = "writers of test rows"
MIXES: Final = "devices, by their classes"


@dataclass(frozen=True, slots=True)
class Sites:
    """`what` a site is and how many there are; the kind of each test row; the share of each kind at each site.

    `shares`: [count, kinds], rows sum to 1; None: site i is kind i, and kind `count` is of no site.
    """

    what: str
    count: int
    kinds: NDArray[np.int64]
    shares: NDArray[np.float64] | None = None

    def accuracies(self, right: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How right the model is at each site, 0 to 1, of whether it is right on each test row."""
        rates = np.bincount(self.kinds, weights=right) / np.maximum(np.bincount(self.kinds), 1)
        return rates[: self.count] if self.shares is None else np.clip(self.shares @ rates, 0.0, 1.0)


def sites_of_writers(writers: NDArray[np.integer]) -> Sites | None:
    """A site for each writer with at least LEAST_ROWS test rows; `writers`: who made each test row. None where nobody has."""
    _, ranks, counts = np.unique(writers, return_inverse=True, return_counts=True)
    chosen = counts >= LEAST_ROWS
    count = int(chosen.sum())
    return Sites(WRITERS, count, np.where(chosen, np.cumsum(chosen) - 1, count)[ranks]) if count else None


def sites_of_classes(parts: Sequence[NDArray[Any]], tested: NDArray[Any]) -> Sites | None:
    """A site for each device; `parts`: classes of its rows, `tested`: of the test rows.

    Classes without a test row are left out of a device's mix, devices of such classes alone are no sites. None where targets are
    no classes, or no device is left.
    """
    if tested.ndim != 1 or not np.issubdtype(tested.dtype, np.integer):
        return None
    names, kinds = np.unique(tested, return_inverse=True)
    counts = np.array([_counted(part, names) for part in parts], dtype=np.float64).reshape(len(parts), len(names))
    known = counts[counts.sum(1) > 0]
    return Sites(MIXES, len(known), kinds.astype(np.int64), known / known.sum(1, keepdims=True)) if len(known) else None


def _counted(part: NDArray[Any], names: NDArray[Any]) -> NDArray[np.int64]:
    places = np.searchsorted(names, part)
    inside = places < len(names)
    return np.bincount(places[inside][names[places[inside]] == part[inside]], minlength=len(names))


def site_figures(sites: Sites, right: NDArray[np.bool_]) -> dict[str, Any]:
    """What is recorded: how many sites there are, what a site is, and SITE_FIGURES."""
    found = np.sort(sites.accuracies(right))
    shares = (found[0], found[: -(-len(found) // 10)].mean(), found.mean())
    return {"sites": len(found), "site": sites.what, **dict(zip(SITE_FIGURES, map(float, shares), strict=True))}
