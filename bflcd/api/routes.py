"""The table of all routes: serving, the checks of parameters and bodies, and the OpenAPI description follow from it."""

from functools import partial
from typing import Final

from aiohttp import web

from bflcd.api import handlers
from bflcd.api.event_bus import LOG_RING
from bflcd.api.handlers import MAX_ROUNDS, MAX_SEQ
from bflcd.api.privacy import privacy
from bflcd.api.route import Backend, Integer, Route
from bflcd.api.schema.alliance import AllianceView, OperationRequest, OperationView
from bflcd.api.schema.chain import MAX_HISTORY, HistoryRow, ModelView, PruneRequest, PruneView
from bflcd.api.schema.events import Event, LogView
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.money import EarningsRow, LedgerView
from bflcd.api.schema.privacy import PrivacyView
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Health, Peer, Status, StopView

ROUTES: Final = (
    Route("get", "/healthz", "Whether the daemon runs; needs no token", handlers.health, Health, needs_token=False),
    Route("get", "/openapi.json", "This description", handlers.describe, "application/json"),
    Route("get", "/metrics", "Metrics for Prometheus", handlers.metrics, "text/plain"),
    Route("get", "/v1/status", "Where the node stands", handlers.status, Status),
    Route("get", "/v1/peers", "Open connections", handlers.peers, list[Peer]),
    Route("get", "/v1/round", "The running round", handlers.running_round, RoundView),
    Route("get", "/v1/committee", "The committee of the running round", handlers.committee, CommitteeView),
    Route("get", "/v1/members", "Members of the alliance", handlers.members, list[MemberView]),
    Route(
        "get",
        "/v1/history",
        "Committed models",
        handlers.history,
        list[HistoryRow],
        query=(
            Integer("first", 1, MAX_ROUNDS, "round of the first row; without it the newest rows"),
            Integer("count", 1, MAX_HISTORY, "rows", default=100),
        ),
    ),
    Route(
        "get",
        "/v1/model",
        "A model as safetensors; X-BFLC-Model says what it is",
        handlers.model,
        "application/octet-stream",
        query=(Integer("round", 0, MAX_ROUNDS, "without it the newest"),),
        inside=ModelView,
    ),
    Route(
        "get",
        "/v1/events",
        "Server-sent events; each `data` is an Event",
        handlers.events,
        "text/event-stream",
        query=(Integer("after", 0, MAX_SEQ, "resume after it"),),
        inside=Event,
    ),
    Route(
        "get",
        "/v1/logs",
        "The newest log lines",
        handlers.logs,
        LogView,
        query=(
            Integer("lines", 1, LOG_RING, "lines", default=100),
            Integer("after", 0, MAX_SEQ, "number of the last line that is known", default=0),
        ),
    ),
    Route(
        "get",
        "/v1/alliance",
        "Applicants, motions of managers, who has gone, what waits for its block",
        handlers.alliance,
        AllianceView,
    ),
    Route(
        "post",
        "/v1/operations",
        "Sign an operation: admit, refuse, kick, return, appoint, dismiss, set, leave, transfer, pay, approve, rollback",
        handlers.sign_operation,
        OperationView,
        body=OperationRequest,
    ),
    Route("get", "/v1/ledger", "All units: who has what, and who owes what", handlers.ledger, LedgerView),
    Route(
        "get",
        "/v1/earnings",
        "What committed models gave members, and took from them",
        handlers.earnings,
        list[EarningsRow],
        query=(
            Integer("first", 1, MAX_ROUNDS, "round of the first model; without it the newest ones"),
            Integer("count", 1, MAX_HISTORY, "models", default=100),
        ),
    ),
    Route("get", "/v1/privacy", "What gets out of this node's rows at most, as bounds", privacy, PrivacyView),
    Route("get", "/v1/recovery", "What a manager would sign for a round that can't go on", handlers.recovery, RecoveryView),
    Route("post", "/v1/prune", "Drop old payloads", handlers.prune, PruneView, body=PruneRequest),
    Route("post", "/v1/recovery", "Sign a recovery of the running round", handlers.recover, RecoveryView, body=RecoveryRequest),
    Route("post", "/v1/stop", "Stop the daemon", handlers.stop, StopView),
)


def register(app: web.Application, backend: Backend) -> None:
    """Serve every route of the backend's table in `app`."""
    app.router.add_routes(
        [web.route(route.method.upper(), route.path, partial(route.serve, backend)) for route in backend.routes]
    )


def open_paths(routes: tuple[Route, ...]) -> frozenset[str]:
    """Paths that need no token, whatever the method."""
    return frozenset(route.path for route in routes) - {route.path for route in routes if route.needs_token}
