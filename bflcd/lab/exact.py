"""The daemons' exact aggregation (`bflcd.learn.aggregate`) on flat vectors wherever they lie: the same integers, the same bytes.

Integer arithmetic has one result on every machine, so a GPU may do it. A test holds both against each other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from bflcd.errors import InvariantError
from bflcd.learn.aggregate import FIXED_LIMIT, FRACTION_BITS, HALF_BITS, bound_of, scale_to
from bflcd.registry import entry_of

_COLUMNS = 2**20
"""Coordinates sorted at a time."""


def aggregate(rule: str, model: Tensor, updates: Tensor, weights: Sequence[int], limit: int | None) -> Tensor:
    """The next model [n] of `model` [n] and packed `updates` [places, n] with integer weights; `model` itself without updates.

    `limit`: the largest norm of the step, as norms stand on cards; below 0: its amount, which holds each update too, and half of
    that of `model`; None: none.

    Raises InvariantError for an unknown rule, or another number of weights than updates.
    """
    step_of = entry_of(RULES, rule, "aggregation rule")
    if len(updates) != len(weights):
        raise InvariantError(f"{len(updates)} updates, but {len(weights)} weights")
    if len(updates) == 0:
        return model
    start = _to_fixed(model)
    step = step_of(updates, weights, None if limit is None or limit >= 0 else bound_of(limit, 0))
    return _to_floats(start + _shortened(step, limit, start))


def _fedavg(updates: Tensor, weights: Sequence[int], bound: int | None) -> Tensor:
    total = torch.zeros_like(updates[0], dtype=torch.int64)
    for update, weight in zip(updates, weights, strict=True):
        total += _scaled(fixed := _to_fixed(update), _scale_of(fixed, bound)) * weight
    return _divide(total, sum(weights))


def _median(updates: Tensor, _weights: Sequence[int], bound: int | None) -> Tensor:
    scales = [_scale_of(_to_fixed(update), bound) if bound is not None else None for update in updates]
    result = torch.empty_like(updates[0], dtype=torch.int64)
    low, high = (len(updates) - 1) // 2, len(updates) // 2
    for begin in range(0, len(result), _COLUMNS):
        parts = _to_fixed(updates[:, begin : begin + _COLUMNS])
        ranked = torch.stack([_scaled(*each) for each in zip(parts, scales, strict=True)]).sort(dim=0).values
        result[begin : begin + _COLUMNS] = ranked[low] if low == high else _divide(ranked[low] + ranked[high], 2)
    return result


RULES: Final[Mapping[str, Callable[[Tensor, Sequence[int], int | None], Tensor]]] = {"fedavg": _fedavg, "median": _median}
"""By the names of `bflcd.learn.aggregate.RULES`."""


def _shortened(step: Tensor, limit: int | None, start: Tensor) -> Tensor:
    if limit is None:
        return step
    return _scaled(step, _scale_of(step, bound_of(limit, _squares(start) if limit < 0 else 0)))


def _scale_of(step: Tensor, bound: int | None) -> int | None:
    return None if bound is None else scale_to(bound, _squares(step))


def _scaled(step: Tensor, scale: int | None) -> Tensor:
    return step if scale is None else _divide(step * scale, 1 << FRACTION_BITS)


def _squares(step: Tensor) -> int:
    total = 0
    for begin in range(0, len(step), _COLUMNS):
        part = step[begin : begin + _COLUMNS]
        high, low = part >> HALF_BITS, part & (2**HALF_BITS - 1)
        total += int((high * high).sum()) << 2 * HALF_BITS
        total += int((high * low).sum()) << HALF_BITS + 1
        total += int((low * low).sum())
    return total


def _to_fixed(floats: Tensor) -> Tensor:
    return (floats * float(2**FRACTION_BITS)).round().to(torch.int64)


def _to_floats(fixed: Tensor) -> Tensor:
    return (fixed.clamp(-FIXED_LIMIT, FIXED_LIMIT).double() * 2.0**-FRACTION_BITS).float()


def _divide(total: Tensor, divisor: int) -> Tensor:
    """Nearest integer, ties to even."""
    quotient = total.div(divisor, rounding_mode="floor")
    twice = 2 * (total - quotient * divisor)
    up: Tensor = (twice > divisor) | ((twice == divisor) & (quotient & 1 == 1))
    return quotient + up
