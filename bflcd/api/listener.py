"""One place where the API listens: how many connections it takes, how long they may be idle, and what a lack of descriptors does.

A process without a free descriptor can't even turn a caller away. So one is held back: it is given up for the moment in which a
waiting caller is accepted and closed, and the listening goes on.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from bflcd.api.connection import Connection

LOOK_SECONDS: Final = 1.0
"""Between two looks at who is idle."""

WARN_SECONDS: Final = 60.0
"""Between two warnings of the same lack."""

PAUSE_SECONDS: Final = 0.1
"""After an accept that the machine was too poor for."""

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""accept(2): no descriptor or memory for a caller who goes on waiting."""

_CALLERS_LOSS: Final = frozenset((errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR))
"""accept(2): this caller is gone, the next may be fine."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` at a time; `idle` seconds in which a connection has to bring the whole head of its next request."""

    connections: int
    idle: float


class Listener:
    """Accepts on a listening socket, which it owns, until `run` is cancelled."""

    def __init__(
        self, name: str, listening: socket.socket, server: web.Server, limits: Limits, *, trusted: bool, now: Callable[[], float]
    ) -> None:
        """`trusted`: whoever can connect may ask. `now`: monotonic seconds."""
        self.name = name
        self.trusted = trusted
        self._socket = listening
        self._server = server
        self._limits = limits
        self._now = now
        self._connections: dict[object, Connection] = {}
        self._spare = _take_spare()
        self._warned = -WARN_SECONDS

    async def run(self) -> None:
        """Accept, and end who is idle for too long."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._accept(), name=f"api accept at {self.name}")
            group.create_task(self._mind_idle(), name=f"api idle at {self.name}")

    def close(self) -> None:
        """Stop listening; open connections are the server's to end. Idempotent."""
        self._socket.close()
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def connection_of(self, request: web.Request) -> Connection | None:
        """The connection that a request came by, unless it is gone."""
        return self._connections.get(request.protocol)

    def connect(self) -> Connection:
        """The protocol of a new connection."""
        handler = self._server()

        def ended() -> None:
            self._connections.pop(handler, None)

        connection = Connection(handler, trusted=self.trusted, now=self._now, ended=ended)
        self._connections[handler] = connection
        return connection

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await _readable(loop, self._socket)
            try:
                caller, _ = self._socket.accept()  # not by the loop: whom that has accepted is lost when we are cancelled
            except BlockingIOError:
                continue
            except OSError as error:
                await self._survive(error)
                continue
            if len(self._connections) >= self._limits.connections and not self._drop_longest_idle():
                caller.close()
                continue
            await self._serve(loop, caller)

    async def _serve(self, loop: asyncio.AbstractEventLoop, caller: socket.socket) -> None:
        connection = self.connect()
        try:
            await loop.connect_accepted_socket(lambda: connection, caller)
        except OSError as error:
            logger.debug("a caller at %s was gone before it was served: %s", self.name, error)
            connection.forget()
            caller.close()

    async def _survive(self, error: OSError) -> None:
        """Go on after a failed accept. Raises what is none of the caller's or the machine's passing troubles."""
        if error.errno in _CALLERS_LOSS:
            return
        if error.errno not in _EXHAUSTED:
            raise error
        if self._now() - self._warned >= WARN_SECONDS:
            self._warned = self._now()
            logger.warning(
                "the API at %s turns callers away: %s; raise the limit of open files (ulimit -n)", self.name, error.strerror
            )
        self._turn_one_away()
        await asyncio.sleep(PAUSE_SECONDS)

    def _turn_one_away(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
            try:
                caller, _ = self._socket.accept()
                caller.close()
            except OSError as error:
                logger.debug("nobody could be turned away at %s: %s", self.name, error)
        self._spare = _take_spare()

    def _drop_longest_idle(self) -> bool:
        """End the connection that has been idle for longest; whether there is any."""
        idle = [(seconds, one) for one in self._connections.values() if (seconds := one.idle) is not None]
        if not idle:
            return False
        _, longest = max(idle, key=lambda pair: pair[0])
        longest.forget()
        longest.abort()
        return True

    async def _mind_idle(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._limits.idle))
            for connection in tuple(self._connections.values()):
                if (connection.idle or 0.0) >= self._limits.idle:
                    connection.abort()


def _take_spare() -> int | None:
    """A descriptor to give up in need; None while there is none to be had."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            raise
        return None


async def _readable(loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
    """Wait until somebody can be accepted, or the socket has failed."""
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(listening, wake)
    try:
        await ready
    finally:
        loop.remove_reader(listening)
