"""What each route of the API answers."""

import asyncio
import hashlib
from typing import Final

import msgspec
from aiohttp import web

from bflcd.api.event_stream import stream_events
from bflcd.api.metrics import CONTENT_TYPE
from bflcd.api.openapi import openapi
from bflcd.api.route import Backend, Call, Integer
from bflcd.api.schema.alliance import AllianceView, OperationView
from bflcd.api.schema.chain import HistoryRow, PruneRequest, PruneView
from bflcd.api.schema.events import LogView
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.money import EarningsRow, LedgerView
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Health, Peer, Status, StopView

MAX_ROUNDS: Final = 2**32
"""The last round that a request may name."""

MAX_SEQ: Final = 2**62
"""The last number of an event or a log line that a request may name."""

_LAST_EVENT: Final = Integer("Last-Event-ID", 0, MAX_SEQ, "the header by which a client resumes an event stream")


async def health(backend: Backend, _: Call) -> Health:
    """Nothing but that the daemon runs."""
    return Health(health="syncing" if backend.node.status().syncing else "ok")


async def describe(backend: Backend, _: Call) -> web.Response:
    """The description of all routes."""
    return web.Response(body=msgspec.json.encode(openapi(backend.routes)), content_type="application/json")


async def metrics(backend: Backend, _: Call) -> web.Response:
    """The exposition text."""
    return web.Response(body=backend.metrics.render(backend.node.status()), headers={"Content-Type": CONTENT_TYPE})


async def status(backend: Backend, _: Call) -> Status:
    """Where the node stands."""
    return backend.node.status()


async def peers(backend: Backend, _: Call) -> list[Peer]:
    """Open connections."""
    return backend.node.peers()


async def running_round(backend: Backend, _: Call) -> RoundView:
    """The running round."""
    return backend.node.round()


async def committee(backend: Backend, _: Call) -> CommitteeView:
    """The committee of the running round."""
    return backend.node.committee()


async def members(backend: Backend, _: Call) -> list[MemberView]:
    """All members."""
    return backend.node.members()


async def history(backend: Backend, call: Call) -> list[HistoryRow]:
    """Without `first` the newest rows."""
    count = call.numbers["count"]
    newest = max(1, backend.node.status().round - count + 1)
    return await backend.node.history(call.numbers.get("first", newest), count)


async def ledger(backend: Backend, _: Call) -> LedgerView:
    """Who has what."""
    return backend.node.ledger()


async def earnings(backend: Backend, call: Call) -> list[EarningsRow]:
    """Without `first` of the newest models."""
    count = call.numbers["count"]
    newest = max(1, backend.node.status().round - count + 1)
    return await backend.node.earnings(call.numbers.get("first", newest), count)


async def model(backend: Backend, call: Call) -> web.Response:
    """The payload's bytes; what they are stands in the header X-BFLC-Model."""
    data, view = await backend.node.model(call.numbers.get("round"))
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    headers = {"X-BFLC-Model": msgspec.json.encode(view).decode(), "X-BFLC-SHA256": digest, "Cache-Control": "no-store"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


async def events(backend: Backend, call: Call) -> web.StreamResponse:
    """A stream of events; `Last-Event-ID` or `after` resumes it."""
    last = call.request.headers.get(_LAST_EVENT.name)
    after = call.numbers.get("after") if last is None else _LAST_EVENT.read(last)
    return await stream_events(call.request, backend.node.events(after), backend.closing)


async def logs(backend: Backend, call: Call) -> LogView:
    """The newest log lines."""
    return backend.node.logs(call.numbers["lines"], call.numbers["after"])


async def alliance(backend: Backend, _: Call) -> AllianceView:
    """Who is about to join, and what is about to change."""
    return backend.node.alliance()


async def sign_operation(backend: Backend, call: Call) -> OperationView:
    """Sign an operation."""
    return await backend.node.sign_operation(call.body)


async def recovery(backend: Backend, _: Call) -> RecoveryView:
    """What a manager would sign."""
    return await backend.node.recover(RecoveryRequest(dry_run=True))


async def recover(backend: Backend, call: Call) -> RecoveryView:
    """Sign it."""
    return await backend.node.recover(call.body)


async def prune(backend: Backend, call: Call) -> PruneView:
    """Drop payloads. Raises UsageError unless the body says how many exactly once."""
    wanted: PruneRequest = call.body
    return await backend.node.prune(wanted)


async def stop(backend: Backend, _: Call) -> StopView:
    """Begin a clean stop."""
    return backend.node.request_stop()
