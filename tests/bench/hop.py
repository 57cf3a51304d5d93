"""One gossip hop: half of what 1 KB takes to a neighbour in a process of its own and back. The floor of what a community decides."""

import asyncio
import subprocess
import sys
import time
from statistics import median

import uvloop

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p import Libp2pTransport

HOPS = 200
THERE, BACK = "/bench/there", "/bench/back"
MESH_SECONDS = 2
LISTEN = ("/ip4/127.0.0.1/tcp/0",)


def gossip_hop() -> float:
    """Median seconds of a hop. Neighbour and this process each have an event loop and a network thread, as daemons do."""
    with subprocess.Popen([sys.executable, "-m", "tests.bench.hop"], stdout=subprocess.PIPE, text=True) as neighbour:
        try:
            assert neighbour.stdout is not None
            return uvloop.run(_there_and_back(neighbour.stdout.readline().strip())) / 2
        finally:
            neighbour.kill()


async def _there_and_back(address: str) -> float:
    came = asyncio.Event()

    def heard(_node: bytes, _message: bytes) -> bool:
        came.set()
        return True

    here = _transport(1)
    here.subscribe(THERE, lambda *_: True)
    here.subscribe(BACK, heard)
    await here.start()
    try:
        await here.dial(address, 10)
        await asyncio.sleep(MESH_SECONDS)
        seconds = []
        for number in range(HOPS):
            came.clear()
            begun = time.perf_counter()
            await here.publish(THERE, number.to_bytes(4, "big") * 256)
            async with asyncio.timeout(5):
                await came.wait()
            seconds.append(time.perf_counter() - begun)
        return median(seconds)
    finally:
        await here.close()


async def _echo() -> None:
    """The neighbour: say what it hears, until it is ended."""
    heard: asyncio.Queue[bytes] = asyncio.Queue(HOPS)

    def take(_node: bytes, message: bytes) -> bool:
        heard.put_nowait(message)
        return True

    there = _transport(2)
    there.subscribe(THERE, take)
    there.subscribe(BACK, lambda *_: True)
    await there.start()
    print(there.addresses()[0], flush=True)
    while True:
        await there.publish(BACK, (await heard.get())[::-1])


def _transport(number: int) -> Libp2pTransport:
    transport = Libp2pTransport(Identity(bytes([number]) * 32), LISTEN, lambda _: True)
    transport.on_peer_event(lambda _: None)
    return transport


if __name__ == "__main__":
    uvloop.run(_echo())
