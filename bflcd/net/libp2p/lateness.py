"""How late the network's thread is: it sleeps, and another thread reads when it should have woken."""

import time
from typing import Final

import trio

SLEEP_S: Final = 1.0
"""Between two wakings."""


class Lateness:
    """Kept in the trio thread, read in any."""

    def __init__(self) -> None:
        self._due = float("inf")
        self._late = 0.0

    @property
    def seconds(self) -> float:
        """By which it woke late the last time, or is late now if that is more."""
        return max(self._late, time.monotonic() - self._due)

    async def keep(self) -> None:
        """Sleep and look until cancelled."""
        while True:
            self._due = time.monotonic() + SLEEP_S
            await trio.sleep(SLEEP_S)
            self._late = time.monotonic() - self._due
