"""The daemon's clocks."""

import time

from bflcd.core.events import Instant
from bflcd.types import Millis


def clock() -> Millis:
    """Milliseconds of a clock that never jumps."""
    return Millis(time.monotonic_ns() // 1_000_000)


def wall_clock() -> Millis:
    """Unix milliseconds."""
    return Millis(time.time_ns() // 1_000_000)


def instant() -> Instant:
    """Now, on both clocks."""
    return Instant(clock(), wall_clock())
