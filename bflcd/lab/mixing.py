"""What a server may do with updates before its rule sees them: average each with others, so that honest ones agree more.

Both make equal of what samples were claimed: their papers weigh nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from bflcd.lab.rules import AggregationInput, combined, squared_distances

Mixing = Callable[[AggregationInput], AggregationInput]


def unmixed(given: AggregationInput) -> AggregationInput:
    """As they came, claims too."""
    return given


def nearest_neighbours(given: AggregationInput) -> AggregationInput:
    """NNM: in the place of each update the mean of the n - f nearest to it, itself among them (Allouah et al. 2023)."""
    count = len(given.updates)
    kept = max(1, count - given.adversaries)
    nearest = squared_distances(given.updates).argsort(dim=1, stable=True)[:, :kept]
    shares = torch.zeros((count, count), dtype=torch.float64, device=given.updates.device).scatter_(1, nearest, 1 / kept)
    return _mixed(given, shares)


def buckets(given: AggregationInput) -> AggregationInput:
    """Bucketing: the means of `bucket` updates each, in the order drawn; the last may be of fewer (Karimireddy et al. 2022).

    An adversary spoils one bucket, so f stays what it is, of fewer.
    """
    count, size = len(given.updates), given.bucket
    shares = torch.zeros((-(-count // size), count), dtype=torch.float64, device=given.updates.device)
    for bucket, share in enumerate(shares):
        members = given.order[bucket * size : (bucket + 1) * size]
        share[list(members)] = 1 / len(members)
    return _mixed(given, shares)


MIXINGS: Final[Mapping[str, Mixing]] = {"none": unmixed, "nnm": nearest_neighbours, "bucketing": buckets}
"""By the names of `bflcd.lab.config.Mixing`."""


def _mixed(given: AggregationInput, shares: Tensor) -> AggregationInput:
    """The updates by `shares` [mixed, updates], all claiming alike."""
    mixed = combined(given.updates, shares)
    return replace(given, updates=mixed, claims=torch.ones(len(mixed), device=mixed.device))
