"""What code that the simulated world runs too may ask of an event loop: time, tasks, and waiting for the first of several.

The daemon's is asyncio; the simulated world's keeps virtual time. Code written against it imports nothing of asyncio itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """Work that was started. Awaiting it gives its result."""

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the end, raise what it raised."""
        ...

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def result(self) -> T_co:
        """What it returned, or raise what it raised; only once it is done."""
        ...

    def cancel(self) -> bool:
        """End it at what it waits for. A task that is done stays as it is."""
        ...

    def cancelling(self) -> int:
        """Above 0 once `cancel` was called."""
        ...


class TaskScope(Protocol):
    """Tasks that end with the block that opened the scope."""

    def start(self, work: Coroutine[Any, Any, T]) -> Task[T]:
        """Begin `work` beside the caller. What it raises ends the scope and is raised there."""
        ...


class Scheduler(Protocol):
    """Every wait of the code that uses it goes through here."""

    def now_ns(self) -> int:
        """Nanoseconds of a clock that never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Go on after so long; with 0, after whatever else is due now."""
        ...

    def scope(self) -> AbstractAsyncContextManager[TaskScope]:
        """A scope for tasks. Whatever still runs when the block ends is cancelled."""
        ...

    async def first_done(self, tasks: Collection[Task[Any]], seconds: float) -> None:
        """Return once one of `tasks` is done, or after so long."""
        ...

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """The result of a function that takes its time and waits for nothing; others may go on meanwhile."""
        ...


class _Scope:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


class AsyncioScheduler:
    """The running event loop."""

    def now_ns(self) -> int:
        """See `Scheduler`."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """See `Scheduler`."""
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def scope(self) -> AsyncIterator[TaskScope]:
        """See `Scheduler`."""
        try:
            async with asyncio.TaskGroup() as group:
                scope = _Scope(group)
                yield scope
                scope.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def first_done(self, tasks: Collection[Task[Any]], seconds: float) -> None:
        """See `Scheduler`; all of them were started by it."""
        running = [task for task in tasks if isinstance(task, asyncio.Task)]
        await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def offload(self, function: Callable[..., T], *arguments: object) -> T:
        """See `Scheduler`: in a thread."""
        return await asyncio.to_thread(function, *arguments)


ASYNCIO: Final = AsyncioScheduler()
"""It has no state of its own."""
