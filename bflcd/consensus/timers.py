"""View timer and re-sending in the machine's own time, which only runs forward whatever the clock does (design 6.7)."""

from typing import Final

from bflcd.types import Millis, View

DOUBLING_VIEWS: Final = 4
"""T(v) doubles with each of the first views, to 16 T0: if it went on so, a healed network would stand for minutes."""

SLOW_DOUBLING: Final = 8
"""From there on it doubles once in so many views, so that what needs longer is decided too: a healed network then waits a quarter
of the time for which it stood already."""

SLOW_DOUBLINGS: Final = 4
"""To 256 T0, after which it grows no more."""

FIRST_GAP: Final = 4
"""Votes are re-sent T0 / 4 after they were signed; the gap then doubles up to T0, which bounds the traffic of a long halt."""


def timeout(view: View, view_timeout: Millis) -> Millis:
    """T(v) in milliseconds, for T0 = `view_timeout`."""
    slow = min(max(0, view - DOUBLING_VIEWS) // SLOW_DOUBLING, SLOW_DOUBLINGS)
    return Millis(view_timeout << (min(view, DOUBLING_VIEWS) + slow))


class Timers:
    """When the machine wants to be woken. Internal time adds up only what the clock advances: a clock set back delays nothing."""

    __slots__ = ("_elapsed", "_gap", "_now", "_resend_due", "_view_due", "_view_timeout")

    def __init__(self, view_timeout: Millis) -> None:
        """Take T0, milliseconds."""
        self._view_timeout = view_timeout
        self._now: Millis | None = None
        self._elapsed = 0
        self._view_due: int | None = None
        self._resend_due: int | None = None
        self._gap = 0

    def observe(self, now: Millis) -> None:
        """Take note of the caller's clock."""
        if self._now is not None:
            self._elapsed += max(0, now - self._now)
        self._now = now

    def start_view(self, view: View) -> None:
        """Give this view T(v) from now."""
        self._view_due = self._elapsed + timeout(view, self._view_timeout)

    def stop_view(self) -> None:
        """Time no view: the one that is asked for has no quorum yet."""
        self._view_due = None

    def start_sending(self) -> None:
        """A vote was signed: re-send soon."""
        self._gap = max(1, self._view_timeout // FIRST_GAP)
        self._resend_due = self._elapsed + self._gap

    def sent_again(self) -> None:
        """The votes were re-sent: wait twice as long before the next time, T0 at most."""
        self._gap = min(2 * self._gap, max(1, self._view_timeout))
        self._resend_due = self._elapsed + self._gap

    def stop(self) -> None:
        """The round is decided: nothing is due any more."""
        self._view_due = self._resend_due = None

    @property
    def view_expired(self) -> bool:
        """Whether the current view's time is over."""
        return self._view_due is not None and self._view_due <= self._elapsed

    @property
    def resend_is_due(self) -> bool:
        """Whether own votes are to be sent again."""
        return self._resend_due is not None and self._resend_due <= self._elapsed

    def deadline(self) -> Millis | None:
        """The next due time on the caller's clock as last seen, or None if nothing is due."""
        dues = [due for due in (self._view_due, self._resend_due) if due is not None]
        if not dues or self._now is None:
            return None
        return Millis(self._now + max(0, min(dues) - self._elapsed))
