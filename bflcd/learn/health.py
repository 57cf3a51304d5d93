"""How a node's own work goes: what keeps failing, what is said of it, to whom, and when it may be tried again.

A fault of the data, the task or the device is no reason to end: the node follows, votes, and tries again, less and less often,
in a new process. Its operator is told all of it, its peers one word (`Training`), so that they don't wait for it. Each kind of
work has its own pause, so that training which can't succeed never keeps a node from judging.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bflcd.errors import MachineError, OperatorError
from bflcd.learn.protocol import WorkerError
from bflcd.wire.training import Training

FIRST_PAUSE: Final = 2.0
"""Seconds after the second failure in a row; the first is tried again at once, since most are accidents."""

LONGEST_PAUSE: Final = 60.0
"""Seconds: what was mended is noticed within a minute, and a start costs some seconds of one core."""

MAX_REASON_CHARS: Final = 600
"""Of what failed, in a warning: a task may raise anything."""


class Work(StrEnum):
    """What the compute worker does. The value names it in messages."""

    START = "starting the compute worker"
    TRAIN = "training"
    SCORE = "judging"
    MEASURE = "measuring the finished model"
    WATCH = "watching the models"


_MISSED: Final = {
    Work.START: "this node neither trains nor judges",
    Work.TRAIN: "this node does not train",
    Work.SCORE: "this node does not judge",
    Work.MEASURE: "the finished model is not measured",
    Work.WATCH: "this node does not see it if a model gets worse on its rows",
}
"""What a community lacks meanwhile."""


_FAULT_BY_CODE: Final = {
    **dict.fromkeys(("bad_data", "missing_data", "bad_path", "no_permission", "no_directory"), Training.DATA),
    **dict.fromkeys(("bad_task", "bad_option", "unknown_task", "bad_model"), Training.TASK),
    **dict.fromkeys(("bad_device",), Training.DEVICE),
    **dict.fromkeys(("out_of_memory", "limit"), Training.MEMORY),
    **dict.fromkeys(("io_error", "disk_full", "file_system"), Training.STORAGE),
}
"""Where the fault lies that an error names by its code; any other code tells nothing of it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of work that failed `failures` times in a row, the last time for `reason`; not tried before `retry_at`.

    `fault`: where the last failure lay.
    """

    failures: int
    reason: str
    retry_at: float
    fault: Training


class WorkHealth:
    """What failed last and has not succeeded since. `now`: seconds of any clock that only goes forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._troubles: dict[Work, Trouble] = {}
        self._on_training: Callable[[], None] = lambda: None

    def watch(self, on_training: Callable[[], None]) -> None:
        """Have `on_training` called whenever `training` is another word."""
        self._on_training = on_training

    def failed(self, work: Work, reason: str, fault: Training = Training.WORKER) -> None:
        """It failed once more; `fault`: where that lies."""
        said, before = self.training, self._troubles.get(work)
        failures = 1 if before is None else before.failures + 1
        self._troubles[work] = Trouble(failures, reason[:MAX_REASON_CHARS], self._now() + pause_after(failures), fault)
        self._tell(said)

    def succeeded(self, work: Work) -> None:
        """It went well: nothing is said of it any more, nor of the start that it needed."""
        said = self.training
        self._troubles.pop(work, None)
        self._troubles.pop(Work.START, None)
        self._tell(said)

    def _tell(self, said: Training) -> None:
        if self.training is not said:
            self._on_training()

    @property
    def training(self) -> Training:
        """What peers are told: that this node trains, or where the fault lies if that, or the start that it needs, failed."""
        trouble = self._troubles.get(Work.START) or self._troubles.get(Work.TRAIN)
        return Training.TRAINS if trouble is None else trouble.fault

    def fails(self, work: Work) -> bool:
        """Whether it, or the start that it needs, failed the last time."""
        return work in self._troubles or Work.START in self._troubles

    def refusal(self, work: Work) -> str:
        """Why it is not tried now; empty if it may be."""
        trouble = self._troubles.get(work)
        if trouble is None or self._now() >= trouble.retry_at:
            return ""
        wait = trouble.retry_at - self._now()
        return f"{work} failed {_times(trouble.failures)} and is tried again in {wait:.0f} s; last: {trouble.reason}"

    @property
    def failures(self) -> int:
        """In a row, of the kind of work that fails longest; 0 while all goes well."""
        return max((trouble.failures for trouble in self._troubles.values()), default=0)

    def warnings(self) -> list[str]:
        """What `status` says as long as it lasts."""
        return [
            f"{_MISSED[work]}: {work} failed {_times(trouble.failures)}; it is tried again; last: {trouble.reason}"
            for work, trouble in self._troubles.items()
        ]


def fault_of(error: BaseException) -> Training:
    """Where the fault of work that raised this lies. What no error of ours says was raised by the task's code."""
    if isinstance(error, (OperatorError, MachineError)):
        return _FAULT_BY_CODE.get(error.code, Training.WORKER)
    return error.fault if isinstance(error, WorkerError) else Training.TASK


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return 0.0 if failures < 2 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 2, 16))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times in a row"
