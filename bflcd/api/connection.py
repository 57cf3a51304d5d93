"""One connection to the API: what comes is handed to the HTTP library, from a stranger no more than the head of one request."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

MAX_HEAD_BYTES: Final = 16 * 1024
"""Looked at of what somebody sends who has not shown a right to ask; a request with our token has some 200."""


class Handler(Protocol):
    """What the HTTP library makes for a connection (aiohttp's `RequestHandler`)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio's protocols."""

    def data_received(self, data: bytes) -> None:
        """As asyncio's protocols."""

    def eof_received(self) -> None:
        """As asyncio's protocols."""

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio's protocols."""

    def pause_writing(self) -> None:
        """As asyncio's protocols."""

    def resume_writing(self) -> None:
        """As asyncio's protocols."""


class Connection(asyncio.Protocol):
    """The library's handler with a gate before it. `trusted`: has shown that it may ask."""

    def __init__(self, handler: Handler, *, trusted: bool, now: Callable[[], float], ended: Callable[[], None]) -> None:
        """`now`: monotonic seconds; `ended` is called when the connection is gone."""
        self.trusted = trusted
        self._handler = handler
        self._now = now
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._asking = False
        self._since = now()
        self._taken = 0
        self._held = b""

    def begin(self, *, trusted: bool) -> None:
        """A request's head is here; its asker has the right to ask, or not."""
        self._asking = True
        if trusted and not self.trusted:
            self.trusted = True
            held, self._held = self._held, b""
            if held and self._transport is not None:
                self._transport.resume_reading()
                self._handler.data_received(held)

    def done(self) -> None:
        """The request has its answer, though that may not be written yet."""
        self._asking = False
        self._since = self._now()

    @property
    def idle(self) -> float | None:
        """Seconds without a request; None while there is one, or while who may ask still reads an answer."""
        transport = self._transport
        if self._asking or (self.trusted and transport is not None and transport.get_write_buffer_size() > 0):
            return None
        return self._now() - self._since

    def forget(self) -> None:
        """Free its place among the connections before it is gone."""
        self._ended()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.trusted:
            self._handler.data_received(data)
            return
        room = max(0, MAX_HEAD_BYTES - self._taken)
        self._taken += len(data)
        if room:
            self._handler.data_received(data[:room])
        if len(data) > room and self._transport is not None:
            self._held += data[room:]
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """See asyncio."""
        self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._held = b""
        self._ended()
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._handler.resume_writing()
