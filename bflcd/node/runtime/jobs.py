"""Slow effects: each runs as a task of its round, and ends with it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from bflcd.errors import InvariantError
from bflcd.scheduler import Scheduler, Task, TaskScope
from bflcd.types import Round

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class _Job:
    round: Round
    task: Task[None]


class Jobs:
    """The tasks of one runtime. An error that no job answers for ends them all, and the runtime with them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._scope: TaskScope | None = None
        self._running: list[_Job] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Jobs may be started inside of this block, and none outlives it."""
        async with self._scheduler.scope() as scope:
            self._scope = scope
            yield

    def start(self, round_: Round, work: Callable[[E], Coroutine[Any, Any, None]], effect: E) -> Task[None]:
        """Do the work of an effect beside the core, after the effects that were asked for with it."""
        task = self.beside(self._later(work, effect))
        self._running = [job for job in self._running if not job.task.done()]
        self._running.append(_Job(round_, task))
        return task

    def beside(self, work: Coroutine[Any, Any, None]) -> Task[None]:
        """Run `work` beside the core from now on, whatever round comes."""
        if self._scope is None:
            raise InvariantError("a job was started before the runtime ran")
        return self._scope.start(work)

    async def _later(self, work: Callable[[E], Coroutine[Any, Any, None]], effect: E) -> None:
        await self._scheduler.sleep(0)
        await work(effect)

    def cancel_before(self, round_: Round) -> None:
        """End the jobs of rounds before `round_`."""
        for job in self._running:
            if job.round < round_:
                job.task.cancel()
