"""Server-sent events (WHATWG HTML, section 9.2): a node's events to one client, with heartbeats, until either side ends it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from aiohttp import web

from bflcd.api.schema.events import Event

HEARTBEAT_SECONDS: Final = 10.0
"""A comment on a silent event stream: a client that hears nothing for three of them has lost the daemon."""

logger = logging.getLogger(__name__)


async def stream_events(request: web.Request, events: AsyncGenerator[Event, None], closing: asyncio.Event) -> web.StreamResponse:
    """Send `events` until they end, the client leaves or `closing` is set."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        await _feed(response, events, closing)
    except* ConnectionError:
        logger.debug("a client left its event stream")
    except* Exception:
        logger.exception("a bug of ours in an event stream")
        response.force_close()
    return response


async def _feed(response: web.StreamResponse, events: AsyncGenerator[Event, None], closing: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        pump = group.create_task(_pump(response, events), name="api events")
        closed = group.create_task(closing.wait(), name="api closing")
        try:
            while not (pump.done() or closed.done()):
                await response.write(b": alive\n\n")
                await asyncio.wait((pump, closed), timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            closed.cancel()


async def _pump(response: web.StreamResponse, events: AsyncGenerator[Event, None]) -> None:
    async with aclosing(events):
        async for event in events:
            head = f"id: {event.seq}\nevent: {event.type}\ndata: ".encode()
            await response.write(head + msgspec.json.encode(event) + b"\n\n")
