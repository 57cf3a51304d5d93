"""Where updates are measured: how far a model is moved along each, and without what it repeats of the last step (design 5.2).

Everybody has the last step, and repeating it often gains more than any trainer's own update. Noise hides a repetition from every
look at likeness and hardly changes the loss. So judges measure what is left of an update U without its component along the last
step L, and L itself, once a round:

    U = rest + along * L,    along = U . L / |L|^2 where that is above 0, else 0

Where L gains, its repetition counts for nothing; where it harms, whoever repeats it has the harm, to first order. What undoes the
last step is no repetition, and is measured whole.
"""

from dataclasses import dataclass

import numpy as np

from bflcd.learn.protocol import NORM_LIMIT, NORM_SCALE_BITS
from bflcd.wire.tensors import Floats


@dataclass(frozen=True, slots=True)
class Move:
    """A model is measured at its weights plus `share` of (an update less `along` times the last step).

    `times`: how many steps as they are measured by themselves are left out. `norm`: L2 norm of the whole update.
    """

    share: float
    along: float = 0.0
    times: float = 0.0
    norm: float = 0.0


@dataclass(frozen=True, slots=True)
class LastStep:
    """What the last round did to the model; `squares` of its norm; it is measured at `share` of it."""

    floats: Floats
    squares: float
    share: float

    @classmethod
    def of(cls, floats: Floats, damping: int, limit: int | None) -> "LastStep | None":
        """`damping`, `limit` as in `held_share`. None of a step that moved nothing."""
        norm = norm_of(floats)
        return cls(floats, norm**2, held_share(norm, damping, limit)) if norm > 0 else None


def move_of(update: Floats, step: LastStep | None, damping: int, limit: int | None) -> Move:
    """Where an update is measured: whole without a `step`, else without what it repeats of that."""
    norm = norm_of(update)
    if step is None:
        return Move(held_share(norm, damping, limit), norm=norm)
    along = max(0.0, float(np.multiply(update, step.floats, dtype=np.float64).sum()) / step.squares)
    share = held_share(max(0.0, norm**2 - along**2 * step.squares) ** 0.5, damping, limit)
    return Move(share, along, along * share / step.share, norm)


def norm_of(update: Floats) -> float:
    """L2 norm in float64. No dot product: the threads of its library would spin through the next forward pass."""
    wide = update.astype(np.float64)
    return float(np.sqrt(np.square(wide, out=wide).sum()))


def fixed_norm(update: Floats) -> int:
    """L2 norm as cards have it (`on_card`)."""
    return on_card(norm_of(update))


def on_card(norm: float) -> int:
    """`norm`, clamped to 2^10, as floor(norm * 2^12)."""
    return int(min(norm, float(NORM_LIMIT)) * 2**NORM_SCALE_BITS)


def held_share(norm: float, damping: int, limit: int | None) -> float:
    """The share of an update of that norm by which the model is moved: 1 / `damping`, or what makes a step of `limit`.

    `limit` is in the unit of cards; None: there is none.
    """
    share = 1.0 / damping
    if limit is None or norm * share <= limit / 2**NORM_SCALE_BITS:
        return share
    return limit / (2.0**NORM_SCALE_BITS * norm)
