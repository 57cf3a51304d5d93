"""The API's description in OpenAPI 3.1, made from the table of its routes and the structures that they name."""

from typing import Any, Final

import msgspec

from bflcd.api.route import Integer, Route
from bflcd.api.schema.envelope import SCHEMA
from bflcd.version import __version__

_REF_TEMPLATE: Final = "#/components/schemas/{name}"


_ERROR: Final = {
    "type": "object",
    "required": ["schema", "status", "code", "message", "hint"],
    "properties": {
        "schema": {"const": SCHEMA},
        "status": {"const": "error"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": {"type": "string"},
    },
}


def openapi(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The whole description of a table of routes, as a JSON-ready value."""
    structures = [kind for route in routes for kind in (route.answer, route.body, route.inside) if _is_structure(kind)]
    schemas, components = msgspec.json.schema_components(structures, ref_template=_REF_TEMPLATE)
    schema_of = dict(zip(structures, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = _operation(route, schema_of)
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


def _is_structure(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, str)


def _operation(route: Route, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{route.method}_{route.path.strip('/').replace('/', '_').replace('.', '_')}",
        "summary": route.summary,
        "responses": {
            "200": {"description": route.summary, "content": _content(route.answer, schema_of)},
            "default": _refusal(),
        },
    }
    if route.query:
        described["parameters"] = [_parameter(parameter) for parameter in route.query]
    if route.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[route.body]}}}
    if not route.needs_token:
        described["security"] = []
    return described


def _parameter(parameter: Integer) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "minimum": parameter.low, "maximum": parameter.high}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {"name": parameter.name, "in": "query", "required": False, "description": parameter.text, "schema": schema}


def _content(answer: Any, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if not _is_structure(answer):
        return {answer: {}}
    envelope = {
        "type": "object",
        "required": ["schema", "status", "data"],
        "properties": {"schema": {"const": SCHEMA}, "status": {"const": "ok"}, "data": schema_of[answer]},
    }
    return {"application/json": {"schema": envelope}}


def _refusal() -> dict[str, Any]:
    schema = {"$ref": _REF_TEMPLATE.format(name="Error")}
    return {"description": "refused or failed", "content": {"application/json": {"schema": schema}}}
