"""Aggregation that gives the same bytes on every machine.

Floating-point sums depend on their order, on the vector unit and on the library; a tolerance would let a proposer drift
inside it. So every weight becomes a fixed-point integer, F(x) = rint(x * 2^24), and all else is integer arithmetic (design 5):

    fedavg   step = (sum of w_i * F(update_i)) / W,  W = sum of w_i, rounded to nearest, ties to even
    median   step = median of F(update_i) by coordinate; of an even count the rounded mean of the middle two
    both     next = F(model) + step; a step whose norm is above the round's limit is first scaled down to it, and of a young model
             each update whose norm is above it

|x| <= 2^10 gives |F| <= 2^34; weights up to 2^16 of at most 2^11 updates give W <= 2^27 and a sum within 2^61; a step is within
2^34 again, and a scale is an integer below 2^24 over 2^24. The norm is the integer square root of an exact sum of squares.
Multiplying a float32 by 2^24 only shifts its exponent, and converting back rounds once, so both ends are exact too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bflcd.errors import InvariantError
from bflcd.learn.protocol import NORM_SCALE_BITS
from bflcd.params import TensorSpec
from bflcd.registry import entry_of
from bflcd.types import MAX_PLACES, MAX_WEIGHT
from bflcd.wire.tensors import Floats, join_payload, split_payload

FRACTION_BITS: Final = 24
"""Fixed-point places: finer than float32 resolves around 1."""

FIXED_LIMIT: Final = 2 ** (10 + FRACTION_BITS)
"""Fixed-point form of +-2^10."""

LEAST_OF_LIMIT: Final = 64
"""A young model that is next to nothing is moved by this part of what is usual, or one tiny step would keep it there."""

_MEDIAN_COLUMNS: Final = 2**16
"""Coordinates sorted at a time: bounds the median's working memory to 512 KiB an update."""

HALF_BITS: Final = 17
"""Of a step's fixed-point number, whose square has no room in 64 bits."""

_SQUARED: Final = 2**20
"""Coordinates squared at a time."""

Fixed = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WeightedUpdate:
    """One packed update: its integer weight (1 to 2^16), the label that its payload must carry, the payload."""

    weight: int
    label: str
    payload: bytes | memoryview


def aggregate(
    rule: str,
    model: bytes | memoryview,
    updates: Iterable[WeightedUpdate],
    spec: tuple[TensorSpec, ...],
    limit: int | None,
) -> bytes:
    """The payload of the next model; counters (I64) come from `model`. Without updates the model's own bytes.

    `limit`: the largest L2 norm of the step from `model`, as norms stand on cards (times 2^12); below 0: its amount holds each
    update and the step, which half of the norm of `model` holds too where that is above 0 (`bound_of`); None for no limit.
    `fedavg` takes the updates one at a time and holds one model's integers; `median` holds all payloads.
    Raises PeerError(BAD_TENSOR) if a payload breaks the specification; InvariantError for an unknown rule, a weight out of
    range or more than 2^11 updates, which the ledger rules out.
    """
    step_of = entry_of(RULES, rule, "aggregation rule")
    counters, floats = split_payload(model, spec, label=None)
    step = step_of(updates, spec, None if limit is None or limit >= 0 else bound_of(limit, 0))
    if step is None:
        return bytes(model)
    start = _to_fixed(floats)
    return join_payload(counters, _to_floats(start + _shortened(step, limit, start)), spec, label=None)


def fedavg(updates: Iterable[WeightedUpdate], spec: tuple[TensorSpec, ...], bound: int | None) -> Fixed | None:
    """The mean by weights, one update at a time; None of no updates (design 5; McMahan et al. 2017).

    `bound`: the largest fixed-point norm of an update, longer ones are scaled down to it; None: each is taken as it is.
    """
    total, weights = None, 0
    for count, update in enumerate(updates, start=1):
        _check_place(count, update)
        _, floats = split_payload(update.payload, spec, label=update.label)
        term = _scaled(fixed := _to_fixed(floats), _scale_of(fixed, bound))
        term *= update.weight
        total = term if total is None else np.add(total, term, out=total)
        weights += update.weight
    return None if total is None else _divide(total, weights)


