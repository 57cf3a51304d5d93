"""The API server: HTTP on the loopback interface, for the control command, Prometheus and whoever holds the token.

A web page that the operator's browser shows can reach loopback ports too. So every request must name a loopback host in its
Host header (a page on a rebound name does not), no answer allows a foreign origin, and all but the health check needs the token
that only the owner of the data directory can read.
"""

import asyncio
import hmac
import ipaddress
import logging
import os
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bflcd.api.metrics import Metrics
from bflcd.api.node_view import NodeView
from bflcd.api.responses import failure, failure_of
from bflcd.api.route import Backend, Route
from bflcd.api.routes import ROUTES, open_paths, register
from bflcd.api.token import ApiFile, new_token, remove_api_file, write_api_file
from bflcd.errors import MachineError, UsageError

MAX_BODY_BYTES: Final = 64 * 1024
"""Largest request body: a prune has 40 bytes."""

STOP_SECONDS: Final = 1.0
"""How long open answers may take when the server stops."""

HOST_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
"""What a Host header may name, with our port."""

logger = logging.getLogger(__name__)


class ApiServer:
    """Serves a NodeView. `start` binds and writes `api.json`; `close` takes both back."""

    def __init__(
        self,
        node: NodeView,
        metrics: Metrics,
        datadir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        routes: tuple[Route, ...] = ROUTES,
    ) -> None:
        """Raises UsageError unless `host` is a loopback address: the API has no encryption."""
        self._host = _loopback(host)
        self._port = port
        self._datadir = datadir
        self._token = new_token()
        self._backend = Backend(node, metrics, routes, asyncio.Event())
        self._open = open_paths(routes)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> str:
        """Bind, write `api.json`, return the URL. Raises MachineError if the port is taken or the file can't be written."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        register(app, self._backend)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            self._port = runner.addresses[0][1]
            host = f"[{self._host}]" if ":" in self._host else self._host
            self.url = f"http://{host}:{self._port}"
            write_api_file(self._datadir, ApiFile(url=self.url, token=self._token, pid=os.getpid()))
        except OSError as error:
            await runner.cleanup()
            raise MachineError(
                f"the API cannot listen on {self._host} port {self._port}: {error.strerror}",
                hint="choose another api port, or 0 for any that is free",
                code="port_in_use",
            ) from error
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        logger.info("API at %s", self.url)
        return self.url

    async def close(self) -> None:
        """Remove `api.json`, end the event streams, stop listening. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            remove_api_file(self._datadir, self._token)
        finally:
            self._backend.closing.set()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = self._refuse(request)
        if refused is not None:
            return refused
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refusal_of(error, request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug in one answer must not end the server; `failure_of` logs it
            return failure_of(error, f"{request.method} {request.path}")

    def _refuse(self, request: web.Request) -> web.Response | None:
        """The cheap checks, before anything else of a request is looked at."""
        if request.headers.getall("Host", []) not in ([f"{name}:{self._port}"] for name in HOST_NAMES):
            return failure(403, "bad_host", "the Host header must name this machine's loopback address and the API's port")
        if "Origin" in request.headers:
            return failure(403, "bad_origin", "the API does not answer web pages")
        if request.path in self._open:
            return None
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


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if host not in ("127.0.0.1", "::1") and not loopback:
        raise UsageError(
            f"the API binds to loopback only, not to {host!r}",
            hint="use 127.0.0.1 or ::1, and reach it from elsewhere through an SSH tunnel",
            code="bad_api_host",
        )
    return host


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
