"""What the machine shows of itself: what it waits for."""

from enum import Enum


class Phase(Enum):
    """What the machine waits for."""

    COLLECTING = "collecting"
    """For q cards here, or a pre-prepare of view 0."""
    VIEW_CHANGE = "view_change"
    """For q view-changes: the view that was asked for is not timed yet."""
    PROPOSING = "proposing"
    """For the leader's pre-prepare."""
    CHECKING = "checking"
    """For the answer to `Check`."""
    PREPARING = "preparing"
    """For q prepares."""
    COMMITTING = "committing"
    """For q commits."""
    DECIDED = "decided"
    """For nothing."""
