"""Coroutines in virtual time: the scheduler and the inbox that the product's interpreter runs on in the simulated world."""

from collections import deque
from collections.abc import Callable, Collection, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Self

from bflcd.core.events import Event, MessageReceived
from bflcd.node.runtime.ports import Delivered
from bflcd.types import Millis

if TYPE_CHECKING:
    from tests.sim.node import SimNode

MAX_WAITING = 4_096
"""Messages that wait for the core before new ones are dropped."""


class Pause:
    """What a coroutine waits for; `arm` is told whom to go on with."""

    def __init__(self, arm: Callable[["Fiber"], None]) -> None:
        self.arm = arm

    def __await__(self) -> Generator["Pause", Any, Any]:
        return (yield self)


class Fiber:
    """One running coroutine of a node. It begins at once, and goes on inside of whatever it waited for."""

    def __init__(self, node: "SimNode", work: Coroutine[Any, Any, Any]) -> None:
        self.node, self.work = node, work
        self.alive = True
        self.cancelled = self.over = False
        self.value: Any = None
        self.error: Exception | None = None
        self.waiters: list[Callable[[], None]] = []
        node.fibers.append(self)

    def step(self, value: object = None) -> None:
        """Go on with what was waited for; an exception is raised there. A paused process goes on when it is resumed."""
        if not self.alive:
            return
        if self.node.paused:
            self.node.halted.append((self, value))
            return
        try:
            pause = self.work.throw(value) if isinstance(value, Exception) else self.work.send(value)
        except StopIteration as end:
            self._end(end.value, None)
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told, or the node
            self._end(None, error)
        else:
            if self.alive:
                pause.arm(self)

    def _end(self, value: object, error: Exception | None) -> None:
        self.alive, self.over, self.value, self.error = False, True, value, error
        waiters, self.waiters = self.waiters, []
        for tell in waiters:
            tell()
        if error is not None and not waiters:
            self.node.failed(self, error)

    def kill(self) -> None:
        """It never goes on."""
        self.alive = False
        try:
            self.work.close()
        except (RuntimeError, ValueError):  # it is what runs just now
            return

    # -- as `scheduler.Task` ------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Pause, Any, Any]:
        if not self.over:
            yield Pause(lambda fiber: self.waiters.append(fiber.step))
        return self.result()

    def done(self) -> bool:
        return self.over

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value

    def cancel(self) -> bool:
        self.cancelled = True
        self.kill()
        return True

    def cancelling(self) -> int:
        return int(self.cancelled)


class Scope:
    """As `scheduler.TaskScope`, and the block that opens it."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node
        self.fibers: list[Fiber] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> Fiber:
        fiber = Fiber(self.node, work)
        self.fibers = [other for other in self.fibers if other.alive]
        self.fibers.append(fiber)
        fiber.step()
        return fiber

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for fiber in self.fibers:
            fiber.kill()


class VirtualScheduler:
    """As `scheduler.Scheduler`."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node

    def now_ns(self) -> int:
        return self.node.world.now * 1_000_000

    async def sleep(self, seconds: float) -> None:
        await Pause(lambda fiber: self.node.world.after(round(1000 * seconds), fiber.step))

    def scope(self) -> Scope:
        return Scope(self.node)

    async def first_done(self, tasks: Collection[Fiber], seconds: float) -> None:
        if not any(task.done() for task in tasks):
            await Pause(lambda fiber: self._wait(fiber, list(tasks), round(1000 * seconds)))

    def _wait(self, fiber: Fiber, tasks: list[Fiber], milliseconds: int) -> None:
        told = False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                fiber.step()

        for task in tasks:
            task.waiters.append(tell)
        self.node.world.after(milliseconds, tell)

    async def offload(self, function: Callable[..., Any], *arguments: object) -> Any:
        return function(*arguments)


class VirtualInbox:
    """As `ports.Inbox`."""

    def __init__(self, node: "SimNode") -> None:
        self.node = node
        self.events: deque[Delivered] = deque()
        self._waiting: Fiber | None = None
        self._armed: int | None = None

    def add(self, event: Event, settled: Callable[[], None] | None = None) -> None:
        if isinstance(event, MessageReceived) and len(self.events) >= MAX_WAITING:
            return
        self.events.append(Delivered(event, settled))
        self._go_on()

    async def put(self, event: Event) -> None:
        self.node.post(event)

    async def settle(self, event: Event) -> None:
        await Pause(lambda fiber: self.node.post(event, fiber.step))

    def take(self) -> Delivered | None:
        return self.events.popleft() if self.events else None

    async def wait(self, until: Millis | None) -> None:
        if not self.events:
            await Pause(lambda fiber: self._wait(fiber, until))

    def _wait(self, fiber: Fiber, until: int | None) -> None:
        self._waiting = fiber
        if until is not None and until != self._armed:
            self.node.world.after(until - self.node.mono(), self._due, until)
        self._armed = until

    def _due(self, at: int) -> None:
        if self._armed == at:
            self._armed = None
            self._go_on()

    def _go_on(self) -> None:
        fiber, self._waiting = self._waiting, None
        if fiber is not None:
            fiber.step()