def coordinate_median(updates: Iterable[WeightedUpdate], spec: tuple[TensorSpec, ...], bound: int | None) -> Fixed | None:
    """The median of each coordinate, whatever the weights; None of no updates (design 5; Yin et al. 2018). `bound`: as above."""
    columns = []
    for count, update in enumerate(updates, start=1):
        _check_place(count, update)
        columns.append(split_payload(update.payload, spec, label=update.label)[1])
    if not columns:
        return None
    scales = [_scale_of(_to_fixed(column), bound) if bound is not None else None for column in columns]
    result = np.empty(columns[0].size, dtype=np.int64)
    low, high = (len(columns) - 1) // 2, len(columns) // 2
    for begin in range(0, result.size, _MEDIAN_COLUMNS):
        end = begin + _MEDIAN_COLUMNS
        parts = [_scaled(_to_fixed(column[begin:end]), scale) for column, scale in zip(columns, scales, strict=True)]
        ranked = np.sort(np.stack(parts), axis=0)
        result[begin:end] = ranked[low] if low == high else _divide(ranked[low] + ranked[high], 2)
    return result


Rule = Callable[[Iterable[WeightedUpdate], tuple[TensorSpec, ...], int | None], Fixed | None]
"""The step that updates give, none longer than a bound, before it is held to its limit."""

RULES: Final[Mapping[str, Rule]] = {"fedavg": fedavg, "median": coordinate_median}
"""By the names of `bflcd.params.AGGREGATIONS`."""


def _shortened(step: Fixed, limit: int | None, start: Fixed) -> Fixed:
    """`step`, or as much of it as `limit` lets, below 0 with the norm of `start`."""
    if limit is None:
        return step
    return _scaled(step, _scale_of(step, bound_of(limit, _squares(start) if limit < 0 else 0)))


def _scale_of(step: Fixed, bound: int | None) -> int | None:
    return None if bound is None else scale_to(bound, _squares(step))


def _scaled(step: Fixed, scale: int | None) -> Fixed:
    return step if scale is None else _divide(step * scale, 1 << FRACTION_BITS)


def bound_of(limit: int, model_squares: int) -> int:
    """A limit as a fixed-point norm: its amount; below 0 no more than half of the norm of a model whose coordinates have that sum
    of squares, but a `LEAST_OF_LIMIT`th of it at least, unless they are all 0."""
    bound = abs(limit) << (FRACTION_BITS - NORM_SCALE_BITS)
    return min(bound, max(isqrt(model_squares) // 2, bound // LEAST_OF_LIMIT, 1)) if limit < 0 and model_squares else bound


def scale_to(bound: int, squares: int) -> int | None:
    """What brings a step whose fixed-point coordinates have that sum of squares to `bound`: an integer below 2^24, over 2^24.

    None for a step within it.
    """
    norm = isqrt(squares)
    return None if norm <= bound else (bound << FRACTION_BITS) // (norm + 1)


def _squares(step: Fixed) -> int:
    """The exact sum of squares, by halves of each number: every sum of a slice stays within 2^54."""
    total = 0
    for begin in range(0, step.size, _SQUARED):
        part = step[begin : begin + _SQUARED]
        high, low = part >> HALF_BITS, part & (2**HALF_BITS - 1)
        total += int(high @ high) << 2 * HALF_BITS
        total += int(high @ low) << HALF_BITS + 1
        total += int(low @ low)
    return total


def _check_place(count: int, update: WeightedUpdate) -> None:
    if count > MAX_PLACES or not 1 <= update.weight <= MAX_WEIGHT:
        raise InvariantError(
            f"update {count} of weight {update.weight}: only {MAX_PLACES} updates of weight 1 to {MAX_WEIGHT} can be aggregated"
        )


def _to_fixed(floats: Floats) -> Fixed:
    scaled: Floats = np.rint(floats * np.float32(2**FRACTION_BITS))
    return scaled.astype(np.int64)


def _to_floats(fixed: Fixed) -> Floats:
    """Below 2^53 float64 holds the integer and its power-of-two multiple exactly, so the one rounding is to float32."""
    return (np.clip(fixed, -FIXED_LIMIT, FIXED_LIMIT).astype(np.float64) * 2.0**-FRACTION_BITS).astype(np.float32)


def _divide(total: Fixed, divisor: int) -> Fixed:
    """Nearest integer to total / divisor, ties to even; floor and remainder also for negative totals."""
    quotient, remainder = np.divmod(total, divisor)
    twice = 2 * remainder
    quotient += (twice > divisor) | ((twice == divisor) & (quotient & 1 == 1))
    return quotient
