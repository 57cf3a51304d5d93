"""The bridge between the daemon's asyncio loop and the trio thread: whole calls both ways, bounded, cancellation-safe."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from bflcd.errors import InvariantError, MachineError, RequestError
from bflcd.net.libp2p.lateness import Lateness

_log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_CALLS: Final = 4096
"""Calls into the trio thread at a time, including cancelled ones that still unwind."""

MAX_WAITING: Final = 8192
"""Deliveries waiting for the asyncio loop; above this, those that may be lost are."""

START_S: Final = 30.0
"""Deadline for the thread to listen; importing the library takes a second on a slow machine."""

STOP_S: Final = 2.5
"""Deadline for the thread to close its connections."""

ThreadMain = Callable[[trio.Event, Callable[[], None]], Awaitable[None]]
"""The thread's work: takes the event that asks it to stop, and what to call once it is ready."""


class Bridge:
    """Owns the trio thread. Methods named `..._in_trio` are for that thread, all others for the asyncio loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._stop: trio.Event | None = None
        self._ended: asyncio.Future[None] | None = None
        self._calls: set[asyncio.Future[Any]] = set()
        self._running = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self.lateness = Lateness()
        """Of the thread."""

    # Life

    async def start(self, main: ThreadMain) -> None:
        """Start the thread and wait until `main` says that it is ready. Raises what `main` raises before that."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        ready: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._thread, args=(main, ready), name=self._name, daemon=True).start()
        done, _ = await asyncio.wait((ready, self._ended), timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise MachineError(
                f"the network did not start within {START_S:g} s", hint="is this machine overloaded?", code="network_start"
            )
        if self._ended.done():
            self._ended.result()
            raise InvariantError("the network thread ended before it was ready")

    async def stop(self) -> None:
        """Ask the thread to stop and wait for it, at most `STOP_S`; then end every handler. Idempotent."""
        if self._ended is None:
            return
        self._tell(lambda: self._stop.set() if self._stop is not None else None)
        done, _ = await asyncio.wait((self._ended,), timeout=STOP_S)
        if not done:
            _log.error("the network thread did not stop within %g s", STOP_S)
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def wait_ended(self) -> None:
        """Wait for the thread's end; raises what it died of."""
        if self._ended is None:
            raise InvariantError("the network was not started")
        await asyncio.shield(self._ended)

    def _thread(self, main: ThreadMain, ready: "asyncio.Future[None]") -> None:
        failure: BaseException | None = None
        try:
            trio.run(self._main_in_trio, main, ready, strict_exception_groups=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the asyncio side must learn of it
            failure = _root_cause(error)
        self._post(self._finish, failure)

    async def _main_in_trio(self, main: ThreadMain, ready: "asyncio.Future[None]") -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.lateness.keep)
            await main(self._stop, lambda: self._post(_settle, ready, None, None))
            nursery.cancel_scope.cancel()

    def _finish(self, failure: BaseException | None) -> None:
        for future in tuple(self._calls):
            _settle(future, None, RequestError("the network has stopped"))
        assert self._ended is not None
        _settle(self._ended, None, failure)
        # A failure before anyone waits must not be reported as never retrieved: close() need not look at it.
        if failure is not None:
            self._ended.exception()

    # From asyncio into trio

    async def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run `function` in the trio thread and return its result; cancelling this cancels it there.

        Raises RequestError if the thread has stopped or too many calls run.
        """
        if self._loop is None or self._ended is None or self._ended.done() or self._nursery is None:
            raise RequestError("the network is not running")
        if self._running >= MAX_CALLS:
            raise RequestError(f"more than {MAX_CALLS} network calls at once; ask again later")
        future: asyncio.Future[T] = self._loop.create_future()
        scope = trio.CancelScope()
        nursery = self._nursery
        self._running += 1
        self._calls.add(future)
        try:
            if not self._tell(lambda: self._spawn_in_trio(nursery, future, scope, function, args)):
                self._running -= 1
                raise RequestError("the network has stopped")
            return await future
        except asyncio.CancelledError:
            self._tell(scope.cancel)
            raise
        finally:
            self._calls.discard(future)

    def _spawn_in_trio(self, nursery: trio.Nursery, future: "asyncio.Future[Any]", *args: Any) -> None:
        try:
            nursery.start_soon(self._call_in_trio, future, *args)
        except RuntimeError:  # the nursery has closed already
            self._post(self._return, future, None, RequestError("the network has stopped"))

    async def _call_in_trio(
        self,
        future: "asyncio.Future[T]",
        scope: trio.CancelScope,
        function: Callable[..., Awaitable[T]],
        args: tuple[object, ...],
    ) -> None:
        result: T | None = None
        failure: BaseException | None = RequestError("the call was cancelled, or the network has stopped")
        try:
            with scope:
                result = await function(*args)
                failure = None
        except Exception as error:  # noqa: BLE001 - it is handed to whoever called
            failure = _root_cause(error)
        finally:
            self._post(self._return, future, result, failure)

    def _return(self, future: "asyncio.Future[T]", result: T, failure: BaseException | None) -> None:
        self._running -= 1
        _settle(future, result, failure)

    def tell(self, function: Callable[..., None], *args: object) -> None:
        """Run a quick `function` in the trio thread, without waiting; nothing happens once it has stopped."""
        self._tell(lambda: function(*args))

    def _tell(self, function: Callable[[], object]) -> bool:
        if self._token is None:
            return False
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return False
        return True

    # From trio into asyncio

    def deliver_in_trio(self, function: Callable[..., None], *args: object, lossy: bool) -> None:
        """Run `function` in the asyncio loop, in the order of deliveries; a `lossy` one is dropped when too many wait."""
        with self._lock:
            if lossy and len(self._waiting) >= MAX_WAITING:
                return
            self._waiting.append((function, args))
            if len(self._waiting) > 1:
                return  # the loop has been woken already
        self._post(self._drain)

    def _drain(self) -> None:
        with self._lock:
            batch = tuple(self._waiting)
            self._waiting.clear()
        for function, args in batch:
            try:
                function(*args)
            except Exception:  # noqa: BLE001 - a handler's bug must not stop the deliveries behind it
                _log.exception("a network event handler failed")

    async def ask_in_trio(self, function: Callable[..., Awaitable[bytes]], *args: object) -> bytes:
        """Run the coroutine `function` in the asyncio loop and return its result; cancelling this cancels it there."""
        job = _Job()
        self._post(self._start_handler, job, function, args)
        try:
            await job.done.wait()
        except trio.Cancelled:
            self._post(job.cancel)
            raise
        if job.result is None:
            raise HandlerFailedError
        return job.result

    def _start_handler(self, job: "_Job", function: Callable[..., Awaitable[bytes]], args: tuple[object, ...]) -> None:
        assert self._loop is not None
        if job.cancelled:
            return
        # Held here and ended in stop(), as a TaskGroup would: one can't be entered in start() and left in stop().
        task = self._loop.create_task(self._handle(job, function, args))
        job.task = task
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _handle(self, job: "_Job", function: Callable[..., Awaitable[bytes]], args: tuple[object, ...]) -> None:
        try:
            job.result = await function(*args)
        except Exception as error:  # noqa: BLE001 - by contract a handler's error closes the stream and costs nothing else
            _log.debug("a request handler refused: %s: %s", type(error).__name__, error)
        finally:
            self._tell(job.done.set)

    def _post(self, function: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            _log.debug("the event loop is closed; dropped %s", function)


class HandlerFailedError(Exception):
    """A request handler raised; it has been logged on its side."""


class _Job:
    """One request handler running in the asyncio loop on behalf of a trio task."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.result: bytes | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Stop the handler; runs in the asyncio loop."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


def _settle(future: "asyncio.Future[Any]", result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def _root_cause(error: BaseException) -> BaseException:
    """The only exception of a group, however deep: nurseries wrap what their one task raised."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
