"""The API server: HTTP on a Unix socket in the data directory, and on a loopback port where the operator wants one.

Whoever may open the socket may ask everything: its mode says who. A port can be reached by every user of the machine, and by web
pages that the operator's browser shows. So every request there must name a loopback host in its Host header (a page on a rebound
name does not), no answer allows a foreign origin, and all but the health check needs the token that only the owner of the data
directory can read. A request without that right gets its refusal and costs the connection.
"""

import asyncio
import hmac
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bflcd.api.listener import Limits, Listener
from bflcd.api.metrics import Metrics
from bflcd.api.node_view import NodeView
from bflcd.api.place import SOCKET_NAME, listen_at, listen_on, remove_socket
from bflcd.api.responses import failure, failure_of
from bflcd.api.route import Backend, Route
from bflcd.api.routes import ROUTES, open_paths, register
from bflcd.api.token import FILE_NAME, ApiFile, new_token, remove_api_file, write_api_file
from bflcd.closing import aftermath, closing
from bflcd.config.port import Port
from bflcd.errors import BflcError
from bflcd.faults import is_there

MAX_BODY_BYTES: Final = 64 * 1024
"""Largest request body: a prune has 40 bytes."""

LOOK_SECONDS: Final = 5.0
"""Between two looks whether socket and `api.json` are still there."""

STOP_SECONDS: Final = 1.0
"""How long open answers may take when the server stops."""

SOCKET_LIMITS: Final = Limits(connections=64, idle=60.0)
"""Of the owner's own commands and programs: 16 of them may be event streams."""

PORT_LIMITS: Final = Limits(connections=32, idle=10.0)
"""Of whoever is on this machine; a scraper needs one connection and a moment."""

HOST_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
"""What a Host header may name, with our port."""

