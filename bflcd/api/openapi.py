"""The API's description in OpenAPI 3.1, made from the structures that it answers with."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bflcd.api.schema.chain import HistoryRow, PruneRequest, PruneView
from bflcd.api.schema.events import Event, LogView
from bflcd.api.schema.members import CommitteeView, MemberView
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.api.schema.round import RoundView
from bflcd.api.schema.status import Health, Peer, Status, StopView
from bflcd.version import __version__

_REF_TEMPLATE: Final = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One path: what it answers (a structure, or a media type), its query parameters (integers), its body."""

    method: str
    path: str
    summary: str
    answer: Any
    query: tuple[tuple[str, str], ...] = ()
    body: type | None = None
    open: bool = False


OPERATIONS: Final = (
    Operation("get", "/healthz", "Whether the daemon runs; needs no token", Health, open=True),
    Operation("get", "/openapi.json", "This description", "application/json"),
    Operation("get", "/metrics", "Metrics for Prometheus", "text/plain"),
    Operation("get", "/v1/status", "Where the node stands", Status),
    Operation("get", "/v1/peers", "Open connections", list[Peer]),
    Operation("get", "/v1/round", "The running round", RoundView),
    Operation("get", "/v1/committee", "The committee of the running round", CommitteeView),
    Operation("get", "/v1/members", "Members of the alliance", list[MemberView]),
    Operation(
        "get",
        "/v1/history",
        "Committed models",
        list[HistoryRow],
        (("first", "round of the first row; without it the newest rows"), ("count", "rows, at most 1000")),
    ),
    Operation(
        "get",
        "/v1/model",
        "A model as safetensors; X-BFLC-Model says what it is",
        "application/octet-stream",
        (("round", "without it the newest"),),
    ),
    Operation(
        "get", "/v1/events", "Server-sent events; each `data` is an Event", "text/event-stream", (("after", "resume after it"),)
    ),
    Operation(
        "get",
        "/v1/logs",
        "The newest log lines",
        LogView,
        (("lines", "at most 2000"), ("after", "number of the last line that is known")),
    ),
    Operation("get", "/v1/recovery", "What a manager would sign for a round that can't go on", RecoveryView),
    Operation("post", "/v1/prune", "Drop old payloads", PruneView, body=PruneRequest),
    Operation("post", "/v1/recovery", "Sign a recovery of the running round", RecoveryView, body=RecoveryRequest),
    Operation("post", "/v1/stop", "Stop the daemon", StopView),
)
"""Every path that the server knows."""

_ERROR: Final = {
    "type": "object",
    "required": ["schema", "status", "code", "message", "hint"],
    "properties": {
        "schema": {"const": 1},
        "status": {"const": "error"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": {"type": "string"},
    },
}


def openapi() -> dict[str, Any]:
    """The whole description, as a JSON-ready value."""
    answers = [op.answer for op in OPERATIONS if not isinstance(op.answer, str)] + [Event]
    bodies = [op.body for op in OPERATIONS if op.body is not None]
    schemas, components = msgspec.json.schema_components([*answers, *bodies], ref_template=_REF_TEMPLATE)
    answer_schemas = iter(schemas[: len(answers)])
    body_schemas = iter(schemas[len(answers) :])
    paths: dict[str, Any] = {}
    for op in OPERATIONS:
        answer = None if isinstance(op.answer, str) else next(answer_schemas)
        body = None if op.body is None else next(body_schemas)
        paths.setdefault(op.path, {})[op.method] = _operation(op, answer, body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bflcd",
            "version": __version__,
            "description": "The API of a BFLC node, on loopback, with a bearer token.",
        },
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "from api.json in the data directory"}
            },
        },
    }


def _operation(op: Operation, answer: dict[str, Any] | None, body: dict[str, Any] | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{op.method}_{op.path.strip('/').replace('/', '_').replace('.', '_')}",
        "summary": op.summary,
        "responses": {"200": {"description": op.summary, "content": _content(op, answer)}, "default": _refusal()},
    }
    if op.query:
        described["parameters"] = [
            {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "integer", "minimum": 0}}
            for name, text in op.query
        ]
    if body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if op.open:
        described["security"] = []
    return described


def _content(op: Operation, answer: dict[str, Any] | None) -> dict[str, Any]:
    if answer is None:
        return {str(op.answer): {}}
    envelope = {
        "type": "object",
        "required": ["schema", "status", "data"],
        "properties": {"schema": {"const": 1}, "status": {"const": "ok"}, "data": answer},
    }
    return {"application/json": {"schema": envelope}}


def _refusal() -> dict[str, Any]:
    schema = {"$ref": _REF_TEMPLATE.format(name="Error")}
    return {"description": "refused or failed", "content": {"application/json": {"schema": schema}}}
