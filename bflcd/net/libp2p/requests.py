"""Request/response over reused streams: a stream carries one request at a time, a few streams a peer and protocol."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from bflcd.errors import RequestError
from bflcd.net.libp2p.budget import STRANGER_REQUEST_BYTES
from bflcd.net.libp2p.connection import Connection
from bflcd.net.libp2p.frames import Frames, OversizedError
from bflcd.net.libp2p.library import BaseLibp2pError, MultiselectClientError, MuxedStreamEOF
from bflcd.net.libp2p.switch import Switch
from bflcd.net.libp2p.yamux import PatientStream
from bflcd.net.protocol import MAX_RESPONSE_BYTES
from bflcd.types import CHUNK_BYTES, NodeId, short

_log = logging.getLogger(__name__)

MAX_STREAMS: Final = 8
"""Streams of one peer and protocol: more requests at a time wait their turn."""

_RESPONSE_WINDOW_BYTES: Final = 2 * (CHUNK_BYTES + 64 * 1024)
"""Window of a stream that we ask on: a whole chunk takes less than half of it, so its credit goes back with the next request."""

Ask = Callable[[NodeId, bytes], Awaitable[bytes]]
"""Runs a request handler, wherever it lives, and returns its response; raises what it raises."""


class _Pool:
    """The streams of one peer and protocol."""

    __slots__ = ("idle", "slots")

    def __init__(self) -> None:
        self.idle: list[Frames] = []
        self.slots = trio.Semaphore(MAX_STREAMS)


class Requests:
    """Both sides of every request protocol; lives in the trio thread."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def request(self, peer: NodeId, protocol: str, payload: bytes, max_response: int) -> bytes:
        """Send one request and return the response. Raises RequestError."""
        connection = self._switch.connections.get(peer)
        if connection is None:
            raise RequestError(f"{short(peer)} is not connected, {protocol} can't be asked")
        pool: _Pool = connection.state.setdefault(("pool", protocol), _Pool())
        try:
            async with pool.slots:
                return await _exchange(connection, pool, protocol, payload, max_response)
        except OversizedError as error:
            raise RequestError(f"{short(peer)} answered {protocol} with too much: {error}") from error
        except MultiselectClientError as error:
            raise RequestError(f"{short(peer)} does not answer {protocol}: {error}") from error
        except (BaseLibp2pError, trio.TooSlowError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise RequestError(f"{short(peer)} refused {protocol} or the connection was lost: {reason}") from error

    def serve(self, protocol: str, ask: Ask, *, max_request: int, max_concurrent: int) -> None:
        """Answer `protocol` with `ask`, for each peer at most `max_concurrent` at a time."""

        async def handler(connection: Connection, frames: Frames) -> None:
            slots = connection.state.setdefault(("serve", protocol), trio.Semaphore(max_concurrent))
            while True:
                try:
                    limit = max_request if self._switch.trusts(connection) else min(max_request, STRANGER_REQUEST_BYTES)
                    request = await frames.read(limit)
                except MuxedStreamEOF:
                    return
                async with slots:
                    response = await ask(connection.peer, request)
                    if len(response) > MAX_RESPONSE_BYTES:
                        _log.error("the response to %s has %d bytes, above every limit: not sent", protocol, len(response))
                        return
                    await frames.write(response)

        self._switch.handle(protocol, handler)


async def _exchange(connection: Connection, pool: _Pool, protocol: str, payload: bytes, max_response: int) -> bytes:
    """One request on an idle stream, or on a new one. A stream that was left in the middle is reset, never reused."""

    async def ask(stream: PatientStream) -> None:
        if stream.target_recv_window < min(max_response, _RESPONSE_WINDOW_BYTES):
            stream.widen(_RESPONSE_WINDOW_BYTES)
        await Frames(stream).write(payload)

    waiting = pool.idle.pop() if pool.idle else None
    frames = waiting or Frames(await connection.open(protocol, ask))
    try:
        if waiting is not None:
            await ask(waiting.stream)
        response = await frames.read(max_response)
    except BaseException:
        with trio.CancelScope(shield=True):
            await frames.reset()
        raise
    pool.idle.append(frames)
    return response