Refuse = Callable[[web.Request], web.Response | None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Side:
    """One place that is listened at, the library's server behind it, and the task that accepts."""

    listener: Listener
    runner: web.AppRunner
    accepting: "asyncio.Task[None]"


class ApiServer:
    """Serves a NodeView. `start` listens and writes `api.json`; `close` takes both back."""

    def __init__(
        self,
        node: NodeView,
        metrics: Metrics,
        datadir: Path,
        *,
        port: Port | None = None,
        routes: tuple[Route, ...] = ROUTES,
        socket_limits: Limits = SOCKET_LIMITS,
        port_limits: Limits = PORT_LIMITS,
        look: float = LOOK_SECONDS,
    ) -> None:
        """Whoever starts it holds the lock of `datadir`. `look`: seconds between two looks whether the way in is still there."""
        self._look = look
        self._socket: tuple[int, int] | None = None
        self._port = port
        self._datadir = datadir
        self._token = new_token()
        self._backend = Backend(node, metrics, routes, asyncio.Event())
        self._open = open_paths(routes)
        self._socket_limits, self._port_limits = socket_limits, port_limits
        self._sides: list[_Side] = []
        self.path = datadir / SOCKET_NAME
        self.url = ""
        """Of the port; empty where there is none."""

    async def start(self) -> str:
        """Listen, write `api.json`, return where: the URL, else `unix:` and the socket's path. Raises MachineError."""
        try:
            await self._listen()
            write_api_file(self._datadir, ApiFile(url=self.url, token=self._token, pid=os.getpid()))
        except BaseException:
            with aftermath("the API"):
                await self._stop_listening()
            raise
        where = self.url or f"unix:{self.path}"
        logger.info("API at %s", where)
        return where

    async def _listen(self) -> None:
        if self._port is not None:
            listening = listen_on(self._port)
            self._port = Port(self._port.host, listening.getsockname()[1])
            self.url = f"http://{self._port}"
            await self._serve(self.url, listening, self._port_limits, self._refuse, trusted=False)
        await self._listen_at_path()

    async def _listen_at_path(self) -> None:
        await self._serve(str(self.path), listen_at(self.path), self._socket_limits, _refuse_web_pages, trusted=True)
        self._socket = _identity(self.path)

    async def _serve(self, name: str, listening: socket.socket, limits: Limits, refuse: Refuse, *, trusted: bool) -> None:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler, refuse(request), listener)

        app = web.Application(middlewares=[guard], client_max_size=MAX_BODY_BYTES)
        register(app, self._backend)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS, handler_cancellation=True)
        await runner.setup()
        assert runner.server is not None
        listener = Listener(name, listening, runner.server, limits, trusted=trusted, now=time.monotonic)
        # Held here and ended in close(), as a TaskGroup would: one can't be entered in start() and left in close().
        accepting = asyncio.get_running_loop().create_task(listener.run(), name=f"api at {name}")
        self._sides.append(_Side(listener, runner, accepting))

    async def wait_closed(self) -> None:
        """Wait for the end, and see meanwhile that the way in stays; raises what a listener died of."""
        async with asyncio.TaskGroup() as group:
            for side in self._sides:
                group.create_task(_outlive(side.accepting))
            group.create_task(self._stay(group))

    async def _stay(self, group: asyncio.TaskGroup) -> None:
        """Make anew what somebody removed from the data directory: without it a running node could not be steered any more."""
        told = ""
        while not self._backend.closing.is_set():
            try:
                async with asyncio.timeout(self._look):
                    await self._backend.closing.wait()
            except TimeoutError:
                try:
                    await self._put_back(group)
                    told = ""
                except (BflcError, OSError) as error:  # it is tried again: no reason to end a node that works
                    if str(error) != told:
                        logger.warning("the way in can't be made anew: %s", error)
                    told = str(error)

    async def _put_back(self, group: asyncio.TaskGroup) -> None:
        if self._socket is None or _identity(self.path) != self._socket:
            await self._listen_anew(group)
            logger.warning("%s was removed from outside, and is there again", self.path)
        if not is_there(self._datadir / FILE_NAME):
            write_api_file(self._datadir, ApiFile(url=self.url, token=self._token, pid=os.getpid()))
            logger.warning("%s was removed from outside, and is there again", self._datadir / FILE_NAME)

    async def _listen_anew(self, group: asyncio.TaskGroup) -> None:
        """Another socket under the name; connections by the one before end."""
        before = next(side for side in self._sides if side.listener.trusted)
        await self._listen_at_path()
        group.create_task(_outlive(self._sides[-1].accepting))
        self._sides.remove(before)
        before.accepting.cancel()
        await asyncio.gather(before.accepting, return_exceptions=True)
        before.listener.close()
        group.create_task(before.runner.cleanup())

    async def close(self) -> None:
        """Remove `api.json`, end the event streams, stop listening. Idempotent."""
        if self._sides:
            async with closing("the API", self._stop_listening):
                remove_api_file(self._datadir, self._token)

    async def _stop_listening(self) -> None:
        sides, self._sides = self._sides, []
        self._backend.closing.set()
        for side in sides:
            side.accepting.cancel()
        await asyncio.gather(*(side.accepting for side in sides), return_exceptions=True)
        for side in sides:
            side.listener.close()
            if side.listener.trusted:
                remove_socket(self.path)
        for side in sides:
            await side.runner.cleanup()

    async def _guard(
        self, request: web.Request, handler: Handler, refused: web.Response | None, listener: Listener
    ) -> web.StreamResponse:
        connection = listener.connection_of(request)
        if connection is None:  # it ended meanwhile: nobody is left to be answered
            return failure(503, "busy", "the connection has ended")
        connection.begin(trusted=refused is None and request.path not in self._open)
        try:
            answer = await _answer(request, handler) if refused is None else refused
        finally:
            connection.done()
        if not connection.trusted:
            answer.force_close()
        return answer

    def _refuse(self, request: web.Request) -> web.Response | None:
        """The cheap checks on what came by the port, before anything else of a request is looked at."""
        assert self._port is not None
        if request.headers.getall("Host", []) not in ([f"{name}:{self._port.number}"] for name in HOST_NAMES):
            return failure(403, "bad_host", "the Host header must name this machine's loopback address and the API's port")
        if (refused := _refuse_web_pages(request)) is not None or request.path in self._open:
            return refused
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # A header's bytes that are no UTF-8 come as surrogates, which a plain `encode` does not take.
        given = token.strip().encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token.encode()):
            refused = failure(
                401, "bad_token", "the bearer token is missing or wrong", "take it from api.json in the data directory"
            )
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        return None


def _refuse_web_pages(request: web.Request) -> web.Response | None:
    return failure(403, "bad_origin", "the API does not answer web pages") if "Origin" in request.headers else None


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refusal_of(error, request)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug in one answer must not end the server; `failure_of` logs it
        return failure_of(error, f"{request.method} {request.path}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what has this name, which is not followed; None: nothing has it. Raises OSError."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


async def _outlive(accepting: Awaitable[None]) -> None:
    """Wait for a listener's end without ending it. Raises what it died of."""
    try:
        await asyncio.shield(accepting)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling() > 0:
            raise


def _refusal_of(error: web.HTTPException, request: web.Request) -> web.Response:
    """aiohttp's own refusals in our envelope."""
    match error:
        case web.HTTPMethodNotAllowed():
            refused = failure(405, "method_not_allowed", f"{request.path} takes {', '.join(sorted(error.allowed_methods))}")
            refused.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
            return refused
        case web.HTTPNotFound():
            return failure(404, "no_such_route", f"there is no {request.path}", "GET /openapi.json lists what there is")
        case web.HTTPRequestEntityTooLarge():
            return failure(413, "too_large", f"the request's body is above {MAX_BODY_BYTES} bytes")
        case _:
            return failure(error.status, "bad_request", error.reason or "the request can't be understood")
