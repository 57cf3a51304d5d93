"""Sockets that never authenticate."""

import asyncio
from contextlib import AsyncExitStack, suppress

from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import raw_peer, until, varint

GREEDY = 40
IDLE = 200
DIALS = 8
PIECE = bytes([97]) * 131_072


async def _announce(victim: Victim, seconds: float) -> None:
    """One message of a gibibyte, as much of it as is taken, then another socket."""
    left = until(seconds)
    while left():
        with suppress(OSError, TimeoutError):
            _reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
            try:
                writer.write(varint(2**30))
                for _ in range(98):
                    writer.write(PIECE)
                    await asyncio.wait_for(writer.drain(), 2.0)
            finally:
                writer.close()
        await asyncio.sleep(0.1)


@attack("gigabyte-announced", row=3, who="stranger", what=f"{GREEDY} sockets that announce a first message of 1 GiB")
async def announced(net: Net, seconds: float) -> list[str]:
    async with asyncio.TaskGroup() as group:
        for _ in range(GREEDY):
            group.create_task(_announce(net.victims[0], seconds))
    return []


async def _hold(victim: Victim, seconds: float) -> None:
    """An idle socket, opened again whenever it is closed."""
    left = until(seconds)
    while left():
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
            try:
                await asyncio.wait_for(reader.read(), max(0.1, min(10.0, seconds)))
            finally:
                writer.close()
        await asyncio.sleep(1.0)


async def _dials_in(victim: Victim, pause: float) -> int:
    found = 0
    for _ in range(DIALS):
        await asyncio.sleep(pause)
        async with raw_peer() as peer:
            found += await peer.dial(victim)
    return found


@attack("idle-sockets", row=11, who="stranger", what=f"{IDLE} idle sockets from one address, while {DIALS} others dial")
async def idle(net: Net, seconds: float) -> list[str]:
    victim = net.victims[0]
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for _ in range(IDLE):
            group.create_task(_hold(victim, seconds))
        found = await _dials_in(victim, seconds / (2 * DIALS))
    return [] if found == DIALS else [f"{DIALS - found} of {DIALS} dials of others failed"]
