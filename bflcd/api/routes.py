"""What each path of the API answers."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from bflcd.api.envelope import ok
from bflcd.api.metrics import CONTENT_TYPE, Metrics
from bflcd.api.node_view import NodeView
from bflcd.api.openapi import openapi
from bflcd.api.schema.chain import MAX_HISTORY, PruneRequest, PruneView
from bflcd.api.schema.events import Event
from bflcd.api.schema.recovery import RecoveryRequest
from bflcd.api.schema.status import Health
from bflcd.errors import UsageError
from bflcd.store.pruning import keep_for_height

OPEN_PATHS: Final = ("/healthz",)
"""Need no token and tell nothing but that the daemon runs."""

HEARTBEAT_SECONDS: Final = 10.0
"""A comment on a silent event stream: a client that hears nothing for three of them has lost the daemon."""

DEFAULT_HISTORY: Final = 100

MAX_LOG_LINES: Final = 2000

MAX_KEEP: Final = 2**32

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Routes:
    """Handlers of all paths, over one node."""

    def __init__(self, node: NodeView, metrics: Metrics) -> None:
        self._node = node
        self._metrics = metrics
        self._closing = asyncio.Event()

    def register(self, app: web.Application) -> None:
        """Add every path to `app`."""
        app.router.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/openapi.json", self._openapi),
                web.get("/metrics", self._render_metrics),
                web.get("/v1/status", self._status),
                web.get("/v1/peers", self._peers),
                web.get("/v1/round", self._round),
                web.get("/v1/committee", self._committee),
                web.get("/v1/members", self._members),
                web.get("/v1/history", self._history),
                web.get("/v1/model", self._model),
                web.get("/v1/events", self._events),
                web.get("/v1/logs", self._logs),
                web.get("/v1/recovery", self._recovery),
                web.post("/v1/prune", self._prune),
                web.post("/v1/recovery", self._recover),
                web.post("/v1/stop", self._stop),
            ]
        )

    def close(self) -> None:
        """End the event streams."""
        self._closing.set()

    async def _health(self, _: web.Request) -> web.Response:
        return ok(Health(health="syncing" if self._node.status().syncing else "ok"))

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(openapi()), content_type="application/json")

    async def _render_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(self._node.status()), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return ok(self._node.status())

    async def _peers(self, _: web.Request) -> web.Response:
        return ok(self._node.peers())

    async def _round(self, _: web.Request) -> web.Response:
        return ok(self._node.round())

    async def _committee(self, _: web.Request) -> web.Response:
        return ok(self._node.committee())

    async def _members(self, _: web.Request) -> web.Response:
        return ok(self._node.members())

    async def _history(self, request: web.Request) -> web.Response:
        """Without `first` the newest rows."""
        _only(request, ("first", "count"))
        count = _integer(request, "count", 1, MAX_HISTORY) or DEFAULT_HISTORY
        first = _integer(request, "first", 1, MAX_KEEP)
        if first is None:
            first = max(1, self._node.status().round - count + 1)
        return ok(await self._node.history(first, count))

    async def _model(self, request: web.Request) -> web.Response:
        """The payload's bytes; what they are stands in the header X-BFLC-Model."""
        _only(request, ("round",))
        data, view = await self._node.model(_integer(request, "round", 0, MAX_KEEP))
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        headers = {"X-BFLC-Model": msgspec.json.encode(view).decode(), "X-BFLC-SHA256": digest, "Cache-Control": "no-store"}
        return web.Response(body=data, content_type="application/octet-stream", headers=headers)

    async def _logs(self, request: web.Request) -> web.Response:
        _only(request, ("lines", "after"))
        lines = _integer(request, "lines", 1, MAX_LOG_LINES) or 100
        return ok(self._node.logs(lines, _integer(request, "after", 0, 2**62) or 0))

    async def _prune(self, request: web.Request) -> web.Response:
        wanted = await _body(request, PruneRequest)
        if (wanted.keep is None) == (wanted.to is None):
            raise UsageError("prune takes exactly one of keep (rounds) and to (height)", code="bad_argument")
        keep = wanted.keep if wanted.keep is not None else self._keep_for(wanted.to or 0)
        if not 1 <= keep <= MAX_KEEP:
            raise UsageError(
                f"keep must be 1 to {MAX_KEEP}, not {keep}",
                hint="the head's model is never pruned: choose a lower height",
                code="bad_argument",
            )
        pruned: PruneView = await self._node.prune(keep, wanted.dry_run)
        return ok(pruned)

    def _keep_for(self, height: int) -> int:
        """How many rounds to keep so that every whole round up to `height` goes."""
        status = self._node.status()
        return keep_for_height(status.round, status.places, height)

    async def _recovery(self, _: web.Request) -> web.Response:
        return ok(await self._node.recover(RecoveryRequest(dry_run=True)))

    async def _recover(self, request: web.Request) -> web.Response:
        return ok(await self._node.recover(await _body(request, RecoveryRequest)))

    async def _stop(self, _: web.Request) -> web.Response:
        return ok(self._node.request_stop())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events (WHATWG HTML, section 9.2); `Last-Event-ID` or `after` resumes."""
        _only(request, ("after",))
        after = _integer(request, "after", 0, 2**62)
        last = request.headers.get("Last-Event-ID")
        if last is not None:
            after = _parse("Last-Event-ID", last, 0, 2**62)
        stream = self._node.events(after)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        try:
            await self._feed(response, stream)
        except* ConnectionError:
            logger.debug("a client left its event stream")
        except* Exception:
            logger.exception("a bug of ours in an event stream")
            response.force_close()
        return response

    async def _feed(self, response: web.StreamResponse, stream: AsyncGenerator[Event, None]) -> None:
        """Send events and heartbeats until the stream ends, the client leaves or the server closes."""
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(_pump(response, stream), name="api events")
            closing = group.create_task(self._closing.wait(), name="api closing")
            try:
                while not (pump.done() or closing.done()):
                    await response.write(b": alive\n\n")
                    await asyncio.wait((pump, closing), timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pump.cancel()
                closing.cancel()


async def _pump(response: web.StreamResponse, stream: AsyncGenerator[Event, None]) -> None:
    async with aclosing(stream):
        async for event in stream:
            head = f"id: {event.seq}\nevent: {event.type}\ndata: ".encode()
            await response.write(head + msgspec.json.encode(event) + b"\n\n")


def _only(request: web.Request, allowed: Iterable[str]) -> None:
    unknown = sorted(set(request.query) - set(allowed))
    if unknown:
        raise UsageError(f"{request.path} takes no {', '.join(unknown[:4])}", code="bad_argument")


def _integer(request: web.Request, name: str, low: int, high: int) -> int | None:
    text = request.query.get(name)
    return None if text is None else _parse(name, text, low, high)


def _parse(name: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise UsageError(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}", code="bad_argument")
    return int(text)


async def _body(request: web.Request, kind: type[T]) -> T:
    if request.content_type != "application/json":
        raise UsageError("the body must be application/json", code="bad_content_type")
    data = await request.read()
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's; text that is no UTF-8; arrays in arrays without end
        raise UsageError(f"the body can't be understood: {error}", code="bad_argument") from error
