"""Sockets that never authenticate."""

import asyncio
from contextlib import suppress

import trio

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p.handshake import Handshaker, TcpStream
from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import DIAL_SECONDS, raw_peer, until, varint

GREEDY = 40
IDLE = 200
DIALS = 8

ELSEWHERE = "127.0.0.7"
"""Another address of the machine: the limits are by address."""

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


async def _hold(victim: Victim, seconds: float, *, again: bool) -> None:
    """An idle socket, opened again whenever it is closed, or not."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _idle(victim)
            while again:
                await asyncio.sleep(1.0)
                await _idle(victim)


async def _idle(victim: Victim) -> None:
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
        try:
            await reader.read()
        finally:
            writer.close()


async def _dials_from_here(victim: Victim, pause: float) -> int:
    """How many strangers get in from the very address of the idle sockets."""
    found = 0
    for _ in range(DIALS):
        await asyncio.sleep(pause)
        async with raw_peer() as peer:
            found += await peer.dial(victim)
    return found


async def _dials_from_elsewhere(victim: Victim, pause: float) -> int:
    """How many handshakes from another address come to their end."""
    found = 0
    for _ in range(DIALS):
        await asyncio.sleep(pause)
        found += await asyncio.to_thread(trio.run, _handshake, victim)
    return found


async def _handshake(victim: Victim) -> bool:
    with trio.socket.socket() as sock, trio.move_on_after(DIAL_SECONDS), suppress(Exception):  # a refusal has many names
        await sock.bind((ELSEWHERE, 0))
        await sock.connect(("127.0.0.1", victim.port))
        peer, _muxed = await Handshaker(Identity.generate()).outbound(TcpStream(trio.SocketStream(sock)))
        return peer == victim.node_id
    return False


@attack("idle-sockets", row=11, who="stranger", what=f"{IDLE} idle sockets from one address, while {DIALS} others dial")
async def idle(net: Net, seconds: float) -> list[str]:
    victim, half = net.victims[0], seconds / 2
    async with asyncio.TaskGroup() as group:
        for _ in range(IDLE):
            group.create_task(_hold(victim, half, again=False))
        here = await _dials_from_here(victim, half / (2 * DIALS))
    async with asyncio.TaskGroup() as group:
        for _ in range(IDLE):
            group.create_task(_hold(victim, half, again=True))
        elsewhere = await _dials_from_elsewhere(victim, half / (2 * DIALS))
    found = {"from the same address": here, "from another, while they come again and again": elsewhere}
    return [f"{DIALS - count} of {DIALS} dials failed {where}" for where, count in found.items() if count < DIALS]
