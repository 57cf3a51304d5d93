"""Aggregation rules of the literature, as their papers state them, for servers that BFLC is compared with.

Each maps updates [n, weights] of one round to the step [weights] that the model takes. `claims` [n] are the numbers of samples,
`adversaries` is the number f that the rules which need one are told: the true one, which flatters them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_COLUMNS = 2**20
"""Coordinates sorted at a time."""

WEISZFELD_STEPS: Final = 32
WEISZFELD_SMOOTHING: Final = 1e-6
WEISZFELD_TOLERANCE: Final = 1e-5
"""Of the geometric median (Pillutla et al. 2022): iterations at most, smallest distance, relative change that counts as none."""


@dataclass(frozen=True, slots=True)
class AggregationInput:
    """What a server knows of one round.

    `trusted` [weights]: FLTrust's own update from its root rows, None for other rules. `before` [weights]: the last round's step,
    zeros at first, and `radius`: how far from it an update may pull (centred clipping). `order`: the updates in an order that was
    drawn, and `bucket`: how many are averaged (bucketing).
    """

    updates: Tensor
    claims: Tensor
    adversaries: int
    trusted: Tensor | None = None
    before: Tensor | None = None
    radius: float = 1.0
    order: tuple[int, ...] = ()
    bucket: int = 2


Rule = Callable[[AggregationInput], Tensor]


def fedavg(given: AggregationInput) -> Tensor:
    """The mean by samples (McMahan et al. 2017)."""
    return _mean(given.updates, given.claims)


def coordinate_median(given: AggregationInput) -> Tensor:
    """CwMed: the median of each coordinate, of an even count the mean of the middle two (Yin et al. 2018)."""
    count = len(given.updates)
    return _by_rank(given.updates, (count - 1) // 2, count // 2 + 1)


def trimmed_mean(given: AggregationInput) -> Tensor:
    """The mean of each coordinate without its f largest and f smallest (Yin et al. 2018); f below half."""
    count = len(given.updates)
    cut = min(given.adversaries, (count - 1) // 2)
    return _by_rank(given.updates, cut, count - cut)


def multi_krum(given: AggregationInput) -> Tensor:
    """The mean of the n - f updates nearest to their n - f - 2 nearest (Blanchard et al. 2017); f at most (n - 3) / 2."""
    count = len(given.updates)
    f = max(0, min(given.adversaries, (count - 3) // 2))
    if count < 3:
        return given.updates.mean(0)
    distances = squared_distances(given.updates)
    nearest = distances.sort(dim=1).values[:, 1 : 1 + max(1, count - f - 2)].sum(1)
    chosen = nearest.argsort(stable=True)[: count - f]
    return given.updates[chosen.sort().values].mean(0)


def geometric_median(given: AggregationInput) -> Tensor:
    """RFA: the smoothed geometric median by Weiszfeld's steps, weighted by samples (Pillutla et al. 2022)."""
    updates, shares = given.updates, given.claims / given.claims.sum()
    middle = _mean(updates, given.claims)
    for _ in range(WEISZFELD_STEPS):
        distances = torch.stack([torch.linalg.vector_norm(update - middle) for update in updates]).double()
        weights = shares / distances.clamp(min=WEISZFELD_SMOOTHING)
        moved = _mean(updates, weights)
        change = torch.linalg.vector_norm(moved - middle)
        middle = moved
        if change <= WEISZFELD_TOLERANCE * torch.linalg.vector_norm(moved):
            break
    return middle


def fltrust(given: AggregationInput) -> Tensor:
    """Updates scaled to the server's own, weighted by max(0, cosine with it) (Cao et al. 2021)."""
    trusted = given.trusted
    assert trusted is not None
    size = torch.linalg.vector_norm(trusted)
    norms = torch.stack([torch.linalg.vector_norm(update) for update in given.updates])
    alike = (given.updates @ trusted) / (norms * size).clamp(min=1e-12)
    scores = alike.clamp(min=0.0)
    total = scores.sum()
    if total <= 0:
        return torch.zeros_like(trusted)
    return combined(given.updates, scores * size / norms.clamp(min=1e-12) / total)


def centered_clipping(given: AggregationInput) -> Tensor:
    """The last step, moved by the mean of the differences to it, each cut to `radius`, once (Karimireddy et al. 2021)."""
    before = given.before
    assert before is not None
    distances = torch.stack([torch.linalg.vector_norm(update - before) for update in given.updates])
    kept = (given.radius / distances.clamp(min=1e-12)).clamp(max=1.0)
    return before * (1 - kept.mean()) + combined(given.updates, kept / len(kept))


RULES: Final[Mapping[str, Rule]] = {
    "fedavg": fedavg,
    "cwmed": coordinate_median,
    "trimmed-mean": trimmed_mean,
    "multi-krum": multi_krum,
    "geometric-median": geometric_median,
    "fltrust": fltrust,
    "centered-clipping": centered_clipping,
}
"""By the name of the framework that uses it."""


def _mean(updates: Tensor, weights: Tensor) -> Tensor:
    return combined(updates, weights / weights.sum())


def combined(updates: Tensor, weights: Tensor) -> Tensor:
    """The sum of updates times weights: [weights] for one row of them, a row each for several."""
    total: Tensor = weights.to(updates.dtype) @ updates
    return total


def _by_rank(updates: Tensor, first: int, end: int) -> Tensor:
    """The mean of ranks `first` to `end` - 1 of each coordinate."""
    parts = [
        updates[:, begin : begin + _COLUMNS].sort(dim=0).values[first:end].mean(0)
        for begin in range(0, updates.shape[1], _COLUMNS)
    ]
    return torch.cat(parts)


def squared_distances(updates: Tensor) -> Tensor:
    """[n, n] in float64, from products of differences to the mean, summed over slices of coordinates."""
    centred_products = torch.zeros((len(updates), len(updates)), dtype=torch.float64, device=updates.device)
    for begin in range(0, updates.shape[1], _COLUMNS):
        part = updates[:, begin : begin + _COLUMNS].double()
        part = part - part.mean(0)
        centred_products += part @ part.T
    squares = centred_products.diagonal()
    return (squares[:, None] + squares[None] - 2 * centred_products).clamp(min=0.0).fill_diagonal_(0.0)
