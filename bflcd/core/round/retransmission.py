"""Own messages are repeated until the round closes: the transport loses messages silently (design 5.1 and 6.7).

The first time a message goes to those it concerns, who confirm it; again it goes to all, in case some can't be reached directly.
"""

from dataclasses import dataclass

from bflcd.types import Millis
from bflcd.wire.messages import Gossip


@dataclass(slots=True)
class _Entry:
    message: Gossip
    due: Millis
    pause: Millis


class Retransmissions:
    """Messages of the running round, each due again after a pause that doubles up to 8 T0."""

    def __init__(self, view_timeout: Millis) -> None:
        self._first = view_timeout
        self._most = Millis(8 * view_timeout)
        self._entries: list[_Entry] = []

    def add(self, message: Gossip, now: Millis, *, urgent: bool = True) -> None:
        """Say `message` again from now on; what is not urgent starts with the longer pause of 2 T0."""
        if all(entry.message != message for entry in self._entries):
            pause = self._first if urgent else Millis(2 * self._first)
            self._entries.append(_Entry(message, Millis(now + pause), pause))

    def due(self, now: Millis) -> list[Gossip]:
        """What is to be said now."""
        said = []
        for entry in self._entries:
            if entry.due <= now:
                said.append(entry.message)
                entry.pause = Millis(min(2 * entry.pause, self._most))
                entry.due = Millis(now + entry.pause)
        return said

    def deadline(self) -> Millis | None:
        """When something is due next."""
        return min((entry.due for entry in self._entries), default=None)
