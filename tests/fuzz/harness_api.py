"""Whatever reaches the API's port: raw HTTP, with and without the token; no answer may say that it was our bug."""

import asyncio
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bflcd.api.metrics import Metrics
from bflcd.api.routes import ROUTES
from bflcd.api.server import ApiServer
from bflcd.config.port import Port
from tests.fuzz.target import Loop, Target
from tests.helpers.fake_node import FakeNode

TOKEN, HOST = b"{TOKEN}", b"{HOST}"
"""What stands for the running server's own in an input."""

PATHS = (
    *(route.path for route in ROUTES if route.method == "get" and not route.query),
    "/v1/history?first=1&count=10",
    "/v1/model?round=3",
    "/v1/logs?lines=5&after=%FF",
    "/v1/nothing/%00/%ED%A0%80?a=%ED%A0%80",
)


class Wire(asyncio.Transport):
    """The socket's side of one connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing is read here."""

    resume_reading = pause_reading


class Server:
    """A server that listens, and takes connections from `ask` as well."""

    def __init__(self) -> None:
        self._api: ApiServer | None = None

    async def ask(self, data: bytes) -> bytes:
        """What one connection gets for these bytes."""
        if self._api is None:
            logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
            logging.getLogger("bflcd.api.responses").setLevel(logging.CRITICAL)
            self._api = ApiServer(FakeNode(), Metrics(), Path(tempfile.mkdtemp(prefix="fuzz-api-")), port=Port("127.0.0.1", 0))
            await self._api.start()
        protocol, port = self._api._sides[0].listener.connect(), Wire()
        protocol.connection_made(port)
        host = self._api.url.removeprefix("http://").encode()
        protocol.data_received(data.replace(TOKEN, self._api._token.encode()).replace(HOST, host))
        for _ in range(40):
            await asyncio.sleep(0)
            if port.closed:
                break
        protocol.connection_lost(None)
        await asyncio.sleep(0)
        return bytes(port.sent)


LOOP, SERVER = Loop(), Server()


def _request(method: str, path: str, body: bytes = b"", headers: bytes = b"") -> bytes:
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode() if method == "POST" else b""
    first = f"{method} {path} HTTP/1.1\r\n".encode()
    return first + b"Host: " + HOST + b"\r\nAuthorization: Bearer " + TOKEN + b"\r\n" + headers + length + b"\r\n" + body


def seeds() -> Iterator[bytes]:
    for path in PATHS:
        yield _request("GET", path)
    yield _request("GET", "/v1/events?after=1", headers=b"Last-Event-ID: 5\r\n")
    yield _request("GET", "/v1/events", headers=b"Last-Event-ID: \xff\r\n")
    yield _request("GET", "/v1/status").replace(b"Bearer {TOKEN}", b"Bearer \xff\xfe")
    for value in ({"keep": 3}, {"to": 70, "dry_run": True}, {"keep": -1}, {}):
        yield _request("POST", "/v1/prune", msgspec.json.encode(value))
    yield _request("POST", "/v1/prune", b'{"keep":"\xff"}')
    yield _request("POST", "/v1/prune", b'{"to":' + b"9" * 5000 + b"}")
    yield _request("POST", "/v1/prune", b'{"x":' + b"[" * 1500 + b"]" * 1500 + b"}")
    wishes: tuple[dict[str, object], ...] = (
        {"dry_run": True},
        {"retired": ["ab" * 32, "zz"], "committee": ["\ud800"], "force": True},
        {"join": "00" * 32, "expect": "x" * 5000, "new": True},
        {"committee": ["cd" * 32] * 500},
    )
    for wish in wishes:
        yield _request("POST", "/v1/recovery", json.dumps(wish).encode())
    yield _request("POST", "/v1/recovery", b'{"retired":{"a":[' + b"1," * 999 + b"1]}}")
    yield _request("POST", "/v1/stop", b"{}")


def one(data: bytes) -> None:
    answer: bytes = LOOP.run(SERVER.ask(data))
    assert b" 500 " not in answer[:20], answer[-400:]


TARGET = Target("api", seeds, one, share=0.1, longest=8192)
