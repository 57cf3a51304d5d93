"""Whether a node trains, as it tells its peers: one word, and nothing of its data."""

from enum import IntEnum


class Training(IntEnum):
    """That a node trains, or where the fault lies if it does not. A number is never given another meaning."""

    TRAINS = 0
    """Nothing keeps it from training."""
    OBSERVES = 1
    """Its operator has it follow the chain only."""
    DATA = 2
    """Its own data is not there, or can't be learned from."""
    TASK = 3
    """The task's code raised or gave back what it must not, or training diverged."""
    DEVICE = 4
    """What it computes on is not there, or fails."""
    MEMORY = 5
    """Memory, or another limit of the machine, was reached."""
    STORAGE = 6
    """A disk failed to give what training needs."""
    WORKER = 7
    """The compute worker does not start or ends in mid-job, and nothing says why."""
    BEHIND = 8
    """It has just started or was admitted: it catches up, or its worker is not there yet, or it may sign nothing."""
    BUDGET = 9
    """Its operator's privacy budget is spent: it judges and follows."""

    @property
    def trains(self) -> bool:
        """Whether an offer may be waited for."""
        return self is Training.TRAINS
