"""Where updates are measured: how far a model is moved along each, and without what it repeats of the last step (design 5.2).

Everybody has the last step, and repeating it often gains more than any trainer's own update. Noise hides a repetition from every
look at likeness and hardly changes the loss. So judges measure what is left of an update U without its component along the last
step L, and L itself, once a round:

    U = rest + along * L,    along = U . L / |L|^2 where that is above 0, else 0

Where L gains, its repetition counts for nothing; where it harms, whoever repeats it has the harm, to first order. What undoes the
last step is no repetition, and is measured whole.
"""

from dataclasses import dataclass, replace

import numpy as np

from bflcd.learn.protocol import NORM_LIMIT, NORM_SCALE_BITS
from bflcd.wire.tensors import Floats


@dataclass(frozen=True, slots=True)
class Move:
    """A model is measured at its weights plus `share` of (an update less `along` times the last step).

    `times`: how many steps as they are measured by themselves are left out. `norm`: L2 norm of the whole update. `near`: how
    often counts what is gained or lost there.
    """

    share: float
    along: float = 0.0
    times: float = 0.0
    norm: float = 0.0
    near: float = 1.0


@dataclass(frozen=True, slots=True)
class LastStep:
    """What the last round did to the model; `squares` of its norm; it is measured at `share` of it."""

    floats: Floats
    squares: float
    share: float

    @classmethod
    def of(cls, floats: Floats, damping: int, limit: int | None, near: int = 1) -> "LastStep | None":
        """`damping`, `limit`, `near` as in `look_at`. None of a step that moved nothing."""
        norm = norm_of(floats)
        return cls(floats, norm**2, look_at(norm, damping, limit, near).share) if norm > 0 else None

    def seen(self, damping: int, limit: int | None, near: int) -> "LastStep":
        """The same step as a judge looks at it."""
        return replace(self, share=look_at(self.squares**0.5, damping, limit, near).share)


def move_of(update: Floats, step: LastStep | None, damping: int, limit: int | None, near: int = 1) -> Move:
    """Where an update is measured: whole without a `step`, else without what it repeats of that."""
    norm = norm_of(update)
    if step is None:
        look = look_at(norm, damping, limit, near)
        return Move(look.share, norm=norm, near=look.near)
    along = max(0.0, float(np.multiply(update, step.floats, dtype=np.float64).sum()) / step.squares)
    look = look_at(max(0.0, norm**2 - along**2 * step.squares) ** 0.5, damping, limit, near)
    return Move(look.share, along, along * look.share / step.share, norm, look.near)


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


@dataclass(frozen=True, slots=True)
class Look:
    """Where an offer is looked at: by what share of it the model is moved, and how often counts what is gained or lost there."""

    share: float
    near: float


def look_at(norm: float, damping: int, limit: int | None, near: int = 1) -> Look:
    """How an update of that norm is looked at: at 1 / `damping` of it, or what makes a step of `limit`; `near` times nearer.

    `limit` is in the unit of cards; None: there is none. An update that is longer than a whole step may be is looked at from
    that much farther: in the aggregate it counts as one of that length, and near, what it overshoots by would not be seen.
    """
    share = 1.0 / damping
    if limit is None:
        return Look(share / near, float(near))
    most = limit / 2.0**NORM_SCALE_BITS
    if norm * share > most:
        share = most / norm
    nearer = float(near) if norm <= most else max(1.0, near * most / norm)
    return Look(share / nearer, nearer)
