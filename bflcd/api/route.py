"""One route of the API: what it takes, what it gives, and the check of a request against that."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from bflcd.api.metrics import Metrics
from bflcd.api.node_view import NodeView
from bflcd.api.responses import ok
from bflcd.errors import UsageError

BODY_SECONDS: Final = 10.0
"""In which a request's body, at most some KiB from this machine, has to be here."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A query parameter: a whole number from `low` to `high`; `default` counts where it is absent."""

    name: str
    low: int
    high: int
    text: str
    default: int | None = None

    def read(self, text: str) -> int:
        """The number that `text` is. Raises UsageError."""
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and self.low <= int(text) <= self.high):
            raise UsageError(
                f"{self.name} must be a whole number from {self.low} to {self.high}, not {text[:40]!r}", code="bad_argument"
            )
        return int(text)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that fits its route: the numbers of its query that are given or have a default, and its body's structure."""

    request: web.Request
    numbers: Mapping[str, int]
    body: Any = None


@dataclass(frozen=True, slots=True)
class Backend:
    """What handlers stand on; `closing` is set when the server ends its event streams."""

    node: NodeView
    metrics: Metrics
    routes: tuple["Route", ...]
    closing: asyncio.Event


Handler = Callable[[Backend, Call], Awaitable[Any]]
"""Gives the answer's structure, or the whole response where the answer is a media type."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path. `answer`: a structure, or a media type with the structure `inside` it, if it has one."""

    method: Literal["get", "post"]
    path: str
    summary: str
    handler: Handler
    answer: Any
    query: tuple[Integer, ...] = ()
    body: type | None = None
    inside: type | None = None
    needs_token: bool = True

    async def serve(self, backend: Backend, request: web.Request) -> web.StreamResponse:
        """Check a request and answer it. Raises UsageError, and what the handler raises."""
        body = None if self.body is None else await _body(request, self.body)
        answer = await self.handler(backend, Call(request, self._numbers(request), body))
        return answer if isinstance(answer, web.StreamResponse) else ok(answer)

    def _numbers(self, request: web.Request) -> dict[str, int]:
        """The query's numbers; a route without parameters ignores what a probe or a scraper appends."""
        unknown = sorted(set(request.query) - {parameter.name for parameter in self.query}) if self.query else []
        if unknown:
            raise UsageError(f"{self.path} takes no {', '.join(unknown[:4])}", code="bad_argument")
        found: dict[str, int] = {}
        for parameter in self.query:
            text = request.query.get(parameter.name)
            number = parameter.default if text is None else parameter.read(text)
            if number is not None:
                found[parameter.name] = number
        return found


async def _body(request: web.Request, kind: type) -> Any:
    if request.content_type != "application/json":
        raise UsageError("the body must be application/json", code="bad_content_type")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await request.read()
    except TimeoutError as error:
        raise UsageError(f"the body was not here within {BODY_SECONDS:.0f} s", code="bad_argument") from error
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's; text that is no UTF-8; arrays in arrays without end
        raise UsageError(f"the body can't be understood: {error}", code="bad_argument") from error
