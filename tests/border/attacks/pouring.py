"""Bytes that nobody asked for, into streams that nobody reads."""

import asyncio
import itertools
import struct
from typing import Any

import trio

from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import raw_peer, until

HEADER = struct.Struct("!BBHII")
"""Yamux: version, type (0: data), flags, stream, length."""

SIZES = (1024, 65_507, 200_000)
"""Of a frame: many small pieces, the usual, and just below a window."""

POUR_SECONDS = 2.0
"""On one connection, as long as it is not cut off."""


async def pour(connection: Any, size: int) -> None:
    """Frames on a stream that we open, and on those that the victim has opened, without regard for any window."""
    mux = connection.muxed_conn
    own = await mux.open_stream()
    body = bytes(size)
    with trio.move_on_after(POUR_SECONDS):
        while not mux.event_shutting_down.is_set():
            for number in {own.stream_id, *mux.streams}:
                await mux._write_frame(HEADER.pack(0, 0, 0, number, size) + body)


async def _pour_into(victim: Victim, seconds: float) -> None:
    left, sizes = until(seconds), itertools.cycle(SIZES)
    while left():
        async with raw_peer() as peer:
            if await peer.dial(victim):
                await asyncio.sleep(0.3)  # whatever the victim opens by itself is open now
                await peer.with_connection(victim, lambda connection: pour(connection, next(sizes)))


@attack("pour", row=2, who="stranger", what="frames into streams that nobody reads, beyond every window")
async def strangers(net: Net, seconds: float) -> list[str]:
    async with asyncio.TaskGroup() as group:
        for victim in net.victims:
            group.create_task(_pour_into(victim, seconds))
    return []
