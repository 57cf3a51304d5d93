"""Whether a node is behind with what it is told, and how that is said (design 8, Waits). Pure: times are arguments.

It is behind while one of three is later than a share of T0: its event loop, its network's thread, the oldest message that waits
for its core. It is overloaded once that has lasted, and no more once all three have been well below for as long.
"""

import math
from dataclasses import astuple, dataclass
from typing import Final

from bflcd.types import Millis

SMOOTHING: Final = 2.0
"""Seconds over which what is measured is smoothed: e-fold time of the running mean."""

LASTING: Final = 5.0
"""Seconds for which a node has to be behind to be called overloaded, and to keep up again to be called so no more."""

MOST_TIMES: Final = 3.0
"""Times the limit that one measure counts at most: a single long halt is over for us soon after it is over."""

LEAST_LIMIT: Final = 0.25
MOST_LIMIT: Final = 2.0
"""Bounds in seconds of how late a node may be, whatever its T0: below is what a busy machine does, above heartbeats suffer."""

OWN_SHARE: Final = 0.7
"""Of one processor: a daemon that takes more has too much to do itself. Its threads take turns, and seldom reach all of it."""


@dataclass(frozen=True, slots=True)
class Lags:
    """Seconds by which a node is late: its event loop, its network's thread, the oldest message that waits for its core."""

    loop: float = 0.0
    network: float = 0.0
    waiting: float = 0.0

    @property
    def worst(self) -> float:
        """Of the three."""
        return max(self.loop, self.network, self.waiting)

    def toward(self, other: "Lags", weight: float, most: float) -> "Lags":
        """A step of the running mean, of measures that count `most` at most."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Lags(*(ours + weight * (min(theirs, most) - ours) for ours, theirs in pairs))


def limit_of(view_timeout: Millis) -> float:
    """Seconds that a node may be late: half of T0, within the bounds above."""
    return min(MOST_LIMIT, max(LEAST_LIMIT, view_timeout / 2000))


class Overload:
    """What was measured of one node, and whether it is overloaded."""

    def __init__(self) -> None:
        self.lags = Lags()
        """Smoothed."""
        self.is_on = False
        """Whether this node is overloaded."""
        self._limit = MOST_LIMIT
        self._own_share = 0.0
        self._behind = self._well = 0.0
        self._lasted = 0.0

    def note(self, lags: Lags, *, elapsed: float, own_share: float, limit: float) -> bool:
        """Take a measure; whether `is_on` has changed by it.

        `elapsed`: seconds since the one before; `own_share`: processors that this process took meanwhile; `limit`: seconds that a
        node may be late.
        """
        weight = 1 - math.exp(-elapsed / SMOOTHING)
        self.lags = self.lags.toward(lags, weight, MOST_TIMES * limit)
        self._own_share += weight * (own_share - self._own_share)
        self._limit = limit
        self._behind = self._behind + elapsed if self.lags.worst > limit else 0.0
        self._well = self._well + elapsed if self.lags.worst < limit / 2 else 0.0
        self._lasted = self._lasted + elapsed if self.is_on else self._behind
        was_on = self.is_on
        self.is_on = self._well < LASTING if was_on else self._behind >= LASTING
        return self.is_on is not was_on

    @property
    def lasted(self) -> float:
        """Seconds for which this node is, or was last, overloaded, from when it fell behind."""
        return self._lasted

    def text(self) -> str:
        """What the operator should read while it is overloaded."""
        lags = self.lags
        return (
            f"this node is overloaded: its event loop is {lags.loop:.2f} s late, its network's thread {lags.network:.2f} s, "
            f"and the oldest message has waited {lags.waiting:.2f} s ({self._limit:.2f} s are borne); {self._why()}; "
            "until it keeps up it leaves to others what they can answer or say again"
        )

    def _why(self) -> str:
        """The likely reason, and what to do."""
        share = f"{100 * self._own_share:.0f} % of a processor"
        if self._own_share >= OWN_SHARE:
            return f"the daemon itself takes {share}: it needs a faster machine, or is asked for too much (`bflc_messages_total`)"
        if 2 * max(self.lags.loop, self.lags.network) >= self.lags.waiting:
            return (
                f"the daemon itself takes only {share}: other programs, its own training (`compute.threads`), a quota or a halt "
                "keep it from its processor; stop them, or give it more"
            )
        return f"the daemon itself takes only {share}: what it writes is long in coming; look at the disk"

    def warnings(self) -> list[str]:
        """What `status` says as long as it lasts."""
        return [self.text()] if self.is_on else []
